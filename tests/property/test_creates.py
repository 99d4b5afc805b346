"""The bound on new metrics a second is exact, comes before every rule, and touches nothing else."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine
from carbonquota.controls.respelling import as_passed_on
from carbonquota.testing import ManualClock
from tests.support.engines import INTERVAL, dropped_by, rule_set, size_of, size_tuple_of
from tests.support.model import Fate, SizeTuple, SlowQuotas, SlowRule
from tests.support.names import normal_form
from tests.support.traffic import batches, cut, pools, rule_files

BOUNDS = st.integers(1, 5) | st.integers(1, 60) | st.just(1000)
WAITS = st.sampled_from([0.0, 0.0, 0.25, 1.0, 61.0])


class BoundedQuotas(SlowQuotas):
    """The slow model with a bound on new metrics in front of it."""

    def __init__(self, rules: list[SlowRule], clock: ManualClock, bound: int) -> None:
        super().__init__(rules, size_tuple_of, clock, INTERVAL)
        self.bound, self.created = bound, Counter[int]()

    def offer(self, name: str | bytes, points: int = 1, size: SizeTuple | None = None) -> Fate:
        new = normal_form(name) not in self.metrics
        second = int(self._now())
        if new and self.created[second] == self.bound:
            return Fate("dropped", "/", "creates")
        fate = super().offer(name, points, size)
        self.created[second] += new and fate.kind == "accepted"
        return fate


def bounded(rules: list[SlowRule], clock: ManualClock, bound: int) -> QuotaEngine:
    """An engine with the bound."""
    return QuotaEngine(
        rule_set(rules), size_of=size_of, clock=clock, interval=INTERVAL, max_creates_per_second=bound, keep_seen=True
    )


@given(rule_files, BOUNDS, st.data())
def test_a_bounded_engine_equals_the_model_in_any_batching(
    rules: list[SlowRule], bound: int, data: st.DataObject
) -> None:
    clock = ManualClock(0.0)
    engine, model = bounded(rules, clock, bound), BoundedQuotas(rules, clock, bound)
    pool = data.draw(pools)
    for wait, batch in data.draw(st.lists(st.tuples(WAITS, batches(pool)), max_size=4)):
        clock.advance(wait)
        lines = batch.lines()
        for buffer in cut(lines, batch.seed) if wait else [b"".join(lines)]:
            result, fates = engine.admit(buffer), model.admit(buffer)
            kinds = Counter(fate.kind for _, fate in fates)
            passed = [as_passed_on(text) if fate.kind == "accepted" else text for text, fate in fates]
            kept = [text for text, (_, fate) in zip(passed, fates, strict=True) if fate.kind in {"accepted", "blank"}]
            assert result.accepted == b"".join(kept)
            assert (result.points, result.dropped, result.malformed) == tuple(
                kinds[kind] for kind in ("accepted", "dropped", "malformed")
            )
            expected = Counter((fate.namespace, fate.control) for _, fate in fates if fate.kind == "dropped")
            assert dropped_by(result) == expected
            by_control = Counter(str(fate.control) for _, fate in fates if fate.kind == "dropped")
            assert result.dropped_by_control == by_control
    assert len(engine) == len(model.metrics) == sum(model.created.values())
    got, expected_stats = engine.report(), model.report()
    assert {name: got[name] for name in expected_stats} == expected_stats
    assert not any(got[name] for name in got.keys() - expected_stats.keys() if not name.startswith("quota."))


@given(rule_files, BOUNDS, st.data())
def test_offers_equal_the_model(rules: list[SlowRule], bound: int, data: st.DataObject) -> None:
    clock = ManualClock(0.0)
    engine, model = bounded(rules, clock, bound), BoundedQuotas(rules, clock, bound)
    pool = data.draw(pools)
    steps = st.tuples(WAITS, st.sampled_from(pool), st.integers(1, 3), st.sampled_from(["offer", "load", "forget"]))
    for wait, name, points, call in data.draw(st.lists(steps, max_size=60)):
        clock.advance(wait)
        if call == "offer":
            verdict, fate = engine.offer(name, points), model.offer(name, points)
            assert (verdict.accepted, verdict.namespace, verdict.control) == (
                fate.kind == "accepted",
                fate.namespace,
                fate.control,
            )
            assert (verdict.rule is None) == (fate.control in {None, "creates"})
        elif call == "load":
            engine.load(name)
            model.load(name)
        else:
            assert engine.forget(name) == model.forget(name)
    assert len(engine) == len(model.metrics)
