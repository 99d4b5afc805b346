"""Metrics that are not seen any more, and the bound on new ones a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from carbonquota import Change, Holdings, QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock


def engine_under(text: str = "", clock: ManualClock | None = None, **options: int | bool | None) -> QuotaEngine:
    """An engine whose metrics are of size nothing."""
    return QuotaEngine(
        RuleSet.from_text(text),
        size_of=lambda _metric: Size(),
        clock=clock or ManualClock(0.0),
        record_changes=True,
        **options,  # type: ignore[arg-type]
    )


def lines(*names: str) -> bytes:
    return b"".join(name.encode() + b" 1 1\n" for name in names)


SIGHTS = {
    "offer": lambda engine: engine.offer("a.m"),
    "a spelled offer": lambda engine: engine.offer("a..m"),
    "a few lines": lambda engine: engine.admit(lines("a.m")),
    "many lines": lambda engine: engine.admit(lines(*["a.m"] * 200)),
    "a batch with drops": lambda engine: engine.admit(lines(*["a.m"] * 200, *["tight.m"] * 9)),
    "load": lambda engine: engine.load("a.m"),
}


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_a_metric_is_seen_when_a_point_is_accepted_or_it_is_loaded(sight: str, known: bool) -> None:
    clock = ManualClock(100.0)
    engine = engine_under("[tight]\nthroughput = 1\n", clock, keep_seen=True)
    if known:
        engine.load("a.m")
    clock.set(150.9)
    SIGHTS[sight](engine)
    assert engine.expire(150.999) == []
    assert "a.m" in engine.expire(151.0)
    assert "a.m" not in engine
    assert engine.usage("a").metrics == 0


@pytest.mark.parametrize("padding", [0, 200])
def test_a_dropped_point_is_no_sight_of_a_metric(padding: int) -> None:
    clock = ManualClock(100.0)
    engine = engine_under("[a]\nthroughput = 1\n", clock, keep_seen=True)
    engine.load("free")
    engine.offer("a.m")
    clock.set(110.0)
    assert engine.admit(lines("a.m", *["free"] * padding)).dropped == 1
    assert not engine.offer("a.m")
    assert engine.expire(101.0) == (["a.m"] if padding else ["free", "a.m"])


def test_expiry_takes_so_many_at_a_time_and_is_recorded() -> None:
    engine = engine_under(keep_seen=True)
    long = "long." + "x" * 700
    for name in ("a.m", "b.é", long, "c.m"):
        engine.load(name)
    engine.take_changes()
    expired = engine.expire(5.0, most=3) + engine.expire(5.0, most=3)
    assert expired == ["a.m", "b.é", long, "c.m"]
    assert engine.take_changes() == [Change(name.encode(), None) for name in expired]
    assert engine.expire(5.0) == []


def test_thousands_expire_in_one_call_and_their_rows_serve_others() -> None:
    clock = ManualClock(0.0)
    engine = engine_under(clock=clock, keep_seen=True)
    names = [f"a{number % 7}.m{number}" for number in range(3000)]
    engine.admit(lines(*names))
    clock.set(50.0)
    engine.admit(lines(*names[::3]))
    assert sorted(engine.expire(50.0)) == sorted(set(names) - set(names[::3]))
    engine.admit(lines(*(f"new.m{number}" for number in range(3000))))
    assert engine.expire(50.0) == []
    assert len(engine) == 4000


def test_without_being_kept_nothing_ever_expires() -> None:
    engine = engine_under()
    engine.load("a.m")
    assert engine.expire(1e12) == []
    assert engine.dump()[0].seen.tolist() == [0]


def test_a_restored_metric_was_seen_when_its_holdings_say_and_now_if_they_do_not() -> None:
    engine = engine_under(clock=ManualClock(100.0), keep_seen=True)
    seen = np.array([40, 0, 2**32 - 1], np.uint32)
    engine.restore(Holdings([b"old", b"unknown", b"late"], [Size()], np.zeros(3, np.int32), seen))
    assert engine.expire(41.0) == ["old"]
    assert engine.expire(100.0) == []
    assert engine.expire(101.0) == ["unknown"]
    assert engine.expire(2.0**33) == ["late"]


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_on_new_metrics_is_at_least_one(bound: int) -> None:
    with pytest.raises(ValueError, match=f"^max_creates_per_second must be at least 1, or None, not {bound}$"):
        engine_under(max_creates_per_second=bound)


def test_past_the_bound_new_metrics_are_rejected_by_no_rule_and_counted_by_none() -> None:
    clock = ManualClock(10.5)
    engine = engine_under("[/]\nmetrics = 9\nthroughput = 9\n", clock, max_creates_per_second=2)
    engine.load("loaded.1")
    engine.load("loaded.2")
    engine.load("loaded.3")
    assert [engine.offer(name).accepted for name in ("a", "b", "c", "a", "loaded.1")] == [True, True, False, True, True]
    verdict = engine.offer("c", points=2**62)
    assert (verdict.accepted, verdict.namespace, verdict.control, verdict.rule) == (False, "/", "creates", None)
    clock.set(11.0)
    assert engine.offer("c").accepted
    clock.set(70.0)
    report = engine.report()
    assert (report["throttle.root"], report["dropped.root"], report["usage.throughput.root"]) == (0, 0, 5)


def test_a_metric_that_a_rule_rejects_uses_nothing_of_the_bound() -> None:
    engine = engine_under("[a]\nmetrics = 1\n", max_creates_per_second=2)
    assert [engine.offer(f"a.{number}").control for number in range(4)] == [None, *["metrics"] * 3]
    assert [engine.offer(f"b.{number}").control for number in range(2)] == [None, "creates"]
    assert engine.offer("a.5").control == "creates"


@pytest.mark.parametrize("padding", [0, 300])
def test_a_batch_brings_as_many_new_metrics_as_are_left_and_drops_the_rest(padding: int) -> None:
    clock = ManualClock(0.0)
    engine = engine_under(clock=clock, max_creates_per_second=3)
    engine.load("known")
    names = [f"a.m{number}" for number in range(5)]
    batch = lines(*["known"] * padding, *names)
    result = engine.admit(batch)
    assert result.accepted == lines(*["known"] * padding, *names[:3])
    assert result.dropped_by_control == {"creates": 2}
    drop = result.drops["/", "creates"]
    assert (drop.points, drop.rule, drop.samples) == (2, None, ("a.m3", "a.m4"))
    again = engine.admit(lines(*["known"] * padding) + b"bad\n\na.m3 1 1\na.m0 1 1\na..m0 1 1\na..m4 1 1\n")
    assert again.accepted == lines(*["known"] * padding) + b"\na.m0 1 1\na..m0 1 1\n"
    assert (again.points, again.dropped, again.malformed) == (padding + 2, 2, 1)
    assert again.drops["/", "creates"].samples == ("a.m3", "a.m4")
    clock.advance(1.0)
    assert engine.admit(batch).accepted is batch


def test_what_a_batch_takes_in_at_once_counts_too() -> None:
    engine = engine_under(max_creates_per_second=50)
    engine.load("a.known")
    assert engine.admit(lines(*(f"a.{number}" for number in range(200, 230)), *["a.known"] * 200)).dropped == 0
    assert engine.admit(lines(*(f"a.{number}" for number in range(300, 330)), *["a.known"] * 200)).dropped == 10


def test_a_flood_is_rejected_before_sizes_are_asked() -> None:
    asked: list[str] = []

    def size_of(metric: str) -> Size:
        asked.append(metric)
        return Size()

    engine = QuotaEngine(RuleSet.from_text(""), size_of=size_of, clock=ManualClock(0.0), max_creates_per_second=1)
    engine.offer("first")
    assert engine.admit(lines(*(f"flood.{number}" for number in range(500)))).dropped == 500
    assert engine.admit(lines("flood.x")).dropped == 1
    assert asked == ["first"]


@pytest.mark.parametrize(
    ("now", "control"), [(5.1, "creates"), (4.9, "creates"), (4.0, "creates"), (3.9, None), (6.0, None)]
)
def test_a_clock_that_steps_back_a_little_gives_no_second_twice(now: float, control: str | None) -> None:
    clock = ManualClock(5.0)
    engine = engine_under(clock=clock, max_creates_per_second=1)
    engine.offer("a")
    clock.set(now)
    assert engine.offer("b").control == control


def test_threads_never_create_one_more_than_the_bound() -> None:
    engine = engine_under("[*]\nmetrics = 400\n", max_creates_per_second=250)

    def work(thread: int) -> int:
        created = 0
        for turn in range(20):
            names = [f"t{(thread + turn) % 3}.{thread}.{turn}.{number}" for number in range(40)]
            created += engine.admit(lines(*names)).points
            created += engine.offer(f"o.{thread}.{turn}").accepted
        return created

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 250
    assert len(engine) == 250
