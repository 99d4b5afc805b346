"""The engine equals the slow model, whatever is asked of both and in whatever order."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.engines import Twin, line, size_tuple_of
from tests.support.example_counts import examples
from tests.support.model import SlowRule, recount
from tests.support.names import namespaces_of
from tests.support.traffic import batches, pools, rule_files

if TYPE_CHECKING:
    from carbonquota.controls import ThroughputUnit

SIZES = st.none() | st.tuples(
    st.integers(0, 500), st.integers(0, 9).map(lambda blocks: blocks * 4096), st.integers(0, 20)
)
POINTS = st.integers(1, 9) | st.integers(1, 300)
MOVES = (0.0, 0.01, 0.49, 0.999, 1.0, 1.02, 3.3)
"""By how many intervals the clock moves."""
INTERVALS: tuple[tuple[float, ThroughputUnit], ...] = (
    (60.0, "interval"),
    (60.0, "interval"),
    (1.0, "interval"),
    (90.5, "minute"),
    (7.0, "minute"),
)


@settings(max_examples=examples(150))
@given(rule_files, pools, st.data())
def test_the_engine_equals_the_model(rules: list[SlowRule], pool: list[str], data: st.DataObject) -> None:
    interval, unit = data.draw(st.sampled_from(INTERVALS))
    twin = Twin(rules, data.draw(st.sampled_from([0.0, 42.0, 1.7e9 + 0.25])), interval, unit)
    for _ in range(data.draw(st.integers(1, 14), label="steps")):
        _step(twin, pool, data, STEPS)
        twin.assert_same_state()
    twin.assert_settled()


def _step(twin: Twin, pool: list[str], data: st.DataObject, steps: tuple[str, ...]) -> None:
    name = data.draw(st.sampled_from(pool), label="name")
    match data.draw(st.sampled_from(steps), label="step"):
        case "offer":
            twin.offer(name, data.draw(st.integers(1, 9) | st.integers(1, 300), label="points"), data.draw(SIZES))
        case "offer_all":
            twin.offer_all(data.draw(st.lists(st.tuples(st.sampled_from(pool), POINTS), max_size=6), label="offers"))
        case "admit_names":
            offers = data.draw(st.lists(st.tuples(st.sampled_from(pool), POINTS), max_size=30), label="names")
            twin.admit_names([name for name, _ in offers], [points for _, points in offers])
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
            meanwhile = data.draw(st.integers(0, 4), label="steps meanwhile")
            rules = data.draw(rule_files, label="rules")
            twin.apply(rules, lambda: _steps(twin, pool, data, meanwhile))


def _steps(twin: Twin, pool: list[str], data: st.DataObject, number: int) -> None:
    """Some steps that are not a reload."""
    for _ in range(number):
        _step(twin, pool, data, STEPS[:-1])


STEPS = (
    "admit",
    "admit",
    "admit",
    "offer",
    "offer",
    "offer_all",
    "admit_names",
    "explain",
    "load",
    "forget",
    "clock",
    "clock",
    "report",
    "apply",
)


LEAVES = ("a.x", "a.y", "b.x", "c.x", "c")


def _passes(name: str, full: dict[str, str]) -> bool:
    """Whether no full namespace can reject a metric's point: one full of metrics takes those of its known metric."""
    leaf, _, metric = name.rpartition(".")
    return leaf not in full or (full[leaf] == "metrics" and metric == "m0")


@settings(max_examples=examples(250))
@given(
    st.dictionaries(st.sampled_from(LEAVES), st.sampled_from(["throughput", "metrics"]), max_size=3),
    st.integers(1, 300),
    st.sampled_from([1, 5, 300]),
    st.integers(0, 2**16),
    st.data(),
)
def test_limits_that_a_batch_fills_to_the_brim_equal_the_model(
    full: dict[str, str], length: int, spread: int, seed: int, data: st.DataObject
) -> None:
    # Some namespaces are full from the start; the limits of others are just what passes then, or one off.
    random, policies = Random(seed), st.sampled_from([True, True, True, False])
    names = [f"{random.choice(LEAVES)}.m{random.randrange(spread)}" for _ in range(length)]
    offered = [f"{leaf}.m0" for leaf, control in sorted(full.items()) if control == "throughput"]
    points = Counter(above for name in names if _passes(name, full) for above in namespaces_of(name))
    points.update(above for name in offered for above in namespaces_of(name))
    rules = [SlowRule(leaf, {control: 1}, enforcing=data.draw(policies)) for leaf, control in full.items()]
    for namespace in data.draw(st.sets(st.sampled_from(["/", "a", "b", *LEAVES]))) - full.keys():
        limit = max(points[namespace] + data.draw(st.sampled_from([0, 0, 0, -1, 1])), 1)
        rules.append(SlowRule(namespace, {"throughput": limit}, enforcing=data.draw(policies)))
    twin = Twin(rules)
    for name in {f"{leaf}.m0" for leaf in LEAVES} | {name for name in names if name.rpartition(".")[0] not in full}:
        twin.load(name)
    for name in offered:
        twin.offer(name, 1)
    twin.admit(b"".join(map(line, names)))
    twin.assert_same_state()
    twin.assert_settled()


@settings(max_examples=examples(100))
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
    twin.assert_settled()


@settings(max_examples=examples(60))
@given(rule_files, pools, st.data())
def test_a_crowded_index_equals_the_model(rules: list[SlowRule], pool: list[str], data: st.DataObject) -> None:
    twin = Twin(rules)
    for name in pool[::2]:
        twin.load(name)
    for _ in range(data.draw(st.integers(1, 4), label="batches")):
        twin.admit(b"".join(data.draw(batches(pool), label="batch").lines()))
        twin.forget(data.draw(st.sampled_from(pool), label="forgotten"))
    twin.assert_same_state()
    twin.assert_settled()


def test_points_that_a_limit_above_rejects_count_against_the_limit_below_them() -> None:
    rules = [SlowRule("/", {"data-points": 1}), SlowRule("*", {"throughput": 1}, enforcing=False)]
    twin = Twin(rules, 0.0)
    twin.admit_names(["a.a"], [2])
    twin.report()
