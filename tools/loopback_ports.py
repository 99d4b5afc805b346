"""Ports on loopback that no two processes are given, for programs that cannot choose one themselves.

A port that was only tried and let go again may be given out a second time, or be taken meanwhile as the source port of
some connection. So these lie below the range from which the system takes source ports, and each is held by a locked
file, machine-wide, for as long as the process lives that asked for it.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_RANGE: Final = range(10_000, 32_000)
"""Below Linux's range for source ports (32768 to 60999 unless changed), above the well-known ones."""

_held: Final[dict[int, int]] = {}
"""The ports given out by this process, with the descriptors of their locks."""


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens at, over TCP and UDP, and that nobody else is given."""
    return [free_port() for _ in range(count)]


def free_port() -> int:
    """A port that nobody listens at, over TCP and UDP, and that nobody else is given."""
    folder = Path(tempfile.gettempdir(), f"carbonquota-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    start = random.SystemRandom().randrange(len(_RANGE))
    for step in range(len(_RANGE)):
        port = _RANGE[(start + step) % len(_RANGE)]
        if port not in _held and _take(folder / str(port), port):
            return port
    raise RuntimeError(f"no port from {_RANGE.start} to {_RANGE.stop - 1} is free on 127.0.0.1")


def _take(lock: Path, port: int) -> bool:
    """Take a port, if nobody has it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as tried:
                tried.bind(("127.0.0.1", port))
        _held[port] = descriptor
        return True
    os.close(descriptor)
    return False
