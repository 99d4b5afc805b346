"""The engine's amounts: shares of a minute, the largest numbers, and sums that stop or are refused at 2^63 - 1."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carbonquota import QuotaEngine, QuotaError, RuleSet, Size, Usage
from carbonquota.model import MAXIMUM
from carbonquota.testing import ManualClock
from tests.support.small import engine_under


def test_without_a_schema_a_metric_has_172800_points() -> None:
    engine = engine_under(size_of=None)
    engine.offer("a.m")
    logical = 16 + 12 + 12 * 172_800
    assert engine.usage("a") == Usage(0, 1, logical, -(-logical // 4096) * 4096, 172_800, 0)


@pytest.mark.parametrize(
    ("limit", "interval", "share"),
    [
        (100, 10.0, 16),
        (100, 60.0, 100),
        (100, 90.0, 150),
        (100, 1.0, 1),
        (2**53 + 1, 60.0, 2**53 + 1),
        (2**53 + 3, 60.0, 2**53 + 3),
        (MAXIMUM - 1, 60.0, MAXIMUM - 1),
        (MAXIMUM - 1, 90.0, MAXIMUM),
        (MAXIMUM, 10.0, MAXIMUM),
        (MAXIMUM, 90.0, MAXIMUM),
    ],
)
def test_a_limit_per_minute_has_its_exact_share_in_each_interval(limit: int, interval: float, share: int) -> None:
    engine = engine_under(f"[a]\nthroughput = {limit}\n", interval=interval, throughput_unit="minute")
    engine.load("a.m")
    assert engine.report()["quota.throughput.a"] == share
    assert engine.explain("a.m").namespaces[1].controls[0].limit == share
    if share < MAXIMUM:
        assert not engine.offer("a.m", share + 1).accepted
    assert engine.offer("a.m", share).accepted
    assert not engine.offer("a.m").accepted


@pytest.mark.parametrize("interval", [1.1, 1.3, 90.1])
def test_a_limit_holds_at_the_very_start_of_intervals_of_any_length(interval: float) -> None:
    clock = ManualClock(0.0)
    engine = engine_under("[a]\nthroughput = 10\n", clock=clock, interval=interval)
    for number in range(1, 400):
        clock.set(number * interval)
        engine.report()
        assert sum(engine.offer("a.m").accepted for _ in range(25)) <= 10


@pytest.mark.parametrize("limit", ["max", str(MAXIMUM)])
def test_points_up_to_the_maximum_are_counted_and_no_further(limit: str) -> None:
    engine = engine_under(f"[a]\nthroughput = {limit}\ndropping-policy = none\n")
    assert all(engine.offer("a.m", 2**62).accepted for _ in range(5))
    assert engine.admit(b"a.m 1 1\n" * 500).points == 500
    assert engine.usage("a").throughput == MAXIMUM
    assert engine.report() == {
        "quota.throughput.a": MAXIMUM,
        "usage.throughput.a": MAXIMUM,
        "throttle.a": MAXIMUM,
        "dropped.a": 0,
    }


def test_dropped_points_are_counted_up_to_the_maximum_over_all_controls() -> None:
    engine = engine_under("[a]\nthroughput = 5\nmetrics = 1\n")
    engine.offer("a.m", 5)
    for _ in range(3):
        engine.offer("a.m", MAXIMUM)
    engine.apply(RuleSet.from_text("[a]\nthroughput = max\nmetrics = 1\n"))
    for _ in range(3):
        engine.offer("a.n", 2**62)
    report = engine.report()
    assert (report["throttle.a"], report["dropped.a"]) == (MAXIMUM, MAXIMUM)


TOO_MUCH: dict[str, Callable[[QuotaEngine, Size], object]] = {
    "load": lambda engine, size: engine.load("a.b.n", size),
    "load again": lambda engine, size: engine.load("small", size),
    "offer": lambda engine, size: engine.offer("a.b.n", 5, size),
    "offer by size_of": lambda engine, _: engine.offer("a.b.n", 5),
    "admit": lambda engine, _: engine.admit(b"a.b.n 1 1\n"),
    "admit many": lambda engine, _: engine.admit(b"a.b.n 1 1\n" * 300),
}


@pytest.mark.parametrize("control", ["logical", "physical", "data_points"])
@pytest.mark.parametrize("held", [MAXIMUM, MAXIMUM - 5])
@pytest.mark.parametrize("call", TOO_MUCH)
def test_sizes_that_would_sum_past_the_maximum_are_refused_and_charge_nothing(
    call: str, held: int, control: str
) -> None:
    more = Size(**{control: 6})
    engine = engine_under("[a]\nthroughput = 1000\nlogical-size = max\n", size_of=lambda _metric: more)
    engine.load("a.m", Size(**{control: held}))
    engine.load("small", Size())
    before = (len(engine), engine.usage(), engine.namespaces(), engine.quotas())
    with pytest.raises(
        QuotaError, match=r"^the sizes of all metrics would pass 2\^63 - 1 with '(a\.b\.n|small)' of Size\("
    ):
        TOO_MUCH[call](engine, more)
    assert (len(engine), engine.usage(), engine.namespaces(), engine.quotas()) == before
    engine.forget("a.m")
    assert engine.offer("a.b.n").accepted
    assert (len(engine), engine.usage("a").metrics) == (2, 1)


def test_a_long_batch_of_huge_new_metrics_is_refused_in_the_same_words() -> None:
    engine = engine_under(size_of=lambda _metric: Size(logical=2**62))
    with pytest.raises(QuotaError, match="sizes of all metrics would pass 2\\^63 - 1"):
        engine.admit(b"".join(b"a.m%d 1 1\n" % number for number in range(300)))
    assert len(engine) == engine.usage().metrics <= 1


@pytest.mark.parametrize("points", [1.0, 1.5, "1", None])
def test_points_are_whole_numbers_and_nothing_is_left_of_others(points: object) -> None:
    engine = engine_under("[a]\nthroughput = 5\n")
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        engine.offer("a.m", points=points)  # type: ignore[arg-type]
    assert (len(engine), engine.usage("a").throughput) == (0, 0)
