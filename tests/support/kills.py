"""`kill -9` under new names, again and again: whoever is killed, what it let pass never goes over a limit.

Each round starts the program, sends it names that were never sent before, at a steady pace, and kills it in the middle.
Some rounds on end share a namespace, `kill.<number>`, whose limit is about what half of them send: so each namespace is
filled by rounds that end in a kill, and its limit is reached in the middle of one. Its metrics, in all rounds together,
must be within that limit.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.carbon_daemons import Graphite
from tests.support.daemon import Daemon

SHARING = 4
"""Rounds that share a namespace."""
SHORTEST, LONGEST = 0.05, 0.4
"""Seconds under load before a kill."""
PREFIX = "kill."


class Collector:
    """A destination that keeps the distinct names that ever arrived; it runs on threads of its own."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._names: set[bytes] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def names(self) -> set[str]:
        """All so far that a kill test sent."""
        with self._lock:
            return {name.decode() for name in self._names}

    def close(self) -> None:
        """Take no connection any more."""
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        with suppress(OSError), connection:
            while data := connection.recv(65_536):
                *lines, rest = (rest + data).split(b"\n")
                with self._lock:
                    self._names.update(line.split(b" ")[0] for line in lines if line.startswith(PREFIX.encode()))


@contextmanager
def collector() -> Iterator[Collector]:
    """One that is closed in the end."""
    there = Collector()
    try:
        yield there
    finally:
        there.close()


class NewNames(threading.Thread):
    """Sends names that never came before over a connection, so many in a burst, until that breaks."""

    def __init__(self, connection: socket.socket, number: int, burst: int) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._prefix = f"{namespace(number)}.r{number}"
        self._burst = burst

    def run(self) -> None:
        sent, now = 0, int(time.time())
        with suppress(OSError), self._connection:
            while True:
                burst = "".join(f"{self._prefix}.m{sent + one} 1 {now}\n" for one in range(self._burst))
                self._connection.sendall(burst.encode())
                sent += self._burst
                time.sleep(0.005)


def namespace(number: int) -> str:
    """The one that a round fills."""
    return f"{PREFIX}{number // SHARING}"


def by_namespace(names: Iterable[str]) -> Counter[str]:
    """How many of these metrics are in each namespace of a kill test."""
    return Counter(name.split(".r")[0] for name in names if name.startswith(PREFIX))


def kill_again_and_again(
    rounds: range, start: Callable[[], socket.socket], kill: Callable[[], None], *, burst: int
) -> None:
    """Do these rounds; `start` has the program run and connects to it, which gets so many names in a burst."""
    for number in rounds:
        load = NewNames(start(), number, burst)
        load.start()
        time.sleep(random.Random(number).uniform(SHORTEST, LONGEST))
        kill()
        load.join()


def rules(limit: int) -> str:
    """What each namespace of a kill test may hold."""
    return f"[{PREFIX}*]\nmetrics = {limit}\n"


def relay_daemon(folder: Path, there: Collector, limit: int) -> Daemon:
    """A relay to a collector, with so many metrics allowed in each namespace."""
    return Daemon(folder, rules=rules(limit), destination=there.port)


def store_daemon(folder: Path, limit: int) -> Daemon:
    """A store with so many metrics allowed in each namespace."""
    return Daemon(folder, rules=rules(limit))


def plugin(folder: Path, limit: int) -> Graphite:
    """A root for carbon with quotas, with so many metrics allowed in each namespace."""
    return Graphite(folder, quotas=rules(limit))


def usage(daemon: Daemon, rounds: range) -> dict[str, int]:
    """How many metrics a daemon knows in each namespace of some rounds."""
    found = {name: daemon.json(f"/api/namespaces/{name}") for name in sorted({namespace(one) for one in rounds})}
    return {name: int(document["usage"]["metrics"]) for name, document in found.items()}
