"""Explanations: each namespace above a metric, what its limits leave, and the answer that an offer would get."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls import ControlState, Explanation
from carbonquota.testing import ManualClock

RULES = """
[/]
metrics = 100
[*]
metrics = 5
[a]
namespaces = 2
metrics = 3
throughput = 10
[a.*]
logical-size = 250
dropping-policy = none
[a.b]
logical-size = 250
physical-size = max
data-points = 30
"""
SIZE = Size(logical=100, physical=4096, data_points=10)


@pytest.fixture
def engine() -> QuotaEngine:
    """An engine with two metrics in `a.b`, and four points counted."""
    engine = QuotaEngine(RuleSet.from_text(RULES), size_of=lambda _metric: SIZE, clock=ManualClock(0.0))
    engine.offer("a.b.m", points=3)
    engine.offer("a.b.n")
    return engine


def states(explanation: Explanation, namespace: str) -> dict[str, tuple[int, int, int, int, bool]]:
    """By control of one namespace: limit, usage, needed, headroom, over."""
    (found,) = [one for one in explanation.namespaces if one.namespace == namespace]
    return {
        state.control: (state.limit, state.usage, state.needed, state.headroom, state.over) for state in found.controls
    }


def test_every_namespace_is_named_with_its_rule_and_those_that_lost(engine: QuotaEngine) -> None:
    explanation = engine.explain(".a..b.m.")
    root, any_top, a, any_below, a_b = engine.rules.rules
    assert (explanation.metric, explanation.known, explanation.points, explanation.size) == ("a.b.m", True, 1, SIZE)
    assert [(one.namespace, one.exists, one.rule, one.lost) for one in explanation.namespaces] == [
        ("/", True, root, ()),
        ("a", True, a, (any_top,)),
        ("a.b", True, a_b, (any_below,)),
    ]


def test_a_new_metric_is_held_against_all_limits(engine: QuotaEngine) -> None:
    explanation = engine.explain("a.b.new", points=4)
    maximum = 2**63 - 1
    assert (explanation.known, explanation.size) == (False, SIZE)
    assert states(explanation, "/") == {"metrics": (100, 2, 1, 98, False)}
    assert states(explanation, "a") == {
        "namespaces": (2, 1, 0, 1, False),
        "metrics": (3, 2, 1, 1, False),
        "throughput": (10, 4, 4, 6, False),
    }
    assert states(explanation, "a.b") == {
        "logical-size": (250, 200, 100, 50, True),
        "physical-size": (maximum, 8192, 4096, maximum - 8192, False),
        "data-points": (30, 20, 10, 10, False),
    }


def test_a_known_metric_needs_only_throughput(engine: QuotaEngine) -> None:
    explanation = engine.explain("a.b.m", points=7)
    assert states(explanation, "a") == {
        "namespaces": (2, 1, 0, 1, False),
        "metrics": (3, 2, 0, 1, False),
        "throughput": (10, 4, 7, 6, True),
    }
    assert not any(over for *_, over in states(explanation, "a.b").values())


def test_a_namespace_not_there_yet_is_explained_by_its_rule(engine: QuotaEngine) -> None:
    explanation = engine.explain("a.c.d.m")
    assert [(one.namespace, one.exists) for one in explanation.namespaces] == [
        ("/", True), ("a", True), ("a.c", False), ("a.c.d", False),
    ]  # fmt: skip
    assert states(explanation, "a")["namespaces"] == (2, 1, 1, 1, False)
    assert states(explanation, "a.c") == {"logical-size": (250, 0, 100, 250, False)}
    assert (explanation.namespaces[-1].rule, explanation.namespaces[-1].controls) == (None, ())


def test_usage_above_a_limit_is_a_negative_headroom_which_holds_up_new_metrics_only(engine: QuotaEngine) -> None:
    for number in range(4):
        engine.load(f"a.x.m{number}")
    assert states(engine.explain("a.x.m0"), "a")["metrics"] == (3, 6, 0, -3, False)
    assert states(engine.explain("a.x.new"), "a")["metrics"] == (3, 6, 1, -3, True)
    assert engine.explain("a.x.m0").verdict == engine.offer("a.x.m0")
    assert engine.explain("a.x.new").verdict == engine.offer("a.x.new")


@pytest.mark.parametrize(
    ("usage", "needed", "asked", "headroom", "over"),
    [(2, 1, True, 1, False), (3, 1, True, 0, True), (6, 0, True, -3, True), (6, 0, False, -3, False)],
)
def test_a_limit_with_a_say_is_over_where_more_is_needed_than_it_leaves(
    usage: int, needed: int, asked: bool, headroom: int, over: bool
) -> None:
    state = ControlState("metrics", 3, usage, needed, asked)
    assert (state.headroom, state.over) == (headroom, over)


@pytest.mark.parametrize(
    ("metric", "points", "namespace", "control"),
    [
        ("a.b.m", 1, None, None),
        ("a.b.m", 6, None, None),
        ("a.b.m", 7, "a", "throughput"),
        ("a.b.new", 1, "a.b", "logical-size"),
        ("a.b.new", 7, "a", "throughput"),
        ("a.new", 1, None, None),
        ("a.c.new", 1, None, None),
        ("a.c.d.e.new", 1, None, None),
        ("b.new", 1, None, None),
        ("new", 2**63 - 1, None, None),
        ("a.new;host=a", 7, "a", "throughput"),
    ],
)
def test_the_verdict_is_that_of_the_offer_which_it_does_not_make(
    engine: QuotaEngine, metric: str, points: int, namespace: str | None, control: str | None
) -> None:
    before = (len(engine), engine.quotas(), engine.namespaces())
    verdict = engine.explain(metric, points).verdict
    assert (verdict.accepted, verdict.namespace, verdict.control) == (namespace is None, namespace, control)
    assert (verdict.rule is None) == verdict.accepted
    assert (len(engine), engine.quotas(), engine.namespaces()) == before
    assert engine.offer(metric, points) == verdict


def test_a_rule_that_does_not_enforce_is_over_and_lets_pass(engine: QuotaEngine) -> None:
    for number in range(3):
        engine.load(f"a.c.m{number}")
    engine.forget("a.b.m")
    engine.forget("a.b.n")
    engine.forget("a.c.m2")
    explanation = engine.explain("a.c.new")
    assert states(explanation, "a.c") == {"logical-size": (250, 200, 100, 50, True)}
    assert explanation.verdict.accepted
    assert engine.offer("a.c.new") == explanation.verdict
