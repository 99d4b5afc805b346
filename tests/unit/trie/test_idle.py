"""Namespaces that are rejected before they exist: kept for a report to count, but never any number of them."""

from __future__ import annotations

import numpy as np
import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls import grants
from carbonquota.testing import ManualClock
from carbonquota.trie import Index, index

MOST = 5
RULES = "[*.*]\nlogical-size = 10\nthroughput = 3\n"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> QuotaEngine:
    """An engine that keeps five idle namespaces, and rejects every metric that has its usual size."""
    monkeypatch.setattr(index, "MOST_IDLE", MOST)
    return QuotaEngine(RuleSet.from_text(RULES), size_of=lambda _metric: Size(logical=11), clock=ManualClock(0.0))


def kept(engine: QuotaEngine) -> list[str]:
    """The namespaces under a rule that are in the index."""
    return [quota.namespace for quota in engine.quotas()]


def lines(first: int, last: int) -> bytes:
    return b"".join(b"a.b%d.m 1 1\n" % number for number in range(first, last))


def test_offers_keep_so_many_idle_namespaces(engine: QuotaEngine) -> None:
    for number in range(50):
        verdict = engine.offer(f"a.b{number}.m")
        assert (verdict.namespace, verdict.control) == (f"a.b{number}", "logical-size")
        assert len(kept(engine)) <= MOST
    assert {f"a.b{number}" for number in range(MOST)} == set(kept(engine))


@pytest.mark.parametrize("size", [10, 300])
def test_the_answer_to_a_batch_names_those_that_are_not_kept(engine: QuotaEngine, size: int) -> None:
    for turn in range(4):
        result = engine.admit(lines(turn * size, (turn + 1) * size))
        assert {namespace for namespace, _ in result.drops} == {
            f"a.b{number}" for number in range(turn * size, (turn + 1) * size)
        }
        assert all(drop.samples == (f"{namespace}.m",) for (namespace, _), drop in result.drops.items())
        assert len(kept(engine)) <= MOST + size
    engine.admit(b"")
    assert len(kept(engine)) == MOST


def test_the_first_ones_are_reported_and_then_others_have_their_turn(engine: QuotaEngine) -> None:
    for _ in range(2):
        engine.admit(lines(0, 20))
    engine.admit(b"")
    report = engine.report()
    counted = {name: value for name, value in report.items() if name.startswith("dropped.")}
    assert counted == {f"dropped.a-b{number}": 2 for number in range(MOST)}
    assert kept(engine) == []
    engine.admit(lines(10, 30))
    engine.admit(b"")
    assert kept(engine) == [f"a.b{number}" for number in range(10, 10 + MOST)]


def test_points_accepted_in_the_interval_are_never_forgotten(engine: QuotaEngine) -> None:
    for number in range(20):
        name = f"a.b{number}.m"
        assert engine.offer(name, points=3, size=Size())
        engine.forget(name)
    engine.admit(lines(100, 120))
    engine.admit(b"")
    assert len(kept(engine)) == 20
    assert [engine.offer(f"a.b{number}.m", size=Size()).control for number in range(20)] == ["throughput"] * 20


def test_a_namespace_that_was_not_to_be_kept_and_is_used_meanwhile_stays(engine: QuotaEngine) -> None:
    engine.admit(lines(0, 20))
    assert engine.offer("a.b19.m", size=Size()).accepted
    engine.load("a.b18.deep.m")
    engine.admit(b"")
    assert engine.namespaces() == ["a", "a.b18", "a.b18.deep", "a.b19"]
    assert engine.usage("a.b19").throughput == 1


def test_one_that_is_gone_before_it_was_to_be_removed_is_left_alone(engine: QuotaEngine) -> None:
    engine.admit(lines(0, 20))
    engine.report()
    for number in range(MOST, 20):
        engine.load(f"a.b{number}.m", Size())
        engine.forget(f"a.b{number}.m")
    engine.load("other.name.m", Size())
    engine.admit(b"")
    assert kept(engine) == ["other.name"]
    assert engine.namespaces() == ["other", "other.name"]


def test_those_with_accepted_points_are_not_looked_at_again_and_again() -> None:
    tree = Index(RuleSet.from_text(RULES).matcher(), grants(RuleSet.from_text(RULES).rules, 60.0, "interval"))
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(index, "MOST_IDLE", 0)
        tree.add(b"a.b.m", tree.create(*tree.locate("a.b.m")), Size())
        quota = tree.own_quota(tree.namespaces.find("a.b"))
        tree.quotas.use_many(np.array([quota]), np.array([1]))
        tree.remove(b"a.b.m")
    assert tree.surplus == []
    assert tree.namespaces.find("a.b") >= 0
