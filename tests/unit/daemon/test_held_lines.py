"""Lines that a prepaid limit rejects wait a moment for more of it, and are counted once."""

from __future__ import annotations

import asyncio

import numpy as np

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.held_points import HeldPoints, HoldBounds
from carbonquota.daemon.intake import Intake
from carbonquota.daemon.loop_timers import LoopTimers
from carbonquota.testing import ManualClock
from tests.support.receiving import KeepingSink, run, until
from tests.support.slices import GrantingStore

RULES = "[*]\nthroughput = 10\n[/]\nthroughput = 1,000,000\ndropping-policy = none\n"


class Bench:
    """An intake over a prepaid engine, its sink and its store."""

    def __init__(self, rules: str = RULES, bounds: HoldBounds | None = None) -> None:
        self.clock = ManualClock(60.0)
        self.engine = QuotaEngine(RuleSet.from_text(rules), clock=self.clock, prepaid=True)
        self.store = GrantingStore(self.engine)
        self.sink = KeepingSink(None)
        held = HeldPoints[bytes](self.engine, self.store, LoopTimers(), bounds=bounds)
        self.intake = Intake(self.engine.admit, self.sink, held=held)

    def offer(self, *names: str) -> None:
        self.intake.put("".join(f"{name} 1 1\n" for name in names).encode())
        self.intake.flush()

    def counts(self) -> dict[str, float]:
        keys = ("received", "accepted", "dropped", "held_back")
        return {s.stat: s.value for s in self.intake.health() if s.stat in keys}

    def throttled(self) -> int:
        return sum(value for name, value in self.engine.report().items() if name.startswith("throttle."))


def test_lines_wait_for_a_grant_and_are_accepted_then() -> None:
    async def main() -> None:
        bench = Bench()
        bench.offer("a.x", "a.y", "b.x")
        assert (bench.sink.lines, bench.store.asked) == ([], 1)
        assert bench.engine.counted().over.tolist() == [2, 1]
        bench.store.grant(5)
        await asyncio.sleep(0.02)
        assert sorted(bench.sink.lines) == [b"a.x 1 1\n", b"a.y 1 1\n", b"b.x 1 1\n"]
        assert bench.counts() == {"received": 3, "accepted": 3, "held_back": 3}
        assert bench.throttled() == 0

    run(main())


def test_what_is_not_granted_in_time_is_dropped_and_counted_once() -> None:
    async def main() -> None:
        bench = Bench(bounds=HoldBounds(delay=1.0))
        bench.offer(*["a.x"] * 6)
        bench.store.grant(2)
        await until(lambda: bench.counts()["accepted"] == 2)
        assert "dropped" not in bench.counts()
        assert bench.store.asked > 1
        await until(lambda: "dropped" in bench.counts())
        assert bench.counts() == {"received": 6, "accepted": 2, "dropped": 4, "held_back": 6}
        bench.clock.advance(60.0)
        assert bench.throttled() == 4

    run(main())


def test_where_nothing_is_left_nothing_waits() -> None:
    async def main() -> None:
        bench = Bench()
        bench.offer("a.x")
        bench.store.refuse()
        await asyncio.sleep(0.02)
        assert bench.counts() == {"received": 1, "accepted": 0, "dropped": 1, "held_back": 1}
        bench.offer("a.x", "b.x")
        assert bench.counts()["dropped"] == 2
        bench.store.spent = None
        bench.offer("c.x")
        assert bench.counts()["dropped"] == 3

    run(main())


def test_a_limit_that_is_granted_as_a_whole_holds_nothing_back() -> None:
    async def main() -> None:
        bench = Bench()
        bench.offer("a.x")
        bench.store.grant(10)
        await asyncio.sleep(0.02)
        bench.offer(*["a.x"] * 12)
        assert bench.counts() == {"received": 13, "accepted": 10, "dropped": 3, "held_back": 1}

    run(main())


def test_no_more_bytes_are_held_than_the_bound() -> None:
    async def main() -> None:
        bench = Bench(bounds=HoldBounds(size=20))
        bench.offer(*["a.x"] * 6)
        assert bench.counts() == {"received": 4, "accepted": 0, "dropped": 4, "held_back": 2}
        bench.intake.finish()
        assert bench.counts() == {"received": 6, "accepted": 0, "dropped": 6, "held_back": 2}

    run(main())


def test_a_report_and_an_interval_that_ends_meanwhile_count_nothing_twice() -> None:
    async def main() -> None:
        bench = Bench()
        bench.offer("a.x", "a.x")
        assert bench.throttled() == 0
        bench.clock.advance(60.0)
        assert bench.throttled() == 0
        # The namespace is still in demand, in the new interval.
        assert bench.engine.counted().over.tolist() == [2]
        bench.store.grant(1)
        bench.intake.finish()
        assert bench.counts() == {"received": 2, "accepted": 1, "dropped": 1, "held_back": 2}
        bench.clock.advance(60.0)
        assert bench.throttled() == 1

    run(main())


def test_a_namespace_that_went_meanwhile_leaves_nothing_behind() -> None:
    engine = QuotaEngine(RuleSet.from_text(RULES), clock=ManualClock(60.0), prepaid=True)
    admission = engine.admit(b"a.x 1 1\n")
    rest, held = engine.hold_back(admission, np.empty(0, np.int64), 100)
    assert held is not None
    assert rest.dropped == 0
    engine.apply(RuleSet.from_text(""))
    engine.let_go(held)
    assert not len(engine.counted().over)
