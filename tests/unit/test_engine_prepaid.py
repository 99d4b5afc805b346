"""Prepaid throughput limits: a node accepts what it was granted, and gives back what is left of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.controls.sharing import Counted
from carbonquota.testing import ManualClock

RULES = """
[*]
throughput = 10
[free]
metrics = 5
[counted]
throughput = 3
dropping-policy = none
[huge]
throughput = max
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_200.0)


@pytest.fixture
def engine(clock: ManualClock) -> QuotaEngine:
    return QuotaEngine(RuleSet.from_text(RULES), clock=clock, prepaid=True)


def offered(engine: QuotaEngine, metric: str, times: int) -> int:
    return sum(engine.offer(metric).accepted for _ in range(times))


def found(engine: QuotaEngine, name: str) -> tuple[Counted, int]:
    counted = engine.counted()
    return counted, engine.names_of(counted.namespaces).index(name)


def grant(engine: QuotaEngine, name: str, points: int, later: float = 0.0) -> bool:
    counted, place = found(engine, name)
    amounts = np.zeros(len(counted.accepted), np.int64)
    amounts[place] = points
    return engine.grant(counted.start + later, counted.namespaces, amounts)


def take_back(engine: QuotaEngine, name: str, points: int) -> int:
    counted, place = found(engine, name)
    amounts = np.zeros(len(counted.accepted), np.int64)
    amounts[place] = points
    return int(engine.take_back(counted.start, counted.namespaces, amounts)[place])


def test_nothing_is_accepted_before_it_is_granted_and_what_was_wanted_is_told(engine: QuotaEngine) -> None:
    assert offered(engine, "a.x", 4) == 0
    counted, place = found(engine, "a")
    columns = (counted.accepted, counted.over, counted.allowed, counted.limits)
    assert [column[place] for column in columns] == [0, 4, 0, 10]
    assert grant(engine, "a", 3)
    assert offered(engine, "a.x", 5) == 3
    assert grant(engine, "a", 1)
    assert offered(engine, "a.x", 5) == 1


def test_limits_that_do_not_reject_and_those_without_end_are_not_prepaid(engine: QuotaEngine) -> None:
    assert (offered(engine, "counted.x", 5), offered(engine, "huge.x", 5), offered(engine, "free.x", 5)) == (5, 5, 5)
    assert engine.names_of(engine.counted().namespaces) == ["counted"]


def test_what_is_left_can_be_taken_back_once(engine: QuotaEngine) -> None:
    offered(engine, "a.x", 1)
    grant(engine, "a", 6)
    assert offered(engine, "a.x", 2) == 2
    assert take_back(engine, "a", 3) == 3
    assert take_back(engine, "a", 3) == 1
    assert take_back(engine, "a", 3) == 0
    assert offered(engine, "a.x", 1) == 0


def test_an_interval_begins_with_what_was_granted_ahead_of_it(engine: QuotaEngine, clock: ManualClock) -> None:
    offered(engine, "a.x", 1)
    grant(engine, "a", 5)
    assert grant(engine, "a", 2, later=60.0)
    assert not grant(engine, "a", 2, later=120.0)
    assert not grant(engine, "a", 2, later=-60.0)
    assert offered(engine, "a.x", 9) == 5
    clock.advance(60.0)
    assert offered(engine, "a.x", 9) == 2
    clock.advance(60.0)
    assert offered(engine, "a.x", 9) == 0


def test_without_a_store_an_interval_begins_with_a_part_of_each_limit(engine: QuotaEngine, clock: ManualClock) -> None:
    offered(engine, "a.x", 1)
    engine.prepay(3)
    assert offered(engine, "a.x", 5) == offered(engine, "b.x", 5) == 0
    clock.advance(60.0)
    assert (offered(engine, "a.x", 5), offered(engine, "b.x", 5), offered(engine, "c.x", 5)) == (3, 3, 3)
    engine.prepay(1)
    clock.advance(60.0)
    assert (offered(engine, "a.x", 15), offered(engine, "new.x", 15)) == (10, 10)


def test_new_rules_keep_what_was_granted(engine: QuotaEngine) -> None:
    offered(engine, "a.x", 1)
    grant(engine, "a", 6)
    offered(engine, "a.x", 2)
    engine.apply(RuleSet.from_text("[a]\nthroughput = 20\n[b]\nthroughput = 5\n"))
    assert offered(engine, "a.x", 9) == 4
    assert offered(engine, "b.x", 9) == 0
    # A limit that is lower now than what was granted.
    grant(engine, "a", 5)
    engine.apply(RuleSet.from_text("[a]\nthroughput = 8\n"))
    assert offered(engine, "a.x", 9) == 2


@given(st.lists(st.tuples(st.sampled_from(["offer", "grant", "back"]), st.integers(1, 6)), max_size=30))
def test_never_more_is_accepted_than_was_granted_less_what_was_given_back(steps: list[tuple[str, int]]) -> None:
    engine = QuotaEngine(RuleSet.from_text("[a]\nthroughput = 1000\n"), clock=ManualClock(1_200.0), prepaid=True)
    offered(engine, "a.x", 1)
    granted = accepted = 0
    for step, points in steps:
        if step == "offer":
            verdict = engine.offer("a.x", points)
            assert verdict.accepted == (accepted + points <= granted)
            accepted += points if verdict.accepted else 0
        elif step == "grant":
            grant(engine, "a", points)
            granted += points
        else:
            taken = take_back(engine, "a", points)
            assert taken == min(points, granted - accepted)
            granted -= taken
