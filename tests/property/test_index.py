"""The index holds what was put in and not taken out, counts it right, and forgets without a trace."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pygtrie
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine
from carbonquota.model import Usage
from carbonquota.testing import ManualClock
from tests.support.engines import INTERVAL, STOCK_FIELDS, all_namespaces, engine_of, line, size_tuple_of
from tests.support.example_counts import examples
from tests.support.model import recount
from tests.support.names import namespaces_of, normal_form
from tests.support.traffic import batches, plain_names, pools, rule_files

if TYPE_CHECKING:
    from tests.support.model import SlowRule

CHANGES = st.sampled_from(["load", "offer", "admit", "forget", "forget"])


def _change(engine: QuotaEngine, held: set[str], change: str, name: str) -> None:
    """Do one change to the engine, and to the set of what it should hold."""
    metric = normal_form(name)
    if change == "forget":
        assert engine.forget(name) == (metric in held)
        held.discard(metric)
    elif change == "load":
        engine.load(name)
        held.add(metric)
    elif engine.offer(name).accepted if change == "offer" else engine.admit(line(name)).points:
        held.add(metric)


def _assert_usage_is_recounted(engine: QuotaEngine, held: set[str]) -> None:
    recounted = recount({metric: size_tuple_of(metric) for metric in held})
    assert all_namespaces(engine) == set(recounted) - {"/"}
    assert len(engine) == len(held)
    for namespace, capacities in recounted.items():
        usage = engine.usage(namespace)
        kept = {control: getattr(usage, name) for control, name in STOCK_FIELDS.items()}
        assert kept == {control: capacities[control] for control in STOCK_FIELDS}, namespace


@given(rule_files, pools, st.data())
def test_usage_equals_a_recount_from_scratch(rules: list[SlowRule], pool: list[str], data: st.DataObject) -> None:
    engine, held = engine_of(rules), set[str]()
    steps = st.lists(st.tuples(CHANGES, st.sampled_from(pool)), max_size=60)
    for change, name in data.draw(steps):
        _change(engine, held, change, name)
    _assert_usage_is_recounted(engine, held)
    for name in pool:
        assert (name in engine) == (normal_form(name) in held)


@given(rule_files, pools, st.data())
def test_load_offer_and_forget_in_any_order_leave_no_residue(
    rules: list[SlowRule], pool: list[str], data: st.DataObject
) -> None:
    clock = ManualClock(0.0)
    engine, held = engine_of(rules, clock), set[str]()
    for change, name in data.draw(st.lists(st.tuples(CHANGES, st.sampled_from(pool)), max_size=60)):
        _change(engine, held, change, name)
    for metric in data.draw(st.permutations(sorted(held))):
        assert engine.forget(metric)
    assert len(engine) == 0
    assert all_namespaces(engine) == set()
    clock.advance(INTERVAL)
    assert engine.usage("/") == Usage()
    engine.report()
    _assert_equal_behaviour(engine, engine_of(rules, clock), b"".join(data.draw(batches(pool)).lines()))


def _assert_equal_behaviour(used: QuotaEngine, fresh: QuotaEngine, buffer: bytes) -> None:
    assert used.report() == fresh.report()
    first, second = used.admit(buffer), fresh.admit(buffer)
    assert first.accepted == second.accepted
    assert {who: drop.points for who, drop in first.drops.items()} == {
        who: drop.points for who, drop in second.drops.items()
    }
    assert all_namespaces(used) == all_namespaces(fresh)
    assert used.report() == fresh.report()


@given(st.lists(st.tuples(st.booleans(), plain_names), max_size=80))
def test_the_index_equals_a_trie_written_by_others(changes: list[tuple[bool, str]]) -> None:
    engine, trie = engine_of([]), pygtrie.StringTrie(separator=".")
    for forgets, name in changes:
        if forgets:
            assert engine.forget(name) == (trie.pop(name, None) is not None)
        else:
            engine.load(name)
            trie[name] = True
    assert len(engine) == len(trie)
    for name in {name for _, name in changes}:
        assert (name in engine) == trie.has_key(name)
        for namespace in namespaces_of(name)[1:]:
            _assert_same_subtree(engine, trie, namespace)


def _assert_same_subtree(engine: QuotaEngine, trie: pygtrie.StringTrie, namespace: str) -> None:
    assert (namespace in all_namespaces(engine)) == bool(trie.has_subtrie(namespace))
    if not trie.has_subtrie(namespace):
        return
    below = {key for key in trie.keys(prefix=namespace) if key != namespace}
    assert engine.usage(namespace).metrics == len(below)
    direct = {".".join(key.split(".")[: namespace.count(".") + 2]) for key in below}
    assert sorted(engine.children(namespace)) == sorted(key for key in direct if trie.has_subtrie(key))


@settings(max_examples=examples(8))
@given(st.integers(0, 2**32), st.integers(1000, 6000))
def test_a_large_index_equals_a_recount_while_it_grows_shrinks_and_grows_again(seed: int, number: int) -> None:
    random, engine, held = Random(seed), engine_of([]), set[str]()
    names = [f"{random.randrange(11)}.{random.randrange(37)}.{random.randrange(10**6)}" for _ in range(number)]
    for turn in range(4):
        random.shuffle(names)
        admitted, loaded, forgotten = names[: number // 2], names[number // 2 : number * 3 // 4], names[number // 3 :]
        assert engine.admit(b"".join(map(line, admitted))).dropped == 0
        for name in loaded:
            engine.load(name)
        held.update(admitted, loaded)
        for name in forgotten if turn % 2 else forgotten[::2]:
            assert engine.forget(name) == (name in held)
            held.discard(name)
        _assert_usage_is_recounted(engine, held)
        assert all((name in engine) == (name in held) for name in names)
