"""Other rules over an index: the same as if they had held from the start, whatever changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from carbonquota import RuleSet, Size
from carbonquota.controls import compiled_rules
from carbonquota.controls.reference import throughput
from carbonquota.controls.table import METRICS
from carbonquota.trie import NO_QUOTA, Index, Rebuild

SIZE = Size(logical=10, physical=20, data_points=3)
BEFORE = "[/]\nthroughput = 100\n[*]\nthroughput = 50\n[a.*]\nmetrics = 9\n[a.b.c]\nthroughput = 5\n"
AFTER = """
[*.b]
throughput = 40
stat-metric-prefix = two.
[a]
throughput = 30
[*.*.*]
metrics = 4
[a.b.c]
metrics = 1
"""
NOTHING = ""
METRIC_NAMES = ("a.b.c.m", "a.b.m", "a.x.y.m", "b.b.m", "b.m", "m", "c.d.e.f.m")


def index_under(text: str, names: tuple[str, ...] = METRIC_NAMES) -> Index:
    """An index under the rules of a file's text that holds these metrics."""
    rules = RuleSet.from_text(text)
    index = Index(rules.matcher(), compiled_rules(rules.rules, 60.0, "interval"))
    for name in names:
        add(index, name)
    return index


def add(index: Index, name: str) -> None:
    """Put a series into the index."""
    index.add(name.encode(), index.create(*index.locate(name)), SIZE)


def apply(
    index: Index, text: str, first: Callable[[], None] = lambda: None, then: Callable[[], None] = lambda: None
) -> None:
    """Put the rules of a text in force, with something happening before and after the long part."""
    rules = RuleSet.from_text(text)
    rebuild = Rebuild(index, rules.matcher(), compiled_rules(rules.rules, 60.0, "interval"))
    first()
    rebuild.run()
    then()
    rebuild.finish()


def names_in(index: Index) -> dict[str, int]:
    """Every namespace and its row."""
    rows = index.namespaces.in_use()
    return dict(zip(index.namespaces.names_at(rows), rows.tolist(), strict=True))


def held(index: Index, text: str) -> dict[str, tuple[str, str | None, tuple[str, ...]]]:
    """By namespace: its stat name, the rule that holds it, and the namespaces above it that have quotas, itself too."""
    rules = RuleSet.from_text(text).rules
    quotas, found = index.quotas, {}
    for name, row in names_in(index).items():
        own = index.own_quota(row)
        pattern = None if own == NO_QUOTA else rules[quotas.rule_at[own]].pattern
        chain = [index.namespaces.name(quotas.namespace_at[quota]) for quota in index.chain(row)]
        stat_name = "" if own == NO_QUOTA else quotas.stat_names(np.array([own]))[0]
        found[name] = (stat_name, pattern, tuple(chain))
    return found


def assert_held_as_from_the_start(index: Index, text: str) -> None:
    """The index is as one that had these rules when its metrics came."""
    rules = RuleSet.from_text(text)
    names = tuple(name.decode() for name in index.table.copy().names())
    empty = {name for name, row in names_in(index).items() if name != "/" and index.namespaces.is_empty(row)}
    seen = {name: what for name, what in held(index, text).items() if name not in empty}
    fresh = index_under(text, names)
    assert seen == held(fresh, text)
    for name, (_, pattern, chain) in seen.items():
        rule = rules.match(name)
        assert pattern == (rule and rule.pattern)
        assert chain == tuple(above for above in lineage(name) if rules.match(above))
    add(index, "a.fresh.b.m")
    add(fresh, "a.fresh.b.m")
    assert held(index, text)["a.fresh.b"] == held(fresh, text)["a.fresh.b"]


def lineage(name: str) -> list[str]:
    """The namespaces from the root to this one."""
    parts = name.split(".") if name != "/" else []
    return ["/", *(".".join(parts[: depth + 1]) for depth in range(len(parts)))]


@pytest.mark.parametrize("before", [BEFORE, AFTER, NOTHING])
@pytest.mark.parametrize("after", [BEFORE, AFTER, NOTHING])
def test_after_a_change_of_rules_all_is_as_if_they_had_held_from_the_start(before: str, after: str) -> None:
    index = index_under(before)
    apply(index, after)
    assert_held_as_from_the_start(index, after)


