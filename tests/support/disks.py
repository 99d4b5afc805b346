"""Disks that come and go, and files as go-carbon makes them."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

Mounted = Callable[[Path], AbstractContextManager[None]]
"""Has a new file system in memory mounted on a directory while a block runs, if it is not unmounted before."""


@contextmanager
def _mounted(path: Path) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64m", "carbonquota-test", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        if os.path.ismount(path):
            unmount(path)


def unmount(path: Path) -> None:
    """Take a file system away, though it is in use."""
    subprocess.run(["/bin/umount", "-l", str(path)], check=True)


def bind(source: Path, path: Path) -> None:
    """Have what is mounted on one directory on another one as well."""
    subprocess.run(["/bin/mount", "--bind", str(source), str(path)], check=True)


def mounting() -> Mounted:
    """Mounts file systems; the test is skipped where that is not permitted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount file systems")
    return _mounted


def compressed_file(points: int = 1440) -> bytes:
    """A file as go-carbon's compressed Whisper has it, with one archive, as far as its header tells."""
    header = bytearray(4096)
    header[:18] = b"whisper_compressed"
    struct.pack_into("!L", header, 35, 1)
    struct.pack_into("!3L", header, 63, 4096, 60, points)
    return bytes(header)
