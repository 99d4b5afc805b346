"""What the engine does for who claims new metrics elsewhere: they are held back, and come or are refused later."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls.capacity_limits import RefusedMetric
from carbonquota.controls.table import METRICS, NAMESPACES
from carbonquota.testing import ManualClock

RULES = """
[/]
namespaces = 9
[team.*]
metrics = 2
throughput = 4
[watched.*]
metrics = 1
dropping-policy = none
[large]
metrics = max
data-points = 9,007,199,254,740,993
logical-size = 9,007,199,254,740,992
"""


def line(name: str) -> bytes:
    return f"{name} 1 1700000000\n".encode()


@pytest.fixture
def engine() -> QuotaEngine:
    return QuotaEngine(RuleSet.from_text(RULES), clock=ManualClock(1_700_000_000.0), hold_new=True)


def test_lines_of_new_metrics_are_held_back_and_count_as_nothing(engine: QuotaEngine) -> None:
    engine.load("team.a.known")
    batch = engine.admit(
        line("team.a.known") + line("team.a.new") + b"bad\n" + line("team.a.known") * 4 + line("x") + line("team.a.new")
    )
    assert batch.take_new() == [line("team.a.new"), line("x"), line("team.a.new")]
    assert batch.accepted == line("team.a.known") * 4
    assert (batch.points, batch.dropped, batch.malformed) == (4, 1, 1)
    assert batch.dropped_by_control == {"throughput": 1}
    assert "team.a.new" not in engine


def test_a_batch_of_new_metrics_alone_passes_nothing_on(engine: QuotaEngine) -> None:
    batch = engine.admit(line("a.b") + line("a..c"))
    assert batch.take_new() == [line("a.b"), line("a..c")]
    assert (batch.accepted, batch.points, batch.dropped, batch.drops) == (b"", 0, 0, {})


def test_a_batch_without_any_is_passed_on_as_it_came(engine: QuotaEngine) -> None:
    engine.load("team.a.known")
    lines = line("team.a.known") * 2
    batch = engine.admit(lines)
    assert batch.take_new() == []
    assert batch.accepted is lines


def test_what_was_held_back_is_decided_as_ever(engine: QuotaEngine) -> None:
    batch = engine.admit_new(line("team.a.x") + line("team.a.y") + line("team.a.z"))
    assert (batch.points, batch.dropped_by_control) == (2, {"metrics": 1})
    assert batch.take_new() == []
    # After it, new ones are held back again.
    assert engine.admit(line("team.b.x")).take_new() == [line("team.b.x")]


def test_the_bound_on_new_metrics_a_second_holds_for_them() -> None:
    clock = ManualClock(1_700_000_000.0)
    engine = QuotaEngine(RuleSet.from_text(""), clock=clock, hold_new=True, max_creates_per_second=2)
    assert len(engine.admit(b"".join(map(line, "abc"))).take_new()) == 3
    assert engine.admit_new(b"".join(map(line, "abc"))).dropped_by_control == {"creates": 1}
    clock.advance(1)
    assert engine.admit_new(line("c")).points == 1


def test_a_refusal_counts_where_the_limit_is(engine: QuotaEngine) -> None:
    engine.load("team.a.x")
    lines = [line("team.a.y"), line("team.b.c.z"), line("team.a.y")]
    refused = [
        RefusedMetric("team.a.y", "team.a", METRICS),
        RefusedMetric("team.b.c.z", "team.b", METRICS),
        RefusedMetric("team.a.y", "team.a", METRICS),
    ]
    batch = engine.refuse(lines, refused)
    assert (batch.points, batch.dropped, batch.accepted) == (0, 3, b"")
    assert {key: (drop.points, drop.samples) for key, drop in batch.drops.items()} == {
        ("team.a", "metrics"): (2, ("team.a.y",)),
        ("team.b", "metrics"): (1, ("team.b.c.z",)),
    }
    report = engine.report()
    assert (report["dropped.team-a"], report["throttle.team-a"], report["dropped.team-b"]) == (2, 2, 1)
    # No namespace stays of what was refused, once that is reported.
    assert engine.children("team") == ["team.a"]


def test_a_refusal_by_a_rule_that_is_gone_is_told_all_the_same(engine: QuotaEngine) -> None:
    engine.apply(RuleSet.from_text(""))
    batch = engine.refuse([line("team.a.y")], [RefusedMetric("team.a.y", "team.a", NAMESPACES)])
    assert (batch.dropped, batch.dropped_by_control) == (1, {"creates": 1})


def test_limits_are_those_that_reject_from_the_root_down(engine: QuotaEngine) -> None:
    engine.load("team.a.x")
    found = {one.namespace: (one.limits, one.is_limited) for one in engine.limits_above(["team.a", "team.new.deep"])}
    none = (-1, -1, -1, -1, -1)
    assert list(found) == ["/", "team", "team.a", "team.new", "team.new.deep"]
    assert found == {
        "/": ((-1, -1, -1, -1, 9), True),
        "team": (none, True),
        "team.a": ((2, -1, -1, -1, -1), True),
        "team.new": ((2, -1, -1, -1, -1), True),
        "team.new.deep": (none, True),
    }


def test_what_is_over_a_limit_of_what_is_held_here_is_rejected_at_once(engine: QuotaEngine) -> None:
    for name in ("team.a.x", "team.a.y", "watched.a.x", "watched.a.y", "team.b.x"):
        engine.load(name)
    batch = engine.admit(
        line("team.a.z") + line("team.a.deep.z") + line("watched.a.z") + line("team.b.z") + line("team.a.x") * 4
    )
    assert batch.take_new() == [line("watched.a.z"), line("team.b.z")]
    assert (batch.points, batch.dropped_by_control) == (4, {"metrics": 2})
    # Throughput that is used up rejects none of them: their turn comes later.
    assert engine.admit(line("team.a.x") + line("team.b.z")).take_new() == [line("team.b.z")]
    assert engine.report()["dropped.team-a"] == 3


def test_limits_that_do_not_reject_or_are_too_large_are_none() -> None:
    rules = RULES.replace("[/]\nnamespaces = 9\n", "")
    engine = QuotaEngine(RuleSet.from_text(rules), hold_new=True)
    found = {one.namespace: (one.limits, one.is_limited) for one in engine.limits_above(["watched.a", "large", "/"])}
    assert found["watched.a"] == ((-1, -1, -1, -1, -1), False)
    assert found["large"] == ((-1, 2**53, -1, -1, -1), True)
    assert found["/"] == ((-1, -1, -1, -1, -1), False)


def test_what_comes_and_goes_without_a_claim_is_told_from_the_first_call_on(engine: QuotaEngine) -> None:
    engine.load("before")
    assert engine.take_unclaimed() == ([], [])
    engine.load("a.b", Size(1, 2, 3))
    engine.load("a.b")
    engine.forget("before")
    engine.forget("never.there")
    engine.admit_new(line("c.d"))
    assert engine.take_unclaimed() == (["a.b"], ["before"])
    assert engine.take_unclaimed() == ([], [])
    assert engine.has_each(["a.b", "before", "c.d"]) == [True, False, True]


def test_expired_metrics_are_told() -> None:
    clock = ManualClock(1_700_000_000.0)
    engine = QuotaEngine(RuleSet.from_text(""), clock=clock, keep_seen=True, hold_new=True)
    engine.take_unclaimed()
    engine.admit_new(line("a") + line("b"))
    clock.advance(100)
    engine.admit(line("a"))
    assert engine.expire(clock() - 50) == ["b"]
    assert engine.take_unclaimed() == ([], ["b"])


def test_sizes_are_those_of_new_metrics() -> None:
    engine = QuotaEngine(RuleSet.from_text(""), size_of=lambda name: Size(len(name), 0, 1), hold_new=True)
    assert engine.sizes_of(["a", "abc"]) == [Size(1, 0, 1), Size(3, 0, 1)]
