"""What namespaces that are empty, but still waiting for a report, do to batches, reloads and forked children."""

from __future__ import annotations

import os

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock


def engine_under(text: str, *, big: int = 1) -> QuotaEngine:
    """An engine under these rules; metrics with `big` in their name hold so many points, others one."""

    def size_of(metric: str) -> Size:
        return Size(data_points=big if "big" in metric else 1)

    return QuotaEngine(RuleSet.from_text(text, source="rules"), size_of=size_of, clock=ManualClock(0.0))


def test_a_reload_between_a_delete_and_a_batch_charges_nobody_else() -> None:
    engine = engine_under("[p]\ndata-points = 500\n[p.n]\nthroughput = 1\n", big=1000)
    engine.load("p.keep")
    engine.offer("p.n.a", points=1)
    engine.offer("p.n.a", points=1)
    engine.forget("p.n.a")
    engine.apply(RuleSet.from_text("[p]\ndata-points = 500\n"))
    batch = engine.admit(b"p.n.big 1 1\np.other.x 1 1\np.n.small 1 1\n" + b"p.keep 1 1\n" * 150)
    assert (batch.points, batch.dropped) == (152, 1)
    assert (engine.usage("p.n").metrics, engine.usage("p.other").metrics) == (1, 1)
    assert engine.forget("p.n.small")
    assert engine.namespaces() == ["p", "p.other"]


@pytest.mark.parametrize("batched", [True, False])
def test_a_namespace_that_comes_back_is_one_more_for_its_parent(batched: bool) -> None:
    engine = engine_under("[p]\nnamespaces = 2\ndropping-policy = none\n[p.x]\nthroughput = 5\n")
    engine.load("p.a.m")
    engine.load("p.b.m")
    engine.offer("p.x.m")
    engine.forget("p.x.m")
    lines = [b"p.x.new 1 1\n"] + [b"p.a.n%d 1 1700000000.000\n" % number for number in range(60)]
    for batch in [b"".join(lines)] if batched else lines:
        engine.admit(batch)
    # The one that made the third namespace, every one after it, and p.x.m before.
    assert {quota.namespace: quota.throttle for quota in engine.quotas()} == {"p": 62, "p.x": 0}
    assert engine.usage("p").namespaces == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_counters_of_its_own() -> None:
    engine = engine_under("[/]\nmetrics = 100,000\n")
    for number in range(12_000):
        engine.load(f"n{number}.m")
    child = os.fork()
    if not child:
        engine.forget("n5.m")
        engine.load("n6.z")
        os._exit(0)
    os.waitpid(child, 0)
    assert (engine.usage("n5").metrics, engine.usage("n6").metrics, engine.usage().metrics) == (1, 1, 12_000)


@pytest.mark.parametrize("interval", [0.0, 0.5, -60.0, float("inf"), float("nan")])
def test_an_interval_is_a_second_or_more_and_ends(interval: float) -> None:
    with pytest.raises(ValueError, match=rf"^the interval must be at least 1 second, not {interval}$"):
        QuotaEngine(RuleSet.from_text(""), interval=interval)


def test_a_throughput_limit_is_per_interval_or_minute() -> None:
    with pytest.raises(ValueError, match=r"^throughput_unit must be interval or minute, not hour$"):
        QuotaEngine(RuleSet.from_text(""), throughput_unit="hour")  # type: ignore[arg-type]
