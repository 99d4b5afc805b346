"""The relay and a real carbon-cache, which is ended and started again in the middle of traffic."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from carbonquota.daemon.relay import RelaySink
from tests.support.carbon import CarbonCache, carbon_cache
from tests.support.destination import until
from tests.support.relays import QUICK, accounted, count, lost, relay_to, started

METRICS = [f"servers.host-{number}.load" for number in range(20)]
TICKS = 120
"""Points of each metric: one for each second of the two minutes before the test began."""


async def send(sink: RelaySink, first: int, ticks: range) -> None:
    """Give the relay one batch a tick, a few milliseconds apart, as senders would."""
    for tick in ticks:
        lines = "".join(f"{metric} {tick} {first + tick}\n" for metric in METRICS)
        sink.write(lines.encode(), len(METRICS))
        await asyncio.sleep(0.005)


def has_all(cache: CarbonCache, metric: str, first: int) -> bool:
    return len(cache.points(metric, first, first + TICKS)) == TICKS


def test_a_carbon_cache_that_is_ended_and_started_again_has_every_point(tmp_path: Path) -> None:
    async def scene(cache: CarbonCache) -> None:
        first = int(time.time()) - TICKS - 10
        tuning = replace(QUICK, longest_wait=0.2)
        async with started(relay_to(cache.address, tmp_path / "spool", tuning=tuning), patience=60.0) as sink:
            await send(sink, first, range(40))
            traffic = asyncio.create_task(send(sink, first, range(40, 80)))
            await asyncio.to_thread(cache.stop)
            await traffic
            await until(lambda: count(sink, "sink_up") == 0, "noticed")
            traffic = asyncio.create_task(send(sink, first, range(80, TICKS)))
            await asyncio.to_thread(cache.start)
            await traffic
            await until(lambda: count(sink, "queue_points") + count(sink, "spool_points") == 0, "sent")
            assert (accounted(sink), count(sink, "forwarded"), lost(sink)) == (2400, 2400, {})
            assert count(sink, "resent") > 0
            for metric in METRICS:
                await until(partial(has_all, cache, metric, first), metric)
        for metric in METRICS:
            assert cache.points(metric, first, first + TICKS) == {first + tick: tick for tick in range(TICKS)}

    with carbon_cache(tmp_path / "carbon") as cache:
        asyncio.run(scene(cache))
