"""Reports, early or late, lose no point and count none twice; an explanation is the verdict that follows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from carbonquota.testing import ManualClock
from tests.support.engines import INTERVAL, engine_of, line
from tests.support.model import SlowRule, stat_name
from tests.support.names import namespaces_of
from tests.support.traffic import batches, pools, rule_files

if TYPE_CHECKING:
    from carbonquota import QuotaEngine

RULES = [
    SlowRule("/", {"throughput": 30}),
    SlowRule("a", {"throughput": 11, "metrics": 4}),
    SlowRule("b", {"throughput": 7}, enforcing=False),
    SlowRule("c", {"metrics": 3}),
]
NAMES = tuple(f"{top}.m{number}" for top in "abcd" for number in range(6))
MOVES = st.sampled_from([0.0, 0.5, 20.0, 59.5, 60.0, 61.0, 240.0])


@dataclass
class Tally:
    """What the verdicts said and what the reports say, summed up."""

    decided: Counter[str] = field(default_factory=Counter)
    reported: Counter[str] = field(default_factory=Counter)

    def offer(self, engine: QuotaEngine, name: str, points: int) -> None:
        """Offer, and note what the verdict promises to be reported."""
        verdict = engine.offer(name, points)
        if not verdict.accepted:
            self.decided[f"dropped.{'root' if verdict.namespace == '/' else verdict.namespace}"] += points
            return
        for namespace in namespaces_of(name):
            rule = next((rule for rule in RULES if rule.pattern == namespace), None)
            if rule and "throughput" in rule.limits:
                self.decided[f"usage.throughput.{stat_name(rule, namespace)}"] += points

    def report(self, engine: QuotaEngine) -> None:
        """Report, and note the counts that restart."""
        rates = {k: v for k, v in engine.report().items() if k.startswith(("usage.throughput.", "dropped."))}
        self.reported.update(rates)

    def assert_settled(self) -> None:
        """All that was decided was reported, once."""
        assert +self.reported == self.decided


STEPS = st.lists(st.tuples(MOVES, st.sampled_from(NAMES), st.integers(1, 9), st.booleans()), max_size=60)


@given(STEPS)
def test_a_report_late_or_early_loses_and_doubles_no_point(steps: list[tuple[float, str, int, bool]]) -> None:
    clock, tally = ManualClock(30.0), Tally()
    engine = engine_of(RULES, clock)
    for seconds, name, points, reports in steps:
        clock.advance(seconds)
        tally.offer(engine, name, points)
        if reports:
            tally.report(engine)
    tally.report(engine)
    tally.report(engine)
    tally.assert_settled()


@given(st.lists(st.tuples(st.floats(-300, 300), st.sampled_from(NAMES), st.booleans()), max_size=40))
def test_a_clock_set_back_loses_and_doubles_no_point(steps: list[tuple[float, str, bool]]) -> None:
    clock, tally = ManualClock(1000.0), Tally()
    engine = engine_of(RULES, clock)
    for seconds, name, reports in steps:
        clock.advance(seconds)
        tally.offer(engine, name, 1)
        if reports:
            tally.report(engine)
    clock.set(1e6)
    tally.report(engine)
    tally.report(engine)
    tally.assert_settled()


@given(st.integers(0, 5), st.integers(1, 30), st.integers(1, 30))
def test_a_late_report_counts_no_point_of_the_new_interval_against_the_old(late: int, old: int, new: int) -> None:
    clock = ManualClock(0.0)
    engine = engine_of([SlowRule("a", {"throughput": 20})], clock)
    before = engine.admit(line("a.m") * old).points
    clock.advance(INTERVAL * (1 + late))
    after = engine.admit(line("a.m") * new).points
    assert (before, after) == (min(old, 20), min(new, 20))
    assert engine.report()["usage.throughput.a"] == before
    assert engine.usage("a").throughput == after
    clock.advance(INTERVAL)
    assert engine.report()["usage.throughput.a"] == after


@given(st.integers(1, 40), st.integers(1, 40))
def test_an_early_report_closes_the_interval(first: int, second: int) -> None:
    clock = ManualClock(10.0)
    engine = engine_of([SlowRule("a", {"throughput": 20})], clock)
    assert engine.admit(line("a.m") * first).points == min(first, 20)
    assert engine.report()["usage.throughput.a"] == min(first, 20)
    assert engine.usage("a").throughput == 0
    assert engine.admit(line("a.m") * second).points == min(second, 20)
    clock.set(60.0)
    assert engine.report()["usage.throughput.a"] == min(second, 20)


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_report_at_each_offer_gives_that_offer(first: int, second: int) -> None:
    clock = ManualClock(0.0)
    engine = engine_of([SlowRule("a", {"throughput": 20})], clock)
    engine.offer("a.m", first)
    assert engine.report()["usage.throughput.a"] == first
    clock.advance(INTERVAL)
    engine.offer("a.m", second)
    assert engine.report()["usage.throughput.a"] == second


@given(st.floats(0, 59.9), st.integers(1, 30), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8))
def test_however_reports_fall_in_the_interval_the_limit_is_one_an_interval(
    phase: float, limit: int, offered: list[tuple[int, int]]
) -> None:
    clock = ManualClock(0.0)
    engine = engine_of([SlowRule("a", {"throughput": limit})], clock)
    for number, (before, after) in enumerate([(1, 1), *offered]):
        clock.set(number * INTERVAL + phase)
        let_in = engine.admit(line("a.m") * before).points
        assert engine.report()["usage.throughput.a"] <= limit
        let_in += engine.admit(line("a.m") * after).points
        # The first report comes early and starts the count anew; from then on each one is late.
        assert let_in == (min(before + after, limit) if number else 2)


@given(rule_files, pools, st.data())
def test_an_explanation_is_the_verdict_of_the_offer_that_follows(
    rules: list[SlowRule], pool: list[str], data: st.DataObject
) -> None:
    engine, unasked = engine_of(rules), engine_of(rules)
    buffer = b"".join(data.draw(batches(pool)).lines())
    engine.admit(buffer)
    unasked.admit(buffer)
    for name in data.draw(st.permutations(pool)):
        explained = engine.explain(name).verdict
        assert engine.explain(name).verdict == explained
        assert engine.offer(name) == explained
        unasked.offer(name)
    assert engine.report() == unasked.report(), "asking must leave no trace"
