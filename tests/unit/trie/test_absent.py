"""Namespaces that are rejected before they exist: counted for the report, by name only so many, and never created."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock
from carbonquota.trie import absent

MOST = 5
RULES = "[*.*]\nlogical-size = 10\nthroughput = 3\n"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(0.0)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> QuotaEngine:
    """An engine that counts at five absent namespaces, and rejects every metric that has its usual size."""
    monkeypatch.setattr(absent, "MOST_ABSENT", MOST)
    return QuotaEngine(RuleSet.from_text(RULES), size_of=lambda _metric: Size(logical=11), clock=clock)


def kept(engine: QuotaEngine) -> list[str]:
    """The namespaces under a rule that are in the index, or counted for the report."""
    return [quota.namespace for quota in engine.quotas()]


def counted(engine: QuotaEngine) -> dict[str, int]:
    """What a report says was dropped, by name in stats."""
    return {name: value for name, value in engine.report().items() if name.startswith("dropped.") and value}


def lines(first: int, last: int) -> bytes:
    return b"".join(b"a.b%d.m 1 1\n" % number for number in range(first, last))


def test_offers_are_counted_at_so_many_and_named_by_all() -> None:
    engine = QuotaEngine(RuleSet.from_text(RULES), size_of=lambda _metric: Size(logical=11), clock=ManualClock(0.0))
    for number in range(1_500):
        verdict = engine.offer(f"a.b{number}.m", points=2)
        assert (verdict.namespace, verdict.control) == (f"a.b{number}", "logical-size")
        assert verdict.rule is not None
    assert engine.namespaces() == []
    assert counted(engine) == {f"dropped.a-b{number}": 2 for number in range(1_000)}


@pytest.mark.parametrize("size", [10, 300])
def test_the_answer_to_a_batch_names_all_of_them(engine: QuotaEngine, size: int) -> None:
    for turn in range(4):
        result = engine.admit(lines(turn * size, (turn + 1) * size))
        assert {namespace for namespace, _ in result.drops} == {
            f"a.b{number}" for number in range(turn * size, (turn + 1) * size)
        }
        assert all(drop.samples == (f"{namespace}.m",) for (namespace, _), drop in result.drops.items())
        assert all(drop.rule is not None and drop.rule.pattern == "*.*" for drop in result.drops.values())
    assert kept(engine) == [f"a.b{number}" for number in range(MOST)]


def test_the_answer_outlives_what_it_tells_of(engine: QuotaEngine, clock: ManualClock) -> None:
    result = engine.admit(b"x..y.m;b=2;a=1 1 1\n" + lines(0, 3))
    clock.advance(60)
    engine.report()
    engine.apply(RuleSet.from_text("[/]\n"))
    assert [(who, drop.points, drop.samples) for who, drop in result.drops.items()] == [
        (("x.y", "logical-size"), 1, ("x.y.m;a=1;b=2",)),
        *(((f"a.b{number}", "logical-size"), 1, (f"a.b{number}.m",)) for number in range(3)),
    ]


def test_the_first_ones_are_reported_and_then_others_have_their_turn(engine: QuotaEngine) -> None:
    for _ in range(2):
        engine.admit(lines(0, 20))
    assert counted(engine) == {f"dropped.a-b{number}": 2 for number in range(MOST)}
    assert kept(engine) == []
    engine.admit(lines(10, 30))
    assert kept(engine) == [f"a.b{number}" for number in range(10, 10 + MOST)]


def test_no_more_wait_for_a_report_however_many_intervals_pass_without_one(
    engine: QuotaEngine, clock: ManualClock
) -> None:
    for turn in range(5):
        engine.admit(lines(20 * turn, 20 * turn + 20))
        clock.advance(60)
    assert counted(engine) == {f"dropped.a-b{number}": 1 for number in range(MOST)}


def test_points_accepted_in_the_interval_are_never_forgotten(engine: QuotaEngine) -> None:
    for number in range(20):
        name = f"a.b{number}.m"
        assert engine.offer(name, points=3, size=Size())
        engine.forget(name)
    engine.admit(lines(100, 120))
    assert len(kept(engine)) == 20
    assert [engine.offer(f"a.b{number}.m", size=Size()).control for number in range(20)] == ["throughput"] * 20


def test_one_that_comes_to_be_has_what_was_counted_before(engine: QuotaEngine) -> None:
    engine.admit(lines(0, 3))
    assert engine.offer("a.b1.m", size=Size()).accepted
    engine.load("a.b2.deep.m")
    assert engine.namespaces() == ["a", "a.b1", "a.b2", "a.b2.deep"]
    assert counted(engine) == {f"dropped.a-b{number}": 1 for number in range(3)}
    assert engine.report()["dropped.a-b1"] == 0


def test_new_rules_leave_the_counts_of_whoever_has_one_before_and_after(engine: QuotaEngine) -> None:
    engine.admit(lines(0, 3))
    engine.apply(RuleSet.from_text("[*.b1]\nlogical-size = 5\n[a.b7]\nmetrics = 1\n"))
    assert counted(engine) == {"dropped.a-b1": 1}


def test_what_is_only_counted_over_is_counted_too() -> None:
    """A namespace that does not enforce is passed, and another below it rejects, so neither comes to be."""
    rules = RuleSet.from_text("[*]\nlogical-size = 10\ndropping-policy = none\n[*.*]\nlogical-size = 10\n")
    engine = QuotaEngine(rules, size_of=lambda _metric: Size(logical=11), clock=ManualClock(0.0))
    assert engine.admit(lines(0, 2)).dropped == 2
    assert engine.namespaces() == []
    report = engine.report()
    assert {name: value for name, value in report.items() if name.startswith(("throttle.", "dropped."))} == {
        "throttle.a": 2,
        "dropped.a": 0,
        **{f"{count}.a-b{number}": 1 for count in ("throttle", "dropped") for number in range(2)},
    }
