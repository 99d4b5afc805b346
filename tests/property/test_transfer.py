"""What an engine holds can be kept elsewhere and put back: nothing is lost, doubled or mixed up on the way."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import Change, Holdings, QuotaEngine, Size
from carbonquota.testing import ManualClock
from carbonquota.trie import absent as absent_module
from tests.support.engines import INTERVAL, all_namespaces, dropped_by, engine_of, line, rule_set, size_of
from tests.support.model import SlowRule
from tests.support.names import normal_form
from tests.support.traffic import batches, pools, rule_files

CALLS = st.sampled_from(["load", "resize", "offer", "admit", "batch", "forget", "take", "restore"])
Held = dict[bytes, tuple[int, int, int]]


def recording(rules: list[SlowRule], clock: ManualClock | None = None) -> QuotaEngine:
    """An engine that records all there is to record."""
    return QuotaEngine(
        rule_set(rules),
        size_of=size_of,
        clock=clock or ManualClock(0.0),
        interval=INTERVAL,
        record_changes=True,
        keep_seen=True,
    )


def as_tuple(size: Size) -> tuple[int, int, int]:
    return size.logical, size.physical, size.data_points


def held(holdings: Holdings) -> Held:
    """The holdings as one size a name."""
    sizes = [holdings.sizes[number] for number in holdings.size_numbers.tolist()]
    return {name: as_tuple(size) for name, size in zip(holdings.names, sizes, strict=True)}


def replay(state: Held, changes: list[Change]) -> None:
    """Do the changes to what was held before them."""
    for change in changes:
        if change.size is None:
            del state[change.name]
        else:
            state[change.name] = as_tuple(change.size)


def change(engine: QuotaEngine, call: str, name: str, pool: list[str]) -> None:
    """One call that may change what is held."""
    if call == "load":
        engine.load(name)
    elif call == "resize":
        engine.load(name, Size(logical=len(name), data_points=3))
    elif call == "offer":
        engine.offer(name)
    elif call == "admit":
        engine.admit(line(name))
    elif call == "batch":
        engine.admit(b"".join(line(f"{name}{number}") for name in pool for number in range(60)))
    elif call == "forget":
        engine.forget(name)


def restored(number: int) -> Holdings:
    """One series that nothing else is called."""
    name = b"restored.%d" % number
    return Holdings([name], [Size(7, 7, 7)], np.zeros(1, np.int32), np.zeros(1, np.uint32))


@given(rule_files, pools, st.data())
def test_what_was_held_and_the_changes_since_make_up_what_is_held(
    rules: list[SlowRule], pool: list[str], data: st.DataObject
) -> None:
    engine, state = recording(rules), Held()
    steps = data.draw(st.lists(st.tuples(CALLS, st.sampled_from(pool)), max_size=40))
    for number, (call, name) in enumerate(steps):
        if call == "take":
            replay(state, engine.take_changes())
        elif call == "restore":
            engine.restore(restored(number))
            state[b"restored.%d" % number] = (7, 7, 7)
        else:
            change(engine, call, name, pool)
    holdings, changes = engine.dump()
    replay(state, changes)
    assert state == held(holdings)
    assert len(engine) == len(state)
    assert engine.take_changes() == []


@given(rule_files, pools, st.data())
def test_an_engine_with_the_holdings_of_another_goes_on_as_that_one(
    rules: list[SlowRule], pool: list[str], data: st.DataObject
) -> None:
    clock = ManualClock(30.0)
    first, second = recording(rules, clock), recording(rules, clock)
    for call, name in data.draw(st.lists(st.tuples(CALLS, st.sampled_from(pool)), max_size=40)):
        change(first, call, name, pool)
    first.admit(b"".join(data.draw(batches(pool)).lines()))
    holdings, _ = first.dump()
    second.restore(holdings)
    assert second.take_changes() == []
    assert held(second.dump()[0]) == held(holdings)
    _assert_same_usage(first, second)
    for batch in data.draw(st.lists(batches(pool), max_size=2)):
        buffer = b"".join(batch.lines())
        one, other = first.admit(buffer), second.admit(buffer)
        assert (one.accepted, dropped_by(one)) == (other.accepted, dropped_by(other))
    _assert_same_usage(first, second)
    for name in sorted(set(map(normal_form, pool))):
        assert first.forget(name) == second.forget(name)
    _assert_same_usage(first, second)


def _assert_same_usage(first: QuotaEngine, second: QuotaEngine) -> None:
    assert len(first) == len(second)
    assert all_namespaces(first) == all_namespaces(second)
    assert first.namespace_count() == second.namespace_count() == len(first.namespaces())
    for namespace in {"/", *all_namespaces(first)}:
        assert first.usage(namespace) == second.usage(namespace)
        assert first.children(namespace) == second.children(namespace)


@given(pools, st.integers(0, 2**16), st.lists(st.integers(0, 30), max_size=20))
def test_a_metric_expires_when_its_last_accepted_point_is_old_and_not_before(
    pool: list[str], seed: int, waits: list[int]
) -> None:
    clock, random, last = ManualClock(1000.0), Random(seed), dict[str, int]()
    engine = recording([SlowRule("*", {"throughput": 40, "metrics": 30})], clock)
    for wait in waits:
        clock.advance(wait + random.choice((0.0, 0.4)))
        names = random.choices(pool, k=random.choice((1, 3, 200)))
        result = engine.admit(b"".join(map(line, names)))
        accepted = [normal_form(text.split()[0]) for text in result.accepted.splitlines()]
        last |= dict.fromkeys(accepted, int(clock.now()))
        before, most = clock.now() - random.randrange(40), random.choice((2, 1000))
        old = {name for name, seen in last.items() if seen < int(before)}
        expired = engine.expire(before, most)
        assert len(expired) == len(set(expired)) == min(most, len(old))
        assert set(expired) <= old
        for name in expired:
            del last[name]
    assert {name.decode() for name in engine.dump()[0].names} == set(last)


@given(rule_files, st.data())
def test_answers_and_usage_are_the_same_where_few_absent_namespaces_are_counted_by_name(
    rules: list[SlowRule], data: st.DataObject
) -> None:
    pool = data.draw(pools)
    clock = ManualClock(0.0)
    roomy = engine_of(rules, clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(absent_module, "MOST_ABSENT", 1)
        tight = engine_of(rules, clock)
        for batch in data.draw(st.lists(batches(pool), max_size=4)):
            buffer = b"".join(batch.lines())
            one = roomy.admit(buffer)
            other = tight.admit(buffer)
            assert (one.accepted, dropped_by(one)) == (other.accepted, dropped_by(other))
            for name in batch.pool[: batch.seed % 3]:
                assert roomy.forget(name) == tight.forget(name)
            _assert_same_usage(roomy, tight)
        clock.advance(INTERVAL)
        full, cut_short = roomy.report(), tight.report()
    assert cut_short.keys() <= full.keys()
    for name, value in full.items():
        if name.startswith(("throttle.", "dropped.")):
            assert cut_short.get(name, 0) <= value
        elif not name.startswith("quota."):
            assert cut_short.get(name, 0) == value
