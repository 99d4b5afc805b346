"""A small engine for tests of single calls: every new metric has one size, and the clock stands still."""

from __future__ import annotations

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls import ThroughputUnit
from carbonquota.model import SizeOf
from carbonquota.testing import ManualClock

SIZE = Size(logical=10, physical=4096, data_points=3)


def engine_under(
    text: str = "",
    *,
    size_of: SizeOf | None = lambda _metric: SIZE,
    clock: ManualClock | None = None,
    interval: float = 60.0,
    throughput_unit: ThroughputUnit = "interval",
) -> QuotaEngine:
    """An engine under the rules of a file's text, at the start of an interval."""
    rules, clock = RuleSet.from_text(text), clock or ManualClock(0.0)
    return QuotaEngine(rules, size_of=size_of, clock=clock, interval=interval, throughput_unit=throughput_unit)
