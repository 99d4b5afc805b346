"""The laws of a dry run: demand is what there is, and enforcement what an engine would really do."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.cli.trial import TrialOutcome, TrialTarget

NAMES = st.sampled_from([f"{a}.{b}.{c}" for a in "ab" for b in "cd" for c in "efg"] + ["a.x", "y", "b.c"])
BATCHES = st.lists(st.lists(NAMES, min_size=1, max_size=40), max_size=3)
LIMITS = st.dictionaries(st.sampled_from(["namespaces", "metrics", "data-points", "throughput"]), st.integers(1, 9))
POLICIES = st.sampled_from(["new", "none"])
RULES = st.lists(st.tuples(st.sampled_from(["/", "*", "a", "a.*", "*.c", "b.{c,d}"]), LIMITS, POLICIES), max_size=5)
SIZE = Size(10, 20, 2)


def rule_set(rules: list[tuple[str, dict[str, int], str]]) -> RuleSet:
    sections = []
    for pattern, limits, policy in rules:
        lines = [f"{control} = {limit}" for control, limit in limits.items()]
        sections.append("\n".join([f"[{pattern}]", *lines, f"dropping-policy = {policy}"]))
    return RuleSet.from_text("\n".join(sections))


def plaintext(names: list[str]) -> bytes:
    return "".join(f"{name} 1 0\n" for name in names).encode()


def outcome_of(rules: RuleSet, batches: list[list[str]]) -> TrialOutcome:
    trial = TrialTarget(rules, lambda _: SIZE)
    for names in batches:
        assert trial.take_lines(plaintext(names)) == (len(names), 0)
    return trial.outcome()


def namespaces_of(name: str) -> list[str]:
    parts = name.split(".")
    return ["/", *(".".join(parts[:depth]) for depth in range(1, len(parts)))]


def demand_of(namespace: str, control: str, names: list[str]) -> int:
    """What all names ask of a control, counted from the names alone."""
    inside = [name for name in names if namespace in namespaces_of(name)]
    if control == "throughput":
        return len(inside)
    if control == "namespaces":
        prefix = "" if namespace == "/" else f"{namespace}."
        below = {name.removeprefix(prefix) for name in inside}
        return len({rest.split(".")[0] for rest in below if "." in rest})
    return len(set(inside)) * (SIZE.data_points if control == "data-points" else 1)


@given(RULES, BATCHES)
def test_demand_is_what_the_names_ask_for_whatever_is_rejected(
    rules: list[tuple[str, dict[str, int], str]], batches: list[list[str]]
) -> None:
    names = [name for batch in batches for name in batch]
    outcome = outcome_of(rule_set(rules), batches)
    for one in outcome.limits:
        assert one.usage == demand_of(one.namespace, one.control, names), one
        assert one.over == max(one.usage - one.limit, 0)
    assert outcome.metrics == len(set(names))
    assert outcome.accepted + outcome.rejected == len(names)


@given(RULES, BATCHES)
def test_every_limit_of_every_ruled_namespace_is_shown_once(
    rules: list[tuple[str, dict[str, int], str]], batches: list[list[str]]
) -> None:
    ruled = rule_set(rules)
    namespaces = {"/", *(namespace for batch in batches for name in batch for namespace in namespaces_of(name))}
    expected: Counter[tuple[str, str, int, int]] = Counter()
    for namespace in namespaces:
        rule = ruled.match(namespace)
        for field in ("namespaces", "metrics", "data_points", "throughput"):
            if rule and (limit := getattr(rule.limits, field)) is not None:
                expected[namespace, field.replace("_", "-"), limit, rule.line] += 1
    shown = Counter((one.namespace, one.control, one.limit, one.rule.line) for one in outcome_of(ruled, batches).limits)
    assert shown == expected


@given(RULES, BATCHES)
def test_enforcement_is_what_an_engine_does_one_by_one(
    rules: list[tuple[str, dict[str, int], str]], batches: list[list[str]]
) -> None:
    engine = QuotaEngine(rule_set(rules), size_of=lambda _: SIZE, clock=lambda: 0.0)
    expected: Counter[tuple[str | None, str | None]] = Counter()
    for batch in batches:
        for name in batch:
            verdict = engine.offer(name)
            if not verdict.accepted:
                expected[verdict.namespace, verdict.control] += 1
    outcome = outcome_of(rule_set(rules), batches)
    assert outcome.rejected == expected.total()
    assert {(rejection.namespace, rejection.control): rejection.points for rejection in outcome.rejections} == expected
    shown = {(one.namespace, one.control): one.rejected for one in outcome.limits if one.rejected}
    assert shown == expected


@given(RULES, BATCHES)
def test_metrics_of_known_size_fare_like_lines(
    rules: list[tuple[str, dict[str, int], str]], batches: list[list[str]]
) -> None:
    trial = TrialTarget(rule_set(rules), lambda _: Size())
    for batch in batches:
        for name in batch:
            trial.take_metric(name, SIZE)
    found, expected = trial.outcome(), outcome_of(rule_set(rules), batches)
    assert (found.limits, found.accepted, found.rejected) == (expected.limits, expected.accepted, expected.rejected)


@given(RULES, BATCHES)
def test_the_most_pressing_limit_comes_first_and_else_the_names_tell(
    rules: list[tuple[str, dict[str, int], str]], batches: list[list[str]]
) -> None:
    controls = ["namespaces", "metrics", "logical-size", "physical-size", "data-points", "throughput"]
    limits = outcome_of(rule_set(rules), batches).limits
    keys = [(-one.percent, one.namespace, controls.index(one.control)) for one in limits]
    assert keys == sorted(keys)
    assert limits[1:3] == [limits[place] for place in range(len(limits))][1:3]


def test_samples_are_a_few_names_and_each_once() -> None:
    names = [f"a.m{number}" for number in range(10)]
    batches = [names[:3], names[1:4], names[5:], names[5:]]
    (rejection,) = outcome_of(rule_set([("a", {"metrics": 1}, "new")]), batches).rejections
    assert rejection.points == 2 + 3 + 5 + 5
    assert rejection.samples == ["a.m1", "a.m2", "a.m3", "a.m5", "a.m6"]
