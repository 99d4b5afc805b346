"""The engine equals the slow model, whatever is asked of both and in whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.engines import Twin
from tests.support.traffic import batches, pools, rule_files

if TYPE_CHECKING:
    from carbonquota.controls import ThroughputUnit
    from tests.support.model import SlowRule

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
