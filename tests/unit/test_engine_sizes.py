"""When the size of a new metric is asked for: only where it decides, or where the metric is accepted."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, QuotaError, RuleSet, Size
from carbonquota.model import MAXIMUM
from carbonquota.rules import Schemas
from carbonquota.testing import ManualClock

Asked = list[str]

FULL_WITHOUT_SIZES = {
    "throughput of the root": "[/]\nthroughput = 1\nlogical-size = 1000\n",
    "throughput below a limit of sizes": "[/]\nlogical-size = 1000\n[team]\nthroughput = 1\n",
    "metrics, before sizes of the same namespace": "[team]\nmetrics = 1\nlogical-size = 1000\ndata-points = 1000\n",
    "metrics above a limit of sizes": "[/]\nmetrics = 1\n[team]\nlogical-size = 1000\n",
    "namespaces": "[team]\nnamespaces = 1\n[*.*]\nlogical-size = 1000\n",
    "metrics below sizes without a limit": "[/]\nlogical-size = max\n[team]\nmetrics = 1\n",
    "metrics below a rule that only counts": (
        "[/]\nmetrics = 1\nlogical-size = 1\ndropping-policy = none\n[team]\nmetrics = 1\n"
    ),
    "metrics below sizes that are over and only counted": (
        "[/]\nphysical-size = 1\ndropping-policy = none\n[team]\nmetrics = 1\n"
    ),
}
"""Rules under which one metric, `team.app.load`, leaves nothing to any other."""

WITH_SIZES = {
    "sizes above a full namespace": "[/]\nlogical-size = 1000\n[team]\nmetrics = 1\n",
    "sizes of the same namespace before its namespaces": "[team]\ndata-points = 1000\nnamespaces = 1\n",
    "sizes above that are only counted": "[/]\nphysical-size = 1000\ndropping-policy = none\n[team]\nmetrics = 1\n",
}

NEW = ["team.app.free", "team.host1.load", "team.host2.load;dc=a", "team..host3.load", "team.app2.x.y.z"]


def engine_under(text: str, *, creates: int | None = None) -> tuple[QuotaEngine, Asked]:
    """An engine that holds one metric, and the names whose sizes it has asked for since."""
    asked: Asked = []

    def size_of(metric: str) -> Size:
        asked.append(metric)
        return Size(10, 10, 10)

    engine = QuotaEngine(
        RuleSet.from_text(text), size_of=size_of, clock=ManualClock(0.0), max_creates_per_second=creates
    )
    assert engine.offer("team.app.load")
    assert asked == ["team.app.load"]
    asked.clear()
    return engine, asked


def batch_of(names: list[str]) -> bytes:
    return "".join(f"{name} 1 1700000000\n" for name in names).encode()


@pytest.mark.parametrize("rules", FULL_WITHOUT_SIZES)
def test_what_rejects_without_a_size_asks_for_none(rules: str) -> None:
    names = [*NEW, *(f"team.new{number}.load" for number in range(30))]
    engine, asked = engine_under(FULL_WITHOUT_SIZES[rules])
    names = names if rules != "namespaces" else [name for name in names if not name.startswith("team.app.")]
    verdicts = [engine.offer(name) for name in names]
    assert not any(verdicts)
    batch, asked_by_batch = engine_under(FULL_WITHOUT_SIZES[rules])
    assert batch.admit(batch_of(names)).dropped == len(names)
    assert asked == asked_by_batch == []
    assert batch.report() == engine.report()


@pytest.mark.parametrize("rules", WITH_SIZES)
def test_a_limit_of_sizes_that_is_asked_first_takes_the_size(rules: str) -> None:
    engine, asked = engine_under(WITH_SIZES[rules])
    for name in ("team.new.load", "team.new.free"):
        assert not engine.offer(name)
    assert engine.admit(batch_of(["team.new.load", "team.new.free"])).dropped == 2
    # Those who ask again ask in the same order.
    assert asked in (["team.new.load", "team.new.free"], ["team.new.load", "team.new.free"] * 2)


def test_what_was_rejected_by_its_size_is_taken_in_with_the_size_that_it_has_then() -> None:
    sizes = {"team.a": 10, "team.b": 10}
    engine = QuotaEngine(
        RuleSet.from_text("[team]\nlogical-size = 15\n"),
        size_of=lambda metric: Size(sizes[metric]),
        clock=ManualClock(0.0),
    )
    assert engine.admit(batch_of(["team.a", "team.b"] * 3)).dropped == 3
    assert engine.forget("team.a")
    sizes["team.b"] = 12
    assert engine.admit(batch_of(["team.b"])).points == 1
    assert engine.usage("team").logical_size == 12


def test_what_was_rejected_by_its_size_is_asked_for_again_once_there_are_other_sizes() -> None:
    rules = RuleSet.from_text("[team]\nlogical-size = 15\n")
    engine = QuotaEngine(rules, size_of=lambda _metric: Size(10), clock=ManualClock(0.0))
    assert engine.admit(batch_of(["team.a", "team.b", "team.b"])).dropped == 2
    engine.apply(rules, size_of=lambda _metric: Size(5))
    assert engine.admit(batch_of(["team.b"])).points == 1


def test_ever_new_sizes_that_are_rejected_are_the_right_ones() -> None:
    rules = RuleSet.from_text("[team]\nlogical-size = 1000\n")
    engine = QuotaEngine(rules, size_of=lambda metric: Size(int(metric[6:])), clock=ManualClock(0.0))
    names = [f"team.m{size}" for size in range(1001, 7001)]
    for _ in range(3):
        for start in range(0, len(names), 1000):
            assert engine.admit(batch_of(names[start : start + 1000])).dropped == 1000
    assert engine.admit(batch_of(["team.m7", "team.m993", "team.m1"])).dropped == 1


def test_the_bound_on_new_metrics_asks_for_no_size() -> None:
    engine, asked = engine_under("[/]\nlogical-size = 1\ndropping-policy = none\n", creates=1)
    assert engine.offer("team.a").control == "creates"
    assert engine.admit(batch_of(NEW)).dropped == len(NEW)
    assert asked == []


def test_a_batch_asks_for_the_sizes_of_those_that_come_in() -> None:
    engine, asked = engine_under("[team]\nmetrics = 8\n")
    names = [f"team.app.new{number}" for number in range(1000)]
    assert engine.admit(batch_of(names)).points == 7
    assert asked == names[:7]


def test_a_size_that_cannot_be_told_keeps_no_rejection_from_being_counted() -> None:
    def size_of(_metric: str) -> Size:
        raise LookupError

    rules = RuleSet.from_text("[/]\nmetrics = 1\ndropping-policy = none\n[team]\nmetrics = 1\n")
    engine = QuotaEngine(rules, size_of=size_of, clock=ManualClock(0.0))
    assert engine.offer("team.a", size=Size())
    assert engine.offer("team.b").namespace == "team"
    assert engine.admit(b"team.c 1 1\n").dropped == 1
    before = engine.quotas()
    for offer in (lambda: engine.offer("other.c"), lambda: engine.admit(b"other.c 1 1\n")):
        with pytest.raises(LookupError):
            offer()
    assert engine.quotas() == before, "what is raised leaves nothing counted"
    report = engine.report()
    assert [report[f"{count}.{who}"] for count in ("throttle", "dropped") for who in ("root", "team")] == [2, 2, 0, 2]


def test_a_size_that_no_sum_can_take_is_an_error_only_where_it_is_asked_for() -> None:
    rules = RuleSet.from_text("[full]\nmetrics = 1\n")
    engine = QuotaEngine(rules, size_of=lambda metric: Size(MAXIMUM if "huge" in metric else 1), clock=ManualClock(0.0))
    assert engine.offer("full.a")
    assert engine.offer("full.huge").control == "metrics"
    with pytest.raises(QuotaError, match="would pass"):
        engine.offer("free.huge")


def test_new_sizes_count_for_metrics_that_were_too_large_before() -> None:
    rules = RuleSet.from_text("[team]\ndata-points = 600\n")
    engine = QuotaEngine(rules, size_of=Schemas.from_text(""))
    lines = b"".join(b"team.m%d 1 60\n" % number for number in range(3))
    assert engine.admit(lines).points == 0
    engine.apply(rules, size_of=Schemas.from_text("[all]\npattern = .*\nretentions = 1s:5m\n"))
    assert engine.admit(lines).points == 2
    engine.apply(rules, size_of=Schemas.from_text("[all]\npattern = .*\nretentions = 1s:1m\n"))
    assert engine.usage("team").data_points == 600
    assert engine.admit(b"team.n 1 60\n").points == 0
