"""Namespaces created at once are as those created one after the other, down to their names in stats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import RuleSet, Size
from carbonquota.controls import compiled_rules
from carbonquota.model import ROOT
from carbonquota.trie import NO_QUOTA, ROOT_ROW, Index
from carbonquota.trie import index as index_module

LONG = "l" * 240
components = st.sampled_from(["a", "b", "a-b", "b-a", "root", "x1", "x2", LONG])
names = st.lists(components, min_size=1, max_size=4).map(".".join)
paths = st.lists(names | st.just(ROOT), max_size=12)

limits = st.sampled_from(["", "throughput = 7\n", "metrics = 3\ndropping-policy = none\n"])
prefixes = st.sampled_from(["", "", "stat-metric-prefix = a-\n", "stat-metric-prefix = level.\n"])
patterns = st.sampled_from(
    [
        "/",
        "*",
        "*.*",
        "*.*.*",
        "*.*.*.*",
        "a",
        "a.*",
        "*.b",
        "x?.*",
        "*.{a,b}",
        "*.a*",
        "a.*.x1",
        "x?",
        "?-*",
        "*1",
        "r*t",
    ]
)
sections = st.tuples(patterns, limits, prefixes).map(lambda parts: f"[{parts[0]}]\n{parts[1]}{parts[2]}")
rule_texts = st.lists(sections, max_size=8).map("".join)


def index_under(text: str) -> Index:
    """An empty index under the rules of a file's text."""
    rules = RuleSet.from_text(text)
    return Index(rules.matcher(), compiled_rules(rules.rules, 60.0, "interval"))


def create(index: Index, name: str) -> int:
    """A namespace's row, created alone."""
    return ROOT_ROW if name == ROOT else index.create(*index.locate(f"{name}.m"))


def state_of(index: Index) -> dict[str, tuple[object, ...]]:
    """Everything about each namespace, by name, the first born first."""
    namespaces, quotas = index.namespaces, index.quotas
    found = {}
    for row in namespaces.in_use()[np.argsort(namespaces.generations(namespaces.in_use()))].tolist():
        name, quota, own = namespaces.name(row), namespaces.quota_at[row], index.own_quota(row)
        chains = [[quotas.name(one) for one in chain] for chain in (index.chain(row), quotas.rate_chain(quota))]
        terms = (quotas.rule_at[own], quotas.limit_at[own], quotas.remaining_at[own])
        stat_name = None if own == NO_QUOTA else quotas.stat_names(np.array([own]))[0]
        children = [namespaces.name(child) for child in namespaces.children(row)]
        lineage = [namespaces.name(above) for above in namespaces.lineage(row)]
        found[name] = (namespaces.find(name) == row, *chains, terms, stat_name, children, lineage)
    return found


def assert_same(one: Index, other: Index) -> None:
    """Both hold the same, in the same order."""
    assert state_of(one) == state_of(other)
    assert list(state_of(one)) == list(state_of(other))


@given(rule_texts, st.lists(st.tuples(st.booleans(), paths), max_size=4), st.data())
def test_at_once_is_as_one_after_the_other(
    text: str, batches: list[tuple[bool, list[str]]], data: st.DataObject
) -> None:
    at_once, singly = index_under(text), index_under(text)
    for turn, (many, wanted) in enumerate(batches):
        rows = [create(singly, name) for name in wanted]
        if many:
            assert [at_once.namespaces.name(row) for row in at_once.create_many(wanted).tolist()] == wanted
        else:
            assert [create(at_once, name) for name in wanted] == rows
        assert_same(at_once, singly)
        if wanted:
            gone = data.draw(st.sampled_from(wanted), label=f"gone {turn}")
            for index in (at_once, singly):
                index.prune(index.namespaces.find(gone))
            assert_same(at_once, singly)


ALIKE = [ROOT, "root", "a.b.c", "a-b.c", "a.b-c", "a-b-c", "a-b-c-4b695ab2", "a.b.c-4b695ab2", "b.c", f"{LONG}.{LONG}"]
EVERYTHING = "[/]\n[*]\n[*.*]\n[*.*.*]\n[b.*]\nstat-metric-prefix = a-\n"


@given(st.lists(st.sampled_from(ALIKE), max_size=3), st.lists(st.sampled_from(ALIKE), min_size=2, max_size=8))
def test_of_names_that_come_out_the_same_the_same_ones_have_suffixes(early: list[str], late: list[str]) -> None:
    at_once, singly = index_under(EVERYTHING), index_under(EVERYTHING)
    for name in early:
        create(at_once, name)
    at_once.create_many(late)
    for name in (*early, *late):
        create(singly, name)
    assert_same(at_once, singly)
    names = at_once.quotas.stat_names(at_once.quotas.in_use())
    assert len(set(names)) == len(names)


@given(rule_texts, paths)
def test_the_same_in_many_stretches(text: str, wanted: list[str]) -> None:
    at_once, singly = index_under(text), index_under(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "_STRETCH", 2)
        rows = at_once.create_many(wanted)
    assert [at_once.namespaces.name(row) for row in rows.tolist()] == wanted
    for name in wanted:
        create(singly, name)
    assert_same(at_once, singly)


@given(rule_texts, paths, paths)
def test_both_are_counted_alike(text: str, early: list[str], late: list[str]) -> None:
    at_once, singly = index_under(text), index_under(text)
    for index in (at_once, singly):
        for number, name in enumerate(early):
            metric = f"m{number}" if name == ROOT else f"{name}.m{number}"
            index.add(metric.encode(), create(index, name), Size(logical=number))
    at_once.create_many(late)
    for name in late:
        create(singly, name)
    assert_same(at_once, singly)
    for stock in ("namespaces", "metrics", "logical_size"):
        counts = [getattr(index.namespaces, stock)[index.namespaces.in_use()].sum() for index in (at_once, singly)]
        assert counts[0] == counts[1]
