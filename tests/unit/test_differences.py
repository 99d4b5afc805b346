"""Where this quota differs from go-carbon's on purpose: a test for each row of that table, in its order."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.errors import ConfigError
from carbonquota.model import MAXIMUM
from carbonquota.testing import ManualClock
from tests.support.engines import line

if TYPE_CHECKING:
    from carbonquota.controls import ThroughputUnit


def engine_from_text(
    text: str,
    *,
    size: Size | None = None,
    clock: ManualClock | None = None,
    interval: float = 60.0,
    unit: ThroughputUnit = "interval",
) -> QuotaEngine:
    """An engine under the rules of a file's text; metrics hold nothing unless `size` says otherwise."""
    return QuotaEngine(
        RuleSet.from_text(text),
        size_of=lambda _metric: size or Size(),
        clock=clock or ManualClock(0.0),
        interval=interval,
        throughput_unit=unit,
    )


def test_charged_at_the_decision_so_a_limit_of_10_lets_10_of_1000_through() -> None:
    engine = engine_from_text("[a]\nthroughput = 10\n")
    assert engine.admit(line("a.m") * 1000).points == 10
    assert [engine.offer("a.m").accepted for _ in range(3)] == [False] * 3

    engine = engine_from_text("[a]\nmetrics = 10\n")
    result = engine.admit(b"".join(line(f"a.m{number}") for number in range(1000)))
    assert (result.points, result.dropped, len(engine)) == (10, 990, 10)


def test_a_new_namespace_is_under_its_rule_from_its_first_point() -> None:
    engine = engine_from_text("[*]\nthroughput = 2\nmetrics = 1\n")
    first = engine.offer("new.m", points=3)
    assert (first.accepted, first.namespace, first.control) == (False, "new", "throughput")
    assert "new" not in engine.namespaces()
    assert [engine.offer(f"new.m{number}").accepted for number in range(2)] == [True, False]


def test_the_points_that_a_namespace_not_yet_there_rejects_are_reported() -> None:
    engine = engine_from_text("[*]\nthroughput = 2\n")
    engine.offer("new.m", points=3)
    report = engine.report()
    assert (report["throttle.new"], report["dropped.new"]) == (3, 3)


def test_only_a_new_sub_namespace_counts_against_namespaces_not_a_leaf() -> None:
    engine = engine_from_text("[a]\nnamespaces = 1\n")
    assert engine.offer("a.b.m").accepted
    assert engine.offer("a.leaf").accepted
    assert engine.offer("a.b.another").accepted
    assert engine.offer("a.b.deeper.m").accepted, "a sub-namespace of a sub-namespace is not its own"
    rejected = engine.offer("a.c.m")
    assert (rejected.accepted, rejected.namespace, rejected.control) == (False, "a", "namespaces")


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ("[/]\nthroughput = 5\n[a]\nthroughput = 1\n", "a.m"),
        ("[/]\nthroughput = 5\n[a]\nmetrics = 1\n", "a.other"),
        ("[/]\nthroughput = 5\n[a.b]\nthroughput = 1\n[a]\nthroughput = 5\n", "a.b.m"),
    ],
)
def test_only_accepted_points_are_charged(rules: str, name: str) -> None:
    engine = engine_from_text(rules)
    engine.load("a.m")
    engine.offer("a.b.m" if "b" in name else "a.m")
    for _ in range(50):
        assert not engine.offer(name).accepted
    assert engine.usage("/").throughput == 1
    assert [engine.offer("free.m").accepted for _ in range(5)] == [True] * 4 + [False]


def test_a_file_without_a_root_section_reports() -> None:
    engine = engine_from_text("[a]\nmetrics = 5\n")
    engine.offer("a.m")
    assert engine.report() == {"quota.metrics.a": 5, "usage.metrics.a": 1, "throttle.a": 0, "dropped.a": 0}
    assert engine_from_text("").report() == {}


@pytest.mark.parametrize("interval", [1.0, 10.0, 59.0, 60.0, 90.0, 3600.0])
def test_any_interval_has_its_throughput_limit(interval: float) -> None:
    clock = ManualClock(0.0)
    engine = engine_from_text("[a]\nthroughput = 7\n", clock=clock, interval=interval)
    for _ in range(3):
        assert engine.admit(line("a.m") * 100).points == 7
        clock.advance(interval)


@pytest.mark.parametrize("interval", [1.0, 10.0, 59.0, 60.0, 90.0, 3600.0])
def test_any_interval_has_its_share_of_a_limit_per_minute(interval: float) -> None:
    engine = engine_from_text("[a]\nthroughput = 100\n", interval=interval, unit="minute")
    assert engine.admit(line("a.m") * 7000).points == int(100 * Fraction(interval) / 60)


