"""A relay for tests: quick to try again, and its counts at hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from carbonquota.daemon.relay import RelaySink, Tuning
from carbonquota.daemon.settings import Relay
from carbonquota.model import Clock
from carbonquota.service.values.address import Address

QUICK = Tuning(tick=0.01, shortest_wait=0.005, longest_wait=0.02, steady=0.02, segment_size=4096)
"""Everything that takes seconds takes hundredths of one."""


def relay_to(
    address: Address,
    spool: Path | None = None,
    settings: Relay | None = None,
    *,
    on_room: Callable[[], None] = lambda: None,
    tuning: Tuning = QUICK,
    clock: Clock = time.monotonic,
) -> RelaySink:
    """A relay that is not started yet, with no spool unless one is named."""
    settings = replace(settings or Relay(), destination=address, spool_dir=str(spool or ""))
    return RelaySink(settings, clock, on_room, tuning)


@asynccontextmanager
async def started(sink: RelaySink, patience: float = 0.0) -> AsyncIterator[RelaySink]:
    """Started, and stopped in the end."""
    await sink.start()
    try:
        yield sink
    finally:
        await sink.stop(patience)


def count(sink: RelaySink, stat: str, label: str = "") -> float:
    """One of its counts now; 0 where there is none."""
    return sum(sample.value for sample in sink.health() if (sample.stat, sample.label) == (stat, label))


def lost(sink: RelaySink) -> dict[str, float]:
    """What it lost, by reason."""
    return {sample.label: sample.value for sample in sink.health() if sample.stat == "lost"}


def accounted(sink: RelaySink) -> float:
    """All the points that it knows of: it must be those it was given and those it found."""
    stats = ("queue_points", "spool_points", "forwarded", "lost")
    return sum(sample.value for sample in sink.health() if sample.stat in stats)


class Traffic:
    """Writes numbered points, so that what arrives can be told to be all of it, and in order."""

    def __init__(self, width: int = 0) -> None:
        """`width` pads every line, in bytes."""
        self._padding = "x" * width
        self.written = 0

    def lines(self, count: int) -> list[bytes]:
        """The first `count` lines, without their ends."""
        return [f"metric.{number}{self._padding} 1 2".encode() for number in range(count)]

    def write(self, sink: RelaySink, points: int, batch: int = 1) -> None:
        """Write so many points more, `batch` of them at a time."""
        for first in range(self.written, self.written + points, batch):
            numbers = range(first, min(first + batch, self.written + points))
            text = "".join(f"metric.{number}{self._padding} 1 2\n" for number in numbers)
            sink.write(text.encode(), len(numbers))
        self.written += points

    def all(self) -> list[bytes]:
        """Every line written so far."""
        return self.lines(self.written)
