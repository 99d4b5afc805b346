"""Throughput limits shared with other nodes: what others accepted is not accepted here, in that interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.controls.sharing import NamespaceRows
from carbonquota.testing import ManualClock

RULES = """
[/]
throughput = 100
[*]
throughput = 10
[free]
metrics = 5
[counted]
throughput = 3
dropping-policy = none
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_200.0)


@pytest.fixture
def engine(clock: ManualClock) -> QuotaEngine:
    return QuotaEngine(RuleSet.from_text(RULES), clock=clock)


def accepted(engine: QuotaEngine) -> dict[str, int]:
    found = engine.counted()
    return dict(zip(engine.names_of(found.namespaces), found.accepted.tolist(), strict=True))


def leave(engine: QuotaEngine, points: dict[str, int]) -> bool:
    found = engine.counted()
    names = engine.names_of(found.namespaces)
    amounts = np.array([points.get(name, 0) for name in names], np.int64)
    return engine.leave_to_others(found.start, found.namespaces, amounts)


def offered(engine: QuotaEngine, metric: str, times: int) -> int:
    return sum(engine.offer(metric).accepted for _ in range(times))


def test_what_was_accepted_under_throughput_limits_is_told_with_the_limits(engine: QuotaEngine) -> None:
    engine.offer("a.x", 3)
    engine.offer("free.x", 4)
    assert accepted(engine) == {"/": 7, "a": 3}
    found = engine.counted()
    assert (found.start, sorted(found.limits.tolist())) == (1_200.0, [10, 100])


def test_what_others_accepted_is_not_accepted_here(engine: QuotaEngine) -> None:
    assert offered(engine, "a.x", 3) == 3
    assert leave(engine, {"a": 5})
    assert offered(engine, "a.x", 10) == 2
    assert accepted(engine)["a"] == 5
    # More than the limit leaves, and again less: the last word counts.
    leave(engine, {"a": 1_000})
    assert offered(engine, "a.x", 1) == 0
    leave(engine, {"a": 0})
    assert offered(engine, "a.x", 10) == 5


@given(st.lists(st.integers(0, 12), max_size=6), st.lists(st.integers(1, 4), max_size=20))
def test_here_and_elsewhere_together_never_pass_the_limit_by_what_was_known(
    remaining: list[int], offers: list[int]
) -> None:
    engine = QuotaEngine(RuleSet.from_text(RULES), clock=ManualClock(1_200.0))
    engine.offer("a.x")
    here, elsewhere = 1, 0
    for place, points in enumerate(offers):
        if place < len(remaining):
            elsewhere = max(elsewhere, remaining[place])
            leave(engine, {"a": elsewhere})
        verdict = engine.offer("a.x", points)
        assert verdict.accepted == (here + points <= 10 - elsewhere)
        here += points if verdict.accepted else 0
    assert accepted(engine)["a"] == here


def test_the_next_interval_begins_with_the_whole_limit(engine: QuotaEngine, clock: ManualClock) -> None:
    offered(engine, "a.x", 3)
    start, namespaces = engine.counted().start, engine.counted().namespaces
    leave(engine, {"a": 9})
    clock.advance(60.0)
    assert not engine.leave_to_others(start, namespaces, np.full(len(namespaces.rows), 9))
    assert offered(engine, "a.x", 20) == 10
    stats = engine.report()
    assert (stats["quota.throughput.a"], stats["usage.throughput.a"]) == (10, 3)


def test_a_limit_that_does_not_reject_counts_as_before(engine: QuotaEngine) -> None:
    offered(engine, "counted.x", 2)
    leave(engine, {"counted": 3})
    assert offered(engine, "counted.x", 4) == 4
    assert accepted(engine)["counted"] == 6


def test_a_row_that_another_namespace_has_by_now_is_left_alone(clock: ManualClock) -> None:
    engine = QuotaEngine(RuleSet.from_text("[*]\nthroughput = 10\n"), clock=clock)
    engine.offer("a.x")
    before = engine.counted()
    engine.forget("a.x")
    clock.advance(60.0)
    engine.report()
    engine.report()
    engine.offer("b.x")
    after = engine.counted()
    assert before.namespaces.rows.tolist() == after.namespaces.rows.tolist()
    assert engine.names_of(before.namespaces) == [""]
    assert engine.leave_to_others(after.start, before.namespaces, np.array([10]))
    far_away = NamespaceRows(np.array([10**6]), np.array([5]))
    assert engine.leave_to_others(after.start, far_away, np.array([10]))
    assert offered(engine, "b.x", 20) == 9


def test_new_rules_keep_what_was_accepted_and_may_change_what_is_limited(engine: QuotaEngine) -> None:
    offered(engine, "a.x", 3)
    found = engine.counted()
    engine.apply(RuleSet.from_text("[a]\nthroughput = 20\n"))
    assert accepted(engine) == {"a": 3}
    assert engine.leave_to_others(found.start, found.namespaces, np.full(len(found.accepted), 15))
    assert offered(engine, "a.x", 20) == 2
    engine.apply(RuleSet.from_text("[a]\nmetrics = 20\n"))
    assert engine.leave_to_others(found.start, found.namespaces, np.full(len(found.accepted), 15))
    assert offered(engine, "a.x", 20) == 20
