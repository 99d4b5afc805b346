"""`kill -9` under new names, again and again: whoever is killed, what it let pass never goes over a limit.

Each round starts the program, sends it names that were never sent before, at a steady pace, and kills it in the middle.
What came through in all rounds together must be within the limit that each round was under.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.carbon_daemons import Graphite
from tests.support.daemon import Daemon

EACH = 20
"""New names in a burst, one of which goes out every few milliseconds."""
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

    def names(self) -> set[bytes]:
        """All so far that a kill test sent."""
        with self._lock:
            return set(self._names)

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
    """Sends names that never came before over a connection, until that breaks."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._round = number

    def run(self) -> None:
        sent, now = 0, int(time.time())
        with suppress(OSError), self._connection:
            while True:
                burst = "".join(f"{PREFIX}r{self._round}.m{sent + one} 1 {now}\n" for one in range(EACH))
                self._connection.sendall(burst.encode())
                sent += EACH
                time.sleep(0.005)


def kill_again_and_again(
    kills: int, start: Callable[[], socket.socket], kill: Callable[[], None], *, seed: int = 1
) -> None:
    """So many rounds; `start` has the program run and connects to it."""
    chance = random.Random(seed)
    for number in range(kills):
        load = NewNames(start(), number)
        load.start()
        time.sleep(chance.uniform(SHORTEST, LONGEST))
        kill()
        load.join()


def relay_daemon(folder: Path, there: Collector, limit: int) -> Daemon:
    """A relay to a collector, with so many metrics allowed."""
    return Daemon(folder, rules=f"[/]\nmetrics = {limit}\n", destination=there.port)


def store_daemon(folder: Path, limit: int) -> Daemon:
    """A store with so many metrics allowed."""
    return Daemon(folder, rules=f"[/]\nmetrics = {limit}\n")


def plugin(folder: Path, limit: int) -> Graphite:
    """A root for carbon with quotas, with so many metrics allowed."""
    return Graphite(folder, quotas=f"[/]\nmetrics = {limit}\n")
