"""The engine equals the slow model, whatever is asked of both and in whatever order."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.engines import Twin, line, size_tuple_of
from tests.support.model import SlowRule, recount
from tests.support.traffic import batches, pools, rule_files

if TYPE_CHECKING:
    from carbonquota.controls import ThroughputUnit

SIZES = st.none() | st.tuples(
    st.integers(0, 500), st.integers(0, 9).map(lambda blocks: blocks * 4096), st.integers(0, 20)
)
MOVES = (0.0, 0.01, 0.49, 0.999, 1.0, 1.02, 3.3)
"""By how many intervals the clock moves."""
INTERVALS: tuple[tuple[float, ThroughputUnit], ...] = (
    (60.0, "interval"),
    (60.0, "interval"),
    (1.0, "interval"),
    (90.5, "minute"),
    (7.0, "minute"),
)


@settings(max_examples=150)
@given(rule_files, pools, st.data())
def test_the_engine_equals_the_model(rules: list[SlowRule], pool: list[str], data: st.DataObject) -> None:
    interval, unit = data.draw(st.sampled_from(INTERVALS))
    twin = Twin(rules, data.draw(st.sampled_from([0.0, 42.0, 1.7e9 + 0.25])), interval, unit)
    for _ in range(data.draw(st.integers(1, 14), label="steps")):
        _step(twin, pool, data)
        twin.assert_same_state()
    _close(twin)


def _step(twin: Twin, pool: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(pool), label="name")
    match data.draw(st.sampled_from(STEPS), label="step"):
        case "offer":
            twin.offer(name, data.draw(st.integers(1, 9) | st.integers(1, 300), label="points"), data.draw(SIZES))
        case "explain":
            twin.explain(name)
        case "load":
            twin.load(name, data.draw(SIZES))
        case "forget":
            twin.forget(name)
        case step:
            _common_step(twin, step, pool, data)


def _common_step(twin: Twin, step: str, pool: list[str], data: st.DataObject) -> None:
    """A step that is about no single metric."""
    match step:
        case "admit":
            twin.admit(b"".join(data.draw(batches(pool), label="batch").lines()))
        case "clock":
            twin.clock.advance(data.draw(st.sampled_from(MOVES), label="intervals") * twin.interval)
        case "report":
            twin.report()
        case _:
            twin.apply(data.draw(rule_files, label="rules"))


STEPS = ("admit", "admit", "admit", "offer", "offer", "explain", "load", "forget", "clock", "clock", "report", "apply")


def _close(twin: Twin) -> None:
    twin.report()
    twin.report()
    twin.clock.advance(twin.interval)
    twin.report()


LEAVES = ("a.x", "a.y", "b.x", "c.x", "c")


def _brimful(namespace: str, points: Counter[str], full: set[str]) -> int:
    """What a namespace needs for all points that no full namespace below it rejects, and for those offered before."""
    below = [leaf for leaf in LEAVES if namespace in {"/", leaf, leaf.partition(".")[0]}]
    return sum(1 if leaf in full else points[leaf] for leaf in below)


@settings(max_examples=200)
@given(st.sets(st.sampled_from(LEAVES)), st.integers(30, 200), st.integers(0, 2**16), st.data())
def test_limits_that_a_batch_fills_to_the_brim_equal_the_model(
    full: set[str], length: int, seed: int, data: st.DataObject
) -> None:
    leaves = Random(seed).choices(LEAVES, k=length)
    rules = [SlowRule(leaf, {"throughput": 1}, enforcing=data.draw(st.integers(0, 3)) > 0) for leaf in sorted(full)]
    for namespace in data.draw(st.sets(st.sampled_from(["/", "a", "b", *LEAVES])).map(lambda chosen: chosen - full)):
        limit = _brimful(namespace, Counter(leaves), full) + data.draw(st.sampled_from([0, 0, 0, -1, 1]))
        rules.append(SlowRule(namespace, {"throughput": max(limit, 1)}, enforcing=data.draw(st.integers(0, 3)) > 0))
    twin = Twin(rules)
    for leaf in LEAVES:
        twin.load(f"{leaf}.m")
    for leaf in sorted(full):
        twin.offer(f"{leaf}.m", 1)
    twin.admit(b"".join(line(f"{leaf}.m") for leaf in leaves))
    twin.assert_same_state()
    _close(twin)


@settings(max_examples=100)
@given(st.integers(1, 400), st.sampled_from([2, 30, 300]), st.integers(0, 2**16), st.data())
def test_limits_that_new_metrics_fill_to_the_brim_equal_the_model(
    length: int, spread: int, seed: int, data: st.DataObject
) -> None:
    random, rules = Random(seed), []
    names = [f"{random.choice(LEAVES)}.m{random.randrange(spread)}" for _ in range(length)]
    needed = recount({name: size_tuple_of(name) for name in {*names, *(f"{leaf}.m0" for leaf in LEAVES)}})
    for namespace in data.draw(st.sets(st.sampled_from(["/", "a", "b", *LEAVES]))):
        control = data.draw(st.sampled_from(["metrics", "logical-size", "data-points", "namespaces", "throughput"]))
        most = needed[namespace][control] if control != "throughput" else length
        limit = max(most + data.draw(st.sampled_from([0, 0, -1, 1])), 1)
        rules.append(SlowRule(namespace, {control: limit}, enforcing=data.draw(st.integers(0, 3)) > 0))
    twin = Twin(rules)
    for leaf in data.draw(st.sets(st.sampled_from(LEAVES)), label="known"):
        twin.load(f"{leaf}.m0")
    twin.admit(b"".join(map(line, names)))
    twin.assert_same_state()
    twin.admit(b"".join(map(line, names)))
    _close(twin)


@settings(max_examples=60)
@given(rule_files, pools, st.data())
def test_a_crowded_index_equals_the_model(rules: list[SlowRule], pool: list[str], data: st.DataObject) -> None:
    twin = Twin(rules)
    for name in pool[::2]:
        twin.load(name)
    for _ in range(data.draw(st.integers(1, 4), label="batches")):
        twin.admit(b"".join(data.draw(batches(pool), label="batch").lines()))
        twin.forget(data.draw(st.sampled_from(pool), label="forgotten"))
    twin.assert_same_state()
    _close(twin)
