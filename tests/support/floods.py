"""Floods of ever-new bytes against a daemon that is running, and the memory that it has afterwards."""

from __future__ import annotations

import pickle
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.daemon import Daemon, running, wait_until
from tests.support.drain import draining

MEBIBYTE: Final = 2**20
MOST_GROWTH: Final = 20
"""Mebibytes of memory that a flood may take, however long it is."""
_AT_ONCE: Final = 500
"""Points that are sent in one piece."""
_PATIENCE: Final = 900.0


def _dots(number: int) -> bytes:
    """The metric `a.b` in another spelling of 3,900 bytes for each number below 3,600,000."""
    before, between = divmod(number, 1900)
    return b"." * before + b"a" + b"." * (between + 1) + b"b" + b"." * (3897 - before - between)


def _tags(number: int) -> bytes:
    """The metric `a.b;...` with twelve long tags in another order for each number below 479,001,600, and some dots."""
    rest, tags = number, [b"tag%d=%s" % (tag, b"v" * 60) for tag in range(12)]
    order = []
    while tags:
        rest, place = divmod(rest, len(tags))
        order.append(tags.pop(place))
    return b"a..b" + b"." * (number % 7) + b";" + b";".join(order)


def _new_names(number: int) -> bytes:
    """Another metric for each number, in the same few namespaces, some 250 bytes long."""
    return b"x.y.%0240d" % number


def _new_namespaces(number: int) -> bytes:
    """Another metric in another, deep namespace for each number."""
    return b"z%d.deep.down%d.%s.m" % (number, number, b"n" * 200)


def _own_namespaces(number: int) -> bytes:
    """Another metric in another namespace, which has a rule that lets nothing in."""
    return b"tight.t%0240d.m" % number


def _lines(names: Callable[[int], bytes]) -> Callable[[int, int], bytes]:
    """Plaintext of the points from one number to another."""

    def piece(start: int, end: int) -> bytes:
        now = int(time.time())
        return b"".join(b"%s 1 %d\n" % (names(number), now) for number in range(start, end))

    return piece


def _pickles(names: Callable[[int], bytes]) -> Callable[[int, int], bytes]:
    """Pickles of the points from one number to another."""

    def piece(start: int, end: int) -> bytes:
        now = int(time.time())
        parts = []
        for first in range(start, end, 100):
            points = [(names(number).decode(), (now, 1.0)) for number in range(first, min(first + 100, end))]
            message = pickle.dumps(points, protocol=2)
            parts.append(struct.pack("!L", len(message)) + message)
        return b"".join(parts)

    return piece


def _malformed(start: int, end: int) -> bytes:
    """Lines that are no points, each in another way."""
    return b"".join(
        (b"only%0500d\n", b"two fields%0500d\n", b"bad;tag%0500d 1 1\n", b"not a value%0500d 1\n", b"\xff%0500d 1 1\n")[
            number % 5
        ]
        % number
        for number in range(start, end)
    )


@dataclass(frozen=True, slots=True)
class Flood:
    """What is sent where: `piece` gives the bytes of the points from one number to another."""

    receiver: str
    piece: Callable[[int, int], bytes]


_PLAINTEXT: Final = "plaintext over TCP"
_PICKLE: Final = "pickle over TCP"

RULES: Final = "[/]\nmetrics = 3\n[tight.*]\nlogical-size = 1\n"
"""Rules under which no flood brings more than three metrics in."""

FLOODS: Final = {
    "spellings by dots": Flood(_PLAINTEXT, _lines(_dots)),
    "spellings by dots, pickled": Flood(_PICKLE, _pickles(_dots)),
    "spellings by tags": Flood(_PLAINTEXT, _lines(_tags)),
    "spellings by tags, pickled": Flood(_PICKLE, _pickles(_tags)),
    "rejected names": Flood(_PLAINTEXT, _lines(_new_names)),
    "rejected names, pickled": Flood(_PICKLE, _pickles(_new_names)),
    "rejected namespaces": Flood(_PLAINTEXT, _lines(_new_namespaces)),
    "namespaces rejected by their own rule": Flood(_PLAINTEXT, _lines(_own_namespaces)),
    "malformed lines": Flood(_PLAINTEXT, _malformed),
}


MODES: Final = ("stores", "relays")
_SMALL_QUEUE = "queue-max-size = 4194304"
"""What was sent is kept for some seconds, in case that the connection breaks."""


@contextmanager
def daemon_that(mode: str, folder: Path) -> Iterator[Daemon]:
    """A daemon that stores, or one that relays to somebody who reads everything."""
    if mode == "stores":
        with running(folder, rules=RULES) as daemon:
            yield daemon
        return
    with draining() as port, running(folder, rules=RULES, destination=port, relay=_SMALL_QUEUE) as daemon:
        yield daemon


def resident(process: int) -> int:
    """The bytes of memory that a process has."""
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def growths(daemon: Daemon, points: int, warm_up: int) -> Iterator[tuple[str, int]]:
    """The mebibytes of memory that `points` of each flood take, one after the other, after `warm_up` of all of them."""
    assert daemon.process is not None
    for flood in FLOODS.values():
        _send(daemon, flood, 0, warm_up)
    for name, flood in FLOODS.items():
        before = resident(daemon.process.pid)
        _send(daemon, flood, warm_up, warm_up + points)
        yield name, (resident(daemon.process.pid) - before) // MEBIBYTE


def _send(daemon: Daemon, flood: Flood, start: int, end: int) -> None:
    """Send the points from one number to another, and wait until they are decided."""
    expected = daemon.counts().received + end - start
    with daemon.connect(flood.receiver) as connection:
        connection.settimeout(_PATIENCE)
        for first in range(start, end, _AT_ONCE):
            connection.sendall(flood.piece(first, min(first + _AT_ONCE, end)))
    wait_until(lambda: daemon.counts().received >= expected, lambda: f"{daemon.counts()}\n{daemon.log}", _PATIENCE)
