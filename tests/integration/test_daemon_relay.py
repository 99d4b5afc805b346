"""The daemon as a relay: its destination goes and comes, it is itself ended and started, and no point is lost."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from tests.support.carbon import carbon_cache
from tests.support.daemon import PATIENCE, Counts, Daemon, running, wait_until
from tests.support.destination import Destination, until

RULES = "[loud]\nmetrics = 2\n"
METRICS = [f"servers.host-{number}.load" for number in range(20)]
TICKS = 150
"""Points of each metric, one for each second of the minutes before the test began."""


def batch(tick: int, first: int) -> bytes:
    """What is sent each tick: a point of each metric, two that are dropped from the first tick on, one malformed."""
    lines = [f"{metric} {tick} {first + tick}" for metric in METRICS]
    loud = [f"loud.m{number} {tick} {first + tick}" for number in range(4)]
    return "\n".join([*lines, *loud, "no point", ""]).encode()


class Traffic(threading.Thread):
    """Sends ticks over one connection, a few milliseconds apart, until it has sent all."""

    def __init__(self, daemon: Daemon, first: int) -> None:
        super().__init__()
        self.sent = 0
        self._daemon = daemon
        self._first = first

    def run(self) -> None:
        with self._daemon.connect() as sender:
            for tick in range(TICKS):
                sender.sendall(batch(tick, self._first))
                self.sent = tick + 1
                time.sleep(0.01)


def test_a_carbon_cache_that_is_ended_and_started_again_has_every_accepted_point(tmp_path: Path) -> None:
    first = int(time.time()) - TICKS - 10
    with (
        carbon_cache(tmp_path / "carbon") as cache,
        running(tmp_path / "daemon", rules=RULES, destination=cache.address.port) as daemon,
    ):
        wait_until(lambda: daemon.count("sink_up") == 1, lambda: daemon.log)
        traffic = Traffic(daemon, first)
        traffic.start()
        wait_until(lambda: traffic.sent > 40, "no traffic")
        cache.stop()
        wait_until(lambda: daemon.count("sink_up") == 0, lambda: daemon.log)
        assert daemon.settled(lambda counts: counts.received).lost == 0
        cache.start()
        traffic.join()
        counts = daemon.settled(lambda counts: counts.received == TICKS * 25 and not counts.waiting)
        assert (counts.dropped, counts.malformed, counts.lost) == (TICKS * 2, TICKS, 0)
        sent = {first + tick: float(tick) for tick in range(TICKS)}
        for metric in [*METRICS, "loud.m0", "loud.m1"]:
            wait_until(lambda name=metric: cache.points(name, first, first + TICKS) == sent, metric)  # type: ignore[misc]
        assert not (cache.data / "loud/m2.wsp").exists()


def numbered(first: int, amount: int) -> bytes:
    return b"".join(b"a.numbered %d 1700000000\n" % number for number in range(first, first + amount))


def arrived(destination: Destination) -> list[int]:
    """The numbers that came, in order, those that were sent again left out."""
    return [int(line.split()[1]) for line in destination.first_lines() if line.startswith(b"a.numbered ")]


async def has_come(destination: Destination, amount: int) -> None:
    """Wait until the last of so many numbers is there."""
    last = numbered(amount - 1, 1)
    await until(lambda: any(last in stream for stream in destination.streams), f"{amount} numbers")


def found_in_spool(daemon: Daemon) -> int:
    """How many points of an earlier run it found."""
    match = re.search(r"relay: (\d+) points of an earlier run are in the spool", daemon.log)
    return int(match[1]) if match else 0


def has_received(amount: int, counts: Counts) -> bool:
    return counts.received == amount


def send_while_it_is_away(daemon: Daemon) -> None:
    """Numbers from 1,000 on go to memory, and past half of that to the disk; then the daemon ends and starts."""
    wait_until(lambda: daemon.count("sink_up") == 0, lambda: daemon.log)
    with daemon.connect() as sender:
        for first in range(1000, 21_000, 500):
            sender.sendall(numbered(first, 500))
            # One by one, so that they are many batches.
            daemon.settled(partial(has_received, first + 500))
    wait_until(lambda: daemon.count("spool_points") > 0, lambda: daemon.log)
    assert daemon.stop() == 0, daemon.log
    daemon.start()
    assert found_in_spool(daemon) >= 20_000
    daemon.send(numbered(21_000, 500))
    daemon.settled(lambda counts: counts.received == 500, found_in_spool(daemon))


def send_when_it_is_back(daemon: Daemon) -> None:
    """The last 500 numbers, and all that waited, go out."""
    daemon.send(numbered(21_500, 500))
    daemon.settled(lambda counts: counts.received == 1000 and not counts.waiting, found_in_spool(daemon))
    assert daemon.count("lost_total") == daemon.count("internal_errors_total") == 0
    assert daemon.stop() == 0, daemon.log


def test_what_came_while_the_destination_was_away_is_there_in_order_after_a_restart(tmp_path: Path) -> None:
    destination = Destination()
    relay = 'spool-dir = "spool"\nqueue-max-size = 65536\ntimeout = "2s"'
    daemon = Daemon(tmp_path / "daemon", destination=destination.address.port, relay=relay)

    async def scene() -> None:
        async with AsyncExitStack() as held:
            held.push_async_callback(destination.stop)
            await destination.start()
            await asyncio.to_thread(daemon.start)
            await asyncio.to_thread(daemon.send, numbered(0, 1000))
            await has_come(destination, 1000)
            await destination.stop()
            await asyncio.to_thread(send_while_it_is_away, daemon)
            await destination.start()
            await asyncio.to_thread(send_when_it_is_back, daemon)
            await has_come(destination, 22_000)

    try:
        asyncio.run(scene())
    finally:
        daemon.kill()
    assert arrived(destination) == list(range(22_000))


MANY = 300_000


def fill(daemon: Daemon, sender: threading.Thread) -> None:
    """Send until the daemon makes the sender wait."""
    daemon.start()
    sender.start()
    wait_until(lambda: daemon.count("paused") == 1, lambda: daemon.log)
    sender.join(0.5)
    assert sender.is_alive()
    assert daemon.settled(lambda counts: counts.waiting).received < MANY
    # The bound, and what was read at once: a batch and a read of each stage.
    assert daemon.count("queue_bytes") < 2_000_000


def drain(daemon: Daemon, sender: threading.Thread) -> None:
    """Wait until all has gone."""
    sender.join()
    counts = daemon.settled(lambda counts: counts.received == MANY and not counts.waiting)
    assert (counts.lost, counts.dropped, counts.malformed, daemon.count("paused")) == (0, 0, 0, 0)


def test_a_destination_that_reads_nothing_makes_senders_wait_and_loses_nothing(tmp_path: Path) -> None:
    destination = Destination(receive_buffer=65_536)
    port = destination.address.port
    daemon = Daemon(tmp_path / "daemon", destination=port, relay='queue-max-size = 262144\ntimeout = "5m"')
    sender = threading.Thread(target=lambda: daemon.send(numbered(0, MANY), buffer=131_072))

    async def scene() -> None:
        async with AsyncExitStack() as held:
            held.push_async_callback(destination.stop)
            await destination.start()
            destination.pause()
            await asyncio.to_thread(fill, daemon, sender)
            destination.resume()
            await asyncio.to_thread(drain, daemon, sender)
            await has_come(destination, MANY)

    try:
        asyncio.run(scene())
    finally:
        daemon.kill()
    assert arrived(destination) == list(range(MANY))


def end_under_load(daemon: Daemon) -> int:
    """Send without a pause, and a little beyond SIGTERM; how many numbers were sent."""
    daemon.start()
    sent = 0
    with daemon.connect() as sender:
        while "SIGTERM: ending" not in daemon.log:
            for _ in range(50):
                sender.sendall(numbered(sent, 100))
                sent += 100
            if sent == 50_000:
                daemon.signal(signal.SIGTERM)
        assert daemon.process is not None
        assert daemon.process.wait(PATIENCE) == 0, daemon.log
    return sent


def test_all_that_was_sent_when_it_ends_goes_out(tmp_path: Path) -> None:
    destination = Destination()
    daemon = Daemon(tmp_path / "daemon", destination=destination.address.port)

    async def scene() -> int:
        async with AsyncExitStack() as held:
            held.push_async_callback(destination.stop)
            await destination.start()
            sent = await asyncio.to_thread(end_under_load, daemon)
            await has_come(destination, sent)
            return sent

    try:
        sent = asyncio.run(scene())
    finally:
        daemon.kill()
    assert arrived(destination) == list(range(sent))
