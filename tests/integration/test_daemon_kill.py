"""`kill -9` under load, again and again: what was accepted a moment ago is known after each start, and nothing is half.

The sender makes new metrics in a known order, fifty to a namespace, so that what the daemon knows must be a beginning
of that order: all namespaces full but the last. What the destination received was accepted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import whisper

from tests.support.daemon import Daemon, wait_until
from tests.support.destination import Destination

ROUNDS = 5
LASTS = 0.5
"""Seconds under load before a kill."""
EACH = 50
"""Metrics of each namespace."""
FULL = 200
"""The limit of one namespace, which the first round fills."""
RULES = f"[full]\nmetrics = {FULL}\n[load.*.*]\nmetrics = {EACH}\n[/]\nmetrics = 1000000\n"
SIZE = 16 + 12 + 12 * 60
"""Bytes of each metric's file: its schema has one archive of an hour's minutes."""
NOW = int(time.time()) // 60 * 60


class Load(threading.Thread):
    """Sends new metrics at a steady pace, known ones in between and too many for one namespace, until it breaks off."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        super().__init__()
        self._connection = daemon.connect()
        self._round = number
        self.sent = 0

    def run(self) -> None:
        known = "".join(f"full.m{number} 1 {NOW}\n" for number in range(300)).encode()
        beyond = f"full.beyond-{self._round} 1 {NOW}\n".encode()
        with suppress(OSError), self._connection:
            while True:
                fresh = "".join(f"{name(self._round, self.sent + one)} 1 {NOW}\n" for one in range(20))
                self._connection.sendall(known + fresh.encode() + beyond)
                self.sent += 20
                time.sleep(0.01)


def name(number: int, place: int) -> str:
    """The metric at a place of the order in a round."""
    return f"load.r{number}.n{place // EACH:05}.m{place}"


def under_load(daemon: Daemon, number: int, accepted: Callable[[], int], seconds: float) -> tuple[int, int]:
    """Kill it so long after it began to accept; how many metrics were sent, and how many at least were accepted."""
    load = Load(daemon, number)
    load.start()
    wait_until(lambda: accepted() > 2 * EACH, lambda: daemon.log)
    time.sleep(seconds)
    daemon.kill()
    load.join()
    return load.sent, accepted()


def known(daemon: Daemon, number: int) -> int:
    """How many metrics of a round it knows; they must be a beginning of what was sent, and the sums must be right."""
    namespace = f"load.r{number}"
    page = daemon.json(f"/api/namespaces/{namespace}?sort=name&limit=1000")
    amounts = [child["usage"]["metrics"] for child in page["children"]]
    assert all(amount == EACH for amount in amounts[:-1]), amounts
    assert [child["namespace"] for child in page["children"]] == [
        f"{namespace}.n{place:05}" for place in range(len(amounts))
    ]
    total = sum(amounts)
    usage = page["usage"]
    assert (usage["metrics"], usage["namespaces"], usage["logical_size"]) == (total, len(amounts), total * SIZE)
    edge = [name(number, total - 1), name(number, total)]
    answer = daemon.json("/api/explain?" + "&".join(f"metric={metric}" for metric in edge))
    assert [metric["known"] for metric in answer["metrics"]] == [True, False]
    return int(total)


def complaints(daemon: Daemon) -> list[str]:
    """The lines of its log that tell of damage, but for a journal that breaks off at its end."""
    words = ("damaged", "corrupt", "ERROR", "Traceback", "set aside")
    lines = [line for line in daemon.log.splitlines() if any(word in line for word in words)]
    return [line for line in lines if "journal" not in line]


class Story:
    """The rounds, seen from the thread of the tests."""

    def __init__(self, daemon: Daemon, destination: Destination) -> None:
        self.daemon = daemon
        self.destination = destination
        self.before: list[int] = []

    def run(self) -> None:
        """Start, check, load, kill; and once more start and check."""
        sent = safe = 0
        for number in range(ROUNDS + 1):
            self.daemon.start()
            self.check(number, sent, safe)
            if number < ROUNDS:
                sent, safe = under_load(self.daemon, number, partial(self.arrived, number), LASTS)

    def check(self, number: int, sent: int, safe: int) -> None:
        """All rounds so far, of which the last one was just killed."""
        assert complaints(self.daemon) == []
        for earlier, amount in enumerate(self.before):
            assert known(self.daemon, earlier) == amount
        if number:
            self.before.append(known(self.daemon, number - 1))
            assert safe <= self.before[-1] <= sent
            assert self.daemon.json("/api/namespaces/full")["usage"]["metrics"] == FULL
        root = self.daemon.json("/api/namespaces/")["usage"]
        metrics = sum(self.before) + FULL * bool(number)
        assert (root["metrics"], root["logical_size"]) == (metrics, metrics * SIZE)

    def arrived(self, number: int) -> int:
        """How many new metrics of a round the destination has got."""
        mark = f"load.r{number}.".encode()
        return sum(bytes(stream).count(mark) for stream in self.destination.streams[-1:])


def test_what_was_accepted_is_known_after_each_kill_and_limits_hold_over_all(tmp_path: Path) -> None:
    destination = Destination()
    daemon = Daemon(tmp_path / "daemon", rules=RULES, destination=destination.address.port)

    async def scene() -> None:
        async with AsyncExitStack() as held:
            held.push_async_callback(destination.stop)
            await destination.start()
            await asyncio.to_thread(Story(daemon, destination).run)

    try:
        asyncio.run(scene())
    finally:
        daemon.kill()
    names = {line.split()[0] for line in destination.lines()}
    assert {name for name in names if name.startswith(b"full.")} == {b"full.m%d" % number for number in range(FULL)}


def whole_files(daemon: Daemon, namespace: str) -> int:
    """How many whole Whisper files there are in a namespace."""
    folder = daemon.folder / "whisper" / namespace
    return sum(path.stat().st_size == SIZE and bool(whisper.info(str(path))) for path in folder.rglob("*.wsp"))


def files_of_round(daemon: Daemon, number: int) -> int:
    """How many files there are of a round's new metrics, whole or not."""
    return sum(metric.startswith(f"load.r{number}.") for metric in daemon.stored())


def test_with_whisper_files_usage_is_what_lies_on_disk_after_each_kill(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon", rules=RULES, state='snapshot-frequency = "1s"')

    def equals_files(namespace: str) -> bool:
        usage = daemon.json(f"/api/namespaces/{namespace}")["usage"]
        files = whole_files(daemon, namespace)
        return bool((usage["metrics"], usage["logical_size"]) == (files, files * SIZE))

    try:
        for number in range(2):
            daemon.start()
            under_load(daemon, number, partial(files_of_round, daemon, number), 0.5)
        daemon.start()
        # What was accepted, but not yet stored, is known until the scan finds that it has no file.
        wait_until(lambda: equals_files("load"), lambda: daemon.log)
        assert equals_files("full")
        assert whole_files(daemon, "full") == FULL
        assert whole_files(daemon, "load") > 2 * EACH
        assert complaints(daemon) == []
        assert daemon.stop() == 0
    finally:
        daemon.kill()
