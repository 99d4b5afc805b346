"""Several offers as one: all are accepted and charged, or none is."""

from __future__ import annotations

import pytest

from carbonquota import MetricNameError, QuotaEngine, RuleSet, Size
from carbonquota.controls import Decider, compiled_rules
from carbonquota.controls.reference import offer_all
from carbonquota.testing import ManualClock
from carbonquota.trie import ROOT_ROW, Index

RULES = "[/]\nthroughput = 100\n[a]\nmetrics = 3\nthroughput = 10\n[a.*]\nmetrics = 2\n"


def engine_under(text: str = RULES, *, creates: int | None = None) -> QuotaEngine:
    return QuotaEngine(
        RuleSet.from_text(text),
        size_of=lambda _metric: Size(1, 2, 3),
        clock=ManualClock(60.0),
        record_changes=True,
        keep_seen=True,
        max_creates_per_second=creates,
    )


def held(engine: QuotaEngine) -> object:
    """All that an engine holds, and when it was seen."""
    holdings = engine.holdings()
    names = sorted(zip(holdings.names, holdings.seen.tolist(), strict=True))
    return names, dict(holdings.rates), engine.namespaces(), engine.usage()


def test_all_are_accepted_and_charged() -> None:
    engine = engine_under()
    assert engine.offer_all([("a.x", 3), (b"a.y", 4), ("a.x", 3)])
    assert engine.usage("a").throughput == 10
    assert [change.name for change in engine.take_changes()] == [b"a.x", b"a.y"]
    assert engine.offer_all([])


@pytest.mark.parametrize(
    ("offers", "namespace", "control"),
    [
        ([("a.x", 5), ("a.y", 6)], "a", "throughput"),
        ([("a.new", 1), ("a.newer", 1), ("a.newest", 1)], "a", "metrics"),
        ([("a.b.x", 1), ("a.b.y", 1), ("a.b.z", 1)], "a", "metrics"),
        ([("free.x", 60), ("free.y", 41)], "/", "throughput"),
        ([("a.c.x", 1), ("a.c.y", 1), ("a.x", 9)], "a", "throughput"),
    ],
)
def test_where_one_is_rejected_the_others_leave_no_trace(
    offers: list[tuple[str, int]], namespace: str, control: str
) -> None:
    engine, other = engine_under(), engine_under()
    for one in (engine, other):
        one.load("a.x")
        one.offer("a.x", 1)
    engine.take_changes()
    before = held(engine)
    verdict = engine.offer_all(offers)
    assert (verdict.accepted, verdict.namespace, verdict.control) == (False, namespace, control)
    assert engine.take_changes() == []
    assert held(engine) == before
    over = {quota.namespace: (quota.throttle, dict(quota.dropped)) for quota in engine.quotas() if quota.throttle}
    assert over == {namespace: (offers[-1][1], {control: offers[-1][1]})}
    assert engine.offer("a.x", 9).accepted == other.offer("a.x", 9).accepted


def test_the_bound_on_new_metrics_is_given_back() -> None:
    engine = engine_under("", creates=2)
    assert engine.offer_all([("x", 1), ("y", 1), ("z", 1)]).control == "creates"
    assert len(engine) == 0
    assert engine.offer_all([("x", 1), ("y", 1)])
    assert engine.offer_all([("z", 1)]).control == "creates"


def test_what_cannot_be_told_leaves_nothing_charged() -> None:
    def size_of(metric: str) -> Size:
        if "bad" in metric:
            raise LookupError(metric)
        return Size()

    engine = QuotaEngine(RuleSet.from_text(RULES), size_of=size_of, clock=ManualClock(60.0))
    before = held(engine), engine.quotas()
    with pytest.raises(LookupError):
        engine.offer_all([("a.x", 1), ("b.bad", 1)])
    for name, error in (("", MetricNameError), ("a\0", MetricNameError)):
        with pytest.raises(error):
            engine.offer_all([("a.x", 1), (name, 1)])
    for points in (0, 2**63):
        with pytest.raises(ValueError, match="points must be"):
            engine.offer_all([("a.x", 1), ("a.y", points)])
    assert (held(engine), engine.quotas()) == before


def decider_under(text: str) -> Decider:
    rules = RuleSet.from_text(text)
    terms = compiled_rules(rules.rules, 60.0, "interval")
    return Decider(Index(rules.matcher(), terms), terms, lambda _metric: Size(1, 2, 3))


def test_namespaces_come_to_be_only_where_an_offer_is_accepted() -> None:
    decider = decider_under("[*.*]\nphysical-size = 1\n[b.*]\nthroughput = 1\n")
    births = decider.index.namespaces.births
    assert offer_all(decider, [("a.new.x", 1)]) == offer_all(decider, [("b.full.x", 1), ("a.new.x", 1)])
    assert decider.index.namespaces.births == births + 2, "b and b.full, for a while"
    assert decider.index.namespaces.in_use().tolist() == [ROOT_ROW]
    assert len(decider.index.absent) == 1


def test_what_a_new_namespace_took_is_given_back_with_it() -> None:
    decider = decider_under("[*]\nthroughput = 5\n")
    assert not offer_all(decider, [("a.x", 5), ("a.y", 1)])
    index = decider.index
    assert index.quotas.counters(index.own_quota(index.namespaces.find("a")))[:2] == (5, 1), (
        "what was rejected is counted"
    )
    assert offer_all(decider, [("a.x", 5)])
