"""No enforcing limit is passed, each is used up to the last unit, and a tighter one never lets more in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from carbonquota import Size
from carbonquota.testing import ManualClock
from tests.support.engines import INTERVAL, STOCK_FIELDS, engine_of, line, size_tuple_of
from tests.support.model import SlowQuotas, SlowRule, recount
from tests.support.names import namespaces_of, normal_form, split_lines
from tests.support.traffic import LIMITS, batches, enforcing_rule_files, names, pools, rule_files, rules

if TYPE_CHECKING:
    from carbonquota import QuotaEngine
    from tests.support.model import SizeTuple


class Ledger:
    """What was let through, kept apart from the engine, and the check of it against the limits."""

    def __init__(self, rule_file: list[SlowRule]) -> None:
        """Start with nothing let through."""
        self.metrics: dict[str, SizeTuple] = {}
        self.points: Counter[str] = Counter()
        self._rule_of = SlowQuotas(rule_file).rule_of

    def let_through(self, accepted: bytes) -> None:
        """Note the accepted lines."""
        for text in split_lines(accepted):
            if text.strip():
                metric = normal_form(text.split()[0])
                self.metrics[metric] = size_tuple_of(metric)
                self.points.update(namespaces_of(metric))

    def assert_within_limits(self) -> None:
        """Every namespace holds no more than its rule grants."""
        for namespace, capacities in recount(self.metrics).items():
            rule = self._rule_of(namespace)
            used = capacities | Counter(throughput=self.points[namespace])
            for control, limit in rule.limits.items() if rule else ():
                assert used[control] <= limit, (namespace, control)


@given(enforcing_rule_files, st.data())
def test_no_enforcing_limit_is_ever_exceeded(rule_file: list[SlowRule], data: st.DataObject) -> None:
    engine, ledger, pool = engine_of(rule_file), Ledger(rule_file), data.draw(pools)
    for _ in range(data.draw(st.integers(1, 6), label="batches")):
        ledger.let_through(engine.admit(b"".join(data.draw(batches(pool)).lines())).accepted)
        ledger.assert_within_limits()
        if data.draw(st.booleans(), label="report early"):
            engine.report()
            ledger.points.clear()
        forgotten = data.draw(st.sampled_from(pool), label="forgotten")
        assert engine.forget(forgotten) == (ledger.metrics.pop(normal_form(forgotten), None) is not None)


@given(rule_files, names, st.integers(1, 300), st.data())
def test_an_offer_is_taken_whole_or_not_at_all(
    rule_file: list[SlowRule], name: str, points: int, data: st.DataObject
) -> None:
    engine = engine_of([*rule_file, SlowRule("/", {"throughput": 250})])
    engine.admit(b"".join(data.draw(pools.flatmap(batches)).lines()))
    before, known = engine.usage("/"), name in engine
    verdict = engine.offer(name, points)
    gained = engine.usage("/").throughput - before.throughput
    assert gained == (points if verdict.accepted else 0)
    assert engine.usage("/").metrics - before.metrics == int(verdict.accepted and not known)


@st.composite
def tightenings(draw: st.DrawFn) -> tuple[list[SlowRule], list[SlowRule]]:
    """A file, and the same file with one limit added to, or lowered in, one of its rules."""
    loose = draw(st.lists(rules(), min_size=1, max_size=5))
    position = draw(st.integers(0, len(loose) - 1))
    control = draw(st.sampled_from(sorted(LIMITS)))
    limit = draw(LIMITS[control])
    old = loose[position]
    assume(limit < old.limits.get(control, limit + 1))
    tightened = replace(old, limits={**old.limits, control: limit})
    return loose, [*loose[:position], tightened, *loose[position + 1 :]]


@given(tightenings(), st.data())
def test_what_passes_with_an_added_limit_passes_without(
    files: tuple[list[SlowRule], list[SlowRule]], data: st.DataObject
) -> None:
    # The looser engine is given only what the tighter one took, so both hold the same at every decision.
    loose, tight = map(engine_of, files)
    for text in data.draw(pools.flatmap(batches)).lines():
        passed = tight.admit(text)
        if passed.points:
            assert loose.admit(text).points == 1
    assert loose.usage("/").metrics == tight.usage("/").metrics


@given(st.sampled_from(["throughput", "metrics"]), st.integers(1, 90), st.integers(0, 90), st.data())
def test_adding_a_limit_never_lets_more_in_at_that_namespace(
    control: str, limit: int, more: int, data: st.DataObject
) -> None:
    buffer = b"".join(data.draw(pools.flatmap(batches)).lines())
    without, looser, tighter = (
        _held_at_a(engine_of(rule_file), buffer, control)
        for rule_file in ([], [SlowRule("a", {control: limit + more})], [SlowRule("a", {control: limit})])
    )
    assert tighter <= looser <= without
    assert tighter == min(limit, without)
    assert looser == min(limit + more, without)


def _held_at_a(engine: QuotaEngine, buffer: bytes, control: str) -> int:
    accepted = split_lines(engine.admit(buffer).accepted)
    below = [normal_form(text.split()[0]) for text in accepted if text.strip()]
    below = [metric for metric in below if "a" in namespaces_of(metric)]
    return len(set(below) if control == "metrics" else below)


@given(st.integers(1, 40), st.lists(st.integers(0, 120), min_size=1, max_size=6), st.booleans())
def test_a_throughput_limit_lets_exactly_its_number_in_each_interval(
    limit: int, offered: list[int], single: bool
) -> None:
    clock = ManualClock(0.0)
    engine = engine_of([SlowRule("a", {"throughput": limit})], clock)
    for points in offered:
        lines = [line(f"a.m{number % 7}") for number in range(points)]
        buffers = lines if single else [b"".join(lines)]
        assert sum(engine.admit(buffer).points for buffer in buffers) == min(points, limit)
        clock.advance(INTERVAL)


@given(st.sampled_from(sorted(STOCK_FIELDS)), pools)
def test_the_last_unit_of_a_limit_is_given_out(control: str, pool: list[str]) -> None:
    held = {normal_form(name): size_tuple_of(normal_form(name)) for name in pool}
    needed = recount(held)["/"][control]
    assume(needed > 0)
    exact, short = (engine_of([SlowRule("/", {control: limit})]) for limit in (needed, max(needed - 1, 1)))
    assert all(exact.offer(name) for name in pool)
    assert needed == 1 or not all(short.offer(name) for name in pool)


ORDER = ("throughput", "metrics", "logical-size", "physical-size", "data-points", "namespaces")


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_of_several_controls_over_the_first_in_their_order_is_named(first: int) -> None:
    engine = engine_of([SlowRule("a", dict.fromkeys(ORDER[first:], 1))])
    size = Size(logical=1, physical=1, data_points=1)
    engine.load("a.x.m", size)
    verdict = engine.offer("a.y.m", points=2, size=size)
    assert (verdict.namespace, verdict.control) == ("a", ORDER[first])
    assert engine.usage("a").metrics == 1