@pytest.mark.parametrize("phase", ["first", "then"])
@pytest.mark.parametrize(
    ("gone", "come"),
    [
        ((), ("a.b.d.m", "new.b.c.m")),
        (("a.b.c.m",), ()),
        (("a.b.c.m", "a.b.m"), ("new.b.m",)),
        (("a.b.c.m", "a.b.m"), ("a.b.c.m",)),
        (("c.d.e.f.m",), ("d.b.m", "b.b.c.d.m")),
        (METRIC_NAMES, ()),
        (METRIC_NAMES, METRIC_NAMES[::-1]),
        (METRIC_NAMES, ("z.b.c.d.e.f.g.h.m", "a.m")),
    ],
)
def test_what_comes_and_goes_during_the_change_is_under_the_new_rules(
    phase: str, gone: tuple[str, ...], come: tuple[str, ...]
) -> None:
    index = index_under(BEFORE)

    def meanwhile() -> None:
        for name in gone:
            index.remove(name.encode())
        for name in come:
            add(index, name)

    apply(index, AFTER, **{phase: meanwhile})
    assert_held_as_from_the_start(index, AFTER)
    assert set(names_in(index)) >= {above for name in come for above in lineage(name)[:-1]}


@pytest.mark.parametrize("seed", range(10))
def test_hundreds_of_namespaces_coming_and_going_during_many_changes_are_all_under_the_last_rules(seed: int) -> None:
    random = Random(seed)
    index, present = index_under(BEFORE, ()), set[str]()

    def churn() -> None:
        for _ in range(150):
            name = ".".join([*random.choices("abcdef", k=random.randint(0, 4)), "m"])
            if name in present and random.random() < 0.6:
                index.remove(name.encode())
                present.discard(name)
            elif name not in present:
                add(index, name)
                present.add(name)

    for turn in range(5):
        apply(index, (AFTER, BEFORE, NOTHING)[turn % 3], churn, churn)
    index.prune_reported()
    assert_held_as_from_the_start(index, BEFORE)


def counts(index: Index, name: str) -> tuple[int, int, int, int]:
    """The counts of the running interval and of ended ones: throughput and throttle of each."""
    quotas, quota = index.quotas, index.own_quota(index.namespaces.find(name))
    return (
        quotas.used(quota),
        quotas.throttle_at[quota],
        int(quotas.closed_throughput[quota]),
        int(quotas.closed_throttle[quota]),
    )


def count(index: Index) -> None:
    """Count something at every quota, in an ended and in the running interval."""
    quotas = index.quotas
    for number, quota in enumerate(quotas.rows(), start=1):
        throughput.over(quotas, quota, METRICS, 7)
        throughput.charge(quotas, quotas.rate_chain(quota)[-1:], number)
    quotas.close()
    for quota in quotas.rows():
        throughput.over(quotas, quota, METRICS, 2)
        throughput.charge(quotas, quotas.rate_chain(quota)[-1:], 20)


@pytest.mark.parametrize("limit", ["30", "50", "100", "max"])
def test_counts_stay_with_a_namespace_that_had_a_rule_and_has_one(limit: str) -> None:
    index = index_under("[b]\nthroughput = 50\n")
    count(index)
    assert counts(index, "b") == (20, 2, 1, 7)
    apply(index, f"[a.b.c]\nmetrics = 4\n[*]\nthroughput = {limit}\n")
    assert counts(index, "b") == (20, 2, 1, 7)
    assert counts(index, "a") == (0, 0, 0, 0)


def test_counts_stay_from_one_unlimited_throughput_to_the_next() -> None:
    index = index_under("[b]\nthroughput = max\n")
    count(index)
    apply(index, "[*]\nthroughput = max\n")
    assert counts(index, "b") == (20, 2, 1, 7)


def test_without_a_throughput_limit_the_running_count_is_not_kept_but_all_else_is() -> None:
    index = index_under("[b]\nthroughput = 50\n")
    count(index)
    apply(index, "[b]\nmetrics = 5\n")
    assert counts(index, "b") == (0, 2, 1, 7)


def test_a_lower_limit_than_what_is_used_already_leaves_nothing() -> None:
    index = index_under("[b]\nthroughput = 50\n")
    throughput.charge(index.quotas, (index.own_quota(index.namespaces.find("b")),), 45)
    apply(index, "[b]\nthroughput = 40\n")
    quota = index.own_quota(index.namespaces.find("b"))
    assert index.quotas.used(quota) == 45
    assert throughput.ask(index.quotas, (quota,), 1) == quota
    index.quotas.close()
    assert throughput.ask(index.quotas, (quota,), 40) == NO_QUOTA


def test_what_is_counted_during_the_change_is_kept() -> None:
    index = index_under("[b]\nthroughput = 50\n")
    apply(index, "[*]\nthroughput = 60\n", then=lambda: count(index))
    assert counts(index, "b") == (20, 2, 1, 7)


def test_counts_of_a_namespace_that_came_during_the_change_are_kept() -> None:
    index = index_under("[*]\nthroughput = 50\n", ())

    def come() -> None:
        add(index, "new.m")
        throughput.charge(index.quotas, (index.own_quota(index.namespaces.find("new")),), 11)

    apply(index, "[*]\nthroughput = 60\n", then=come)
    assert counts(index, "new") == (11, 0, 0, 0)