@pytest.mark.parametrize("interval", [1.0, 60.0, 3600.0, 86400.0])
@pytest.mark.parametrize("unit", ["interval", "minute"])
def test_max_stays_max_and_overflows_nowhere(unit: ThroughputUnit, interval: float) -> None:
    engine = engine_from_text("[/]\nthroughput = max\n", interval=interval, unit=unit)
    assert engine.offer("a.m", points=2**62).accepted
    assert engine.offer("a.m", points=2**62 - 1).accepted
    assert not engine.offer("a.m").accepted
    report = engine.report()
    assert report["quota.throughput.root"] == MAXIMUM
    assert report["usage.throughput.root"] == MAXIMUM


def test_the_largest_limit_of_a_file_overflows_nowhere_per_minute() -> None:
    engine = engine_from_text(f"[/]\nthroughput = {MAXIMUM - 1}\n", interval=86400.0, unit="minute")
    assert engine.admit(line("a.m") * 1000).points == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[a]\nmetricz = 5\n",
            """\
storage-quotas.conf:2:1: unknown key "metricz"
    metricz = 5
    ^^^^^^^
  did you mean "metrics"?""",
        ),
        (
            "[a]\nmetrics = -5\n",
            """\
storage-quotas.conf:2:11: metrics: a limit cannot be negative
    metrics = -5
              ^^
  leave it empty for no limit""",
        ),
        (
            "[a.[b]\nmetrics = 5\n",
            """\
storage-quotas.conf:1:4: this "[" is never closed
    [a.[b]
       ^
  close it with "]" before the next dot""",
        ),
    ],
)
def test_unknown_keys_negative_limits_and_bad_globs_are_errors(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_text(text, source="storage-quotas.conf")
    assert str(caught.value) == message


def test_new_rules_are_applied_at_once() -> None:
    engine = engine_from_text("[a]\nmetrics = 1\n")
    assert [engine.offer(f"a.m{number}").accepted for number in range(2)] == [True, False]
    engine.apply(RuleSet.from_text("[a]\nmetrics = 2\n"))
    assert [engine.offer(f"a.n{number}").accepted for number in range(2)] == [True, False]
    assert engine.report()["quota.metrics.a"] == 2


def test_a_bad_file_keeps_the_old_rules() -> None:
    engine = engine_from_text("[a]\nmetrics = 1\n")
    with pytest.raises(ConfigError):
        engine.apply(RuleSet.from_text("[a]\nmetrics = 0\n"))
    assert [engine.offer(f"a.m{number}").accepted for number in range(2)] == [True, False]


def test_throttle_and_dropped_are_counted_apart_with_control_rule_namespace_and_samples() -> None:
    engine = engine_from_text("[a]\nmetrics = 1\n\n[b]\nmetrics = 1\ndropping-policy = none\n")
    buffer = b"".join(map(line, ["a.m", "a.n", "a.o", "b.m", "b.n", "b.o"]))
    result = engine.admit(buffer)
    assert result.accepted == b"".join(map(line, ["a.m", "b.m", "b.n", "b.o"]))
    ((who, drop),) = result.drops.items()
    assert who == ("a", "metrics")
    assert drop.rule is not None
    assert (drop.points, drop.rule.pattern, drop.rule.line, set(drop.samples)) == (2, "a", 1, {"a.n", "a.o"})
    verdict = engine.offer("a.p", points=4)
    assert (verdict.namespace, verdict.control, verdict.rule) == ("a", "metrics", drop.rule)
    held = {quota.namespace: quota for quota in engine.quotas()}
    assert (held["a"].throttle, dict(held["a"].dropped)) == (6, {"metrics": 6})
    report = engine.report()
    assert {name: value for name, value in report.items() if name.startswith(("throttle", "dropped"))} == {
        "throttle.a": 6,
        "dropped.a": 6,
        "throttle.b": 2,
        "dropped.b": 0,
    }


def test_tagged_series_are_charged_to_their_dotted_namespaces() -> None:
    size = Size(logical=10, physical=20, data_points=3)
    engine = engine_from_text("[cpu]\nmetrics = 2\nthroughput = 5\n", size=size)
    assert engine.offer("cpu.idle;host=a;dc=x", points=2).accepted
    assert engine.offer("cpu.idle;dc=x;host=a").accepted, "the order of tags makes no other metric"
    assert engine.admit(b"cpu.idle;host=b 1 1\n").points == 1
    assert not engine.offer("cpu.idle;host=c").accepted
    usage = engine.usage("cpu")
    assert (usage.metrics, usage.logical_size, usage.data_points, usage.throughput) == (2, 20, 6, 4)
    assert engine.usage("/").metrics == 2
    assert engine.offer("idle;host=a").accepted, "without a dot it lives in the root alone"
