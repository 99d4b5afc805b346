"""The engine's calls, one by one: what each does, what it gives, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from carbonquota import MetricNameError, QuotaEngine, RuleSet, Size, Usage, Verdict
from carbonquota.testing import ManualClock
from tests.support.small import SIZE, engine_under


def usage_of(metrics: int, namespaces: int = 0, throughput: int = 0) -> Usage:
    """The usage of so many metrics of `SIZE`."""
    return Usage(namespaces, metrics, 10 * metrics, 4096 * metrics, 3 * metrics, throughput)


def test_a_new_engine_holds_nothing_and_reports_nothing() -> None:
    engine = engine_under()
    assert (len(engine), engine.namespaces(), engine.children(), engine.quotas()) == (0, [], [], [])
    assert engine.usage() == engine.usage("/") == Usage()
    assert engine.report() == {}


@pytest.mark.parametrize("interval", [0.5, 0.0, -60.0, float("nan"), 0.999])
def test_an_interval_below_a_second_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="interval") as caught:
        engine_under(interval=interval)
    assert str(caught.value) == f"the interval must be at least 1 second, not {interval}"


@pytest.mark.parametrize("points", [0, -1, 2**63, -(2**63)])
def test_points_out_of_range_are_refused_and_charge_nothing(points: int) -> None:
    engine = engine_under("[/]\nthroughput = 10\n")
    with pytest.raises(ValueError, match="points") as caught:
        engine.offer("a.m", points)
    assert str(caught.value) == f"points must be from 1 to 9223372036854775807, not {points}"
    assert (len(engine), engine.usage()) == (0, Usage())


CALLS: dict[str, Callable[[QuotaEngine, str | bytes], object]] = {
    "offer": QuotaEngine.offer,
    "load": QuotaEngine.load,
    "forget": QuotaEngine.forget,
    "explain": QuotaEngine.explain,
    "in": QuotaEngine.__contains__,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "metric name '' is empty"),
        ("..", "metric name '..' is empty"),
        (b"a\xff", r"metric name b'a\xff' is not valid UTF-8"),
        ("a\ud800", r"metric name 'a\ud800' is not valid UTF-8"),
        ("a\x00b", r"metric name 'a\x00b' holds the control character '\x00'"),
        ("/.~", "metric name '/.~' is empty"),
        (bytearray(b"//;a=b"), "metric name '//;a=b' is empty"),
    ],
)
def test_a_bad_name_is_refused_by_every_call_and_changes_nothing(call: str, name: str | bytes, message: str) -> None:
    engine = engine_under("[/]\nthroughput = 10\n")
    with pytest.raises(MetricNameError) as caught:
        CALLS[call](engine, name)
    assert str(caught.value) == message
    assert (len(engine), engine.usage()) == (0, Usage())


@pytest.mark.parametrize("name", ["a.b", b"a.b", ".a..b.", b"a.b."])
def test_every_spelling_of_a_name_is_one_metric(name: str | bytes) -> None:
    engine = engine_under("[a]\nmetrics = 1\n")
    assert engine.offer("a.b").accepted
    assert engine.offer(name, points=5).accepted
    engine.load(name)
    assert name in engine
    assert (len(engine), engine.usage("a").metrics) == (1, 1)
    assert engine.forget(name)
    assert name not in engine


def test_a_verdict_names_who_rejected_and_is_true_if_accepted() -> None:
    engine = engine_under("[a]\nmetrics = 1\nthroughput = 5\n")
    rule = engine.rules.rules[0]
    assert engine.offer("a.m", 3) == Verdict(accepted=True)
    assert engine.offer("a.n", 2) == Verdict(accepted=False, namespace="a", control="metrics", rule=rule)
    assert engine.offer("a.m", 3) == Verdict(accepted=False, namespace="a", control="throughput", rule=rule)
    assert bool(engine.offer("a.m", 2))
    assert not engine.offer("a.m")


def test_loading_asks_no_quota_and_loading_again_with_a_size_counts_that_size() -> None:
    engine = engine_under("[/]\nmetrics = 1\nthroughput = 1\n")
    for name in ("a.m", "a.n", "b.c.m"):
        engine.load(name)
    assert engine.usage() == usage_of(3, namespaces=2)
    engine.load("a.m")
    engine.load("a.m", Size(logical=100, physical=8192, data_points=9))
    assert engine.usage("a") == Usage(0, 2, 110, 12288, 12, 0)
    assert engine.usage() == Usage(2, 3, 120, 16384, 15, 0)
    engine.load("a.m", Size())
    assert engine.usage("a") == Usage(0, 2, 10, 4096, 3, 0)
    assert engine.forget("a.m")
    assert engine.usage("a") == usage_of(1)


def test_the_size_given_with_an_offer_goes_before_size_of() -> None:
    engine = engine_under("[a]\nlogical-size = 50\n")
    assert engine.offer("a.m", size=Size(logical=40)).accepted
    assert not engine.offer("a.n", size=Size(logical=11)).accepted
    assert engine.offer("a.n").accepted
    assert engine.usage("a").logical_size == 50


def test_forgetting_gives_back_what_a_metric_held_and_says_whether_it_was_there() -> None:
    engine = engine_under("[a]\nmetrics = 1\n")
    assert not engine.forget("a.m")
    assert engine.offer("a.m").accepted
    assert not engine.offer("a.n").accepted
    assert engine.forget("a.m")
    assert not engine.forget("a.m")
    assert (len(engine), engine.usage(), engine.namespaces()) == (0, Usage(), [])
    assert engine.offer("a.n").accepted


def test_namespaces_and_children_are_sorted_and_unknown_ones_hold_nothing() -> None:
    engine = engine_under("[*.*]\nthroughput = 9\n")
    for name in ("b.c.m", "b.a.m", "b.m", "a.z.y.m", "m", "b.a;t=1"):
        engine.load(name)
    assert engine.namespaces() == ["a", "a.z", "a.z.y", "b", "b.a", "b.c"]
    assert (engine.children(), engine.children("b"), engine.children("b.c")) == (["a", "b"], ["b.a", "b.c"], [])
    assert (engine.children("b.m"), engine.children("x"), engine.usage("x.y")) == ([], [], Usage())
    engine.offer("b.c.m", 3)
    assert engine.usage("b.c") == usage_of(1, throughput=3)
    assert engine.usage("b").throughput == 0, "only where a rule limits it"
    assert [quota.namespace for quota in engine.quotas()] == ["a.z", "b.a", "b.c"]


def test_quotas_tell_how_every_ruled_namespace_stands() -> None:
    engine = engine_under("[a]\nmetrics = 1\nthroughput = 4\n[/]\nmetrics = 9\n")
    engine.offer("a.m", 3)
    engine.offer("a.m", 2)
    engine.offer("a.n", 1)
    root, a = engine.quotas()
    assert (root.namespace, root.rule, root.usage, root.throttle, root.dropped) == (
        "/", engine.rules.rules[1], usage_of(1, namespaces=1), 0, {},
    )  # fmt: skip
    assert (a.namespace, a.limits, a.usage, a.throttle) == ("a", a.rule.limits, usage_of(1, throughput=3), 3)
    assert a.dropped == {"throughput": 2, "metrics": 1}


def test_counters_restart_with_each_report_and_usage_does_not() -> None:
    clock = ManualClock(0.0)
    engine = engine_under("[a]\nmetrics = 1\nthroughput = 5\n", clock=clock)
    engine.offer("a.m", 4)
    engine.offer("a.m", 2)
    first = engine.report()
    quota = {"quota.metrics.a": 1, "quota.throughput.a": 5, "usage.metrics.a": 1}
    assert first == quota | {"usage.throughput.a": 4, "throttle.a": 2, "dropped.a": 2}
    clock.advance(60)
    assert engine.report() == quota | {"usage.throughput.a": 0, "throttle.a": 0, "dropped.a": 0}
    assert engine.offer("a.m", 5).accepted


@pytest.mark.parametrize(
    ("name", "points", "namespace", "control"),
    [
        ("a.m", 3, "a", "throughput"),
        ("a.b.m", 3, "a", "throughput"),
        ("b.c.m", 2, "b.c", "logical-size"),
        ("b.c.d.m", 2, "b.c", "logical-size"),
    ],
)
def test_a_namespace_not_there_yet_rejects_by_its_rule_and_is_reported_once(
    name: str, points: int, namespace: str, control: str
) -> None:
    clock = ManualClock(0.0)
    engine = engine_under("[a]\nthroughput = 2\n[b.c]\nlogical-size = 9\n", clock=clock)
    verdict = engine.offer(name, points)
    assert (verdict.accepted, verdict.namespace, verdict.control) == (False, namespace, control)
    assert (len(engine), engine.namespaces(), engine.usage()) == (0, [], Usage())
    report, stat = engine.report(), namespace.replace(".", "-")
    assert (report[f"throttle.{stat}"], report[f"dropped.{stat}"]) == (points, points)
    clock.advance(60)
    assert engine.report() == {}


def test_only_controls_that_are_set_have_stats_under_their_prefix() -> None:
    engine = engine_under("[*]\ndata-points = 100\nlogical-size =\nstat-metric-prefix = level1.\n[/]\n")
    engine.offer("a.m")
    assert engine.report() == {
        "throttle.root": 0,
        "dropped.root": 0,
        "quota.data_points.level1.a": 100,
        "usage.data_points.level1.a": 3,
        "throttle.level1.a": 0,
        "dropped.level1.a": 0,
    }


def test_stat_names_that_collide_are_told_apart_by_a_suffix() -> None:
    engine = engine_under("[*.*]\nmetrics = 9\n")
    for name in ("a.b-c.m", "a-b.c.m", "a-b.c.n"):
        engine.load(name)
    report = engine.report()
    assert (report["usage.metrics.a-b-c"], report["usage.metrics.a-b-c-4b695ab2"]) == (1, 2)


def test_a_long_namespace_has_a_stat_name_cut_with_a_hash() -> None:
    engine = engine_under("[*.*]\nmetrics = 9\nstat-metric-prefix = p.\n")
    for last in "xy":
        engine.load(f"{'a' * 300}.{last}.m")
    names = [name.removeprefix("throttle.p.") for name in engine.report() if name.startswith("throttle.")]
    assert [(len(name), name[:233]) for name in names] == [(250, "a" * 233)] * 2
    assert len(set(names)) == 2


def test_tagged_series_are_charged_to_the_namespaces_of_their_dotted_part() -> None:
    engine = engine_under("[cpu]\nmetrics = 2\nnamespaces = 1\n")
    assert engine.offer("cpu.idle;host=a.b.c;dc=x").accepted
    assert engine.offer("cpu.idle;dc=x;host=a.b.c", 4).accepted
    assert engine.admit(b"cpu.idle;host=b 1 1\ncpu.idle;host=c 1 1\n").points == 1
    assert (engine.namespaces(), engine.usage("cpu"), len(engine)) == (["cpu"], usage_of(2), 2)


def test_apply_keeps_what_is_counted_and_used() -> None:
    engine = engine_under("[a]\nthroughput = 5\nmetrics = 2\n")
    engine.offer("a.m", 4)
    engine.offer("a.m", 3)
    rules = RuleSet.from_text("[*]\nthroughput = 6\nmetrics = 1\n")
    engine.apply(rules)
    assert engine.rules is rules
    assert engine.usage("a") == usage_of(1, throughput=4)
    verdict = engine.offer("a.m", 3)
    assert (verdict.accepted, verdict.rule) == (False, rules.rules[0])
    assert not engine.offer("a.n").accepted
    assert engine.offer("a.m", 2).accepted
    report = engine.report()
    assert (report["usage.throughput.a"], report["throttle.a"], report["dropped.a"]) == (6, 7, 7)


@pytest.mark.parametrize(("before", "after"), [("max", "max"), ("100", "max"), ("max", "100"), ("100", "3")])
def test_apply_keeps_throughput_from_and_to_any_limit(before: str, after: str) -> None:
    engine = engine_under(f"[a]\nthroughput = {before}\n")
    engine.offer("a.m", 5)
    engine.apply(RuleSet.from_text(f"[a]\nthroughput = {after}\n"))
    assert engine.usage("a").throughput == 5
    assert engine.report()["usage.throughput.a"] == 5


def test_apply_among_threads_that_offer_lets_no_more_in_than_the_limit() -> None:
    files = [RuleSet.from_text(f"[a]\nmetrics = 50\nthroughput = 200\n{more}") for more in ("", "[a.*]\nmetrics = 7\n")]
    engine = QuotaEngine(files[0], size_of=lambda _metric: SIZE, clock=ManualClock(0.0))
    barrier = Barrier(4)

    def offer(seed: int) -> int:
        barrier.wait(timeout=60)
        return sum(engine.offer(f"a.m{(seed * 37 + number) % 120}").accepted for number in range(400))

    def reload(_: int) -> int:
        barrier.wait(timeout=60)
        for turn in range(50):
            engine.apply(files[turn % 2])
        return 0

    with ThreadPoolExecutor(4) as pool:
        accepted = sum(
            task.result() for task in [*(pool.submit(offer, seed) for seed in range(3)), pool.submit(reload, 0)]
        )
    assert (accepted, engine.usage("a")) == (200, usage_of(50, throughput=200))


@pytest.mark.parametrize("policy", ["new", "none"])
@pytest.mark.parametrize("call", ["load", "offer", "explain", "admit"])
@pytest.mark.parametrize("name", ["a.new", "a.b.c.new", "other.new", "new"])
def test_a_size_of_that_fails_leaves_nothing_behind(name: str, call: str, policy: str) -> None:
    def fail(metric: str) -> Size:
        raise LookupError(f"no size of {metric}")

    # A rule that rejects asks for no size; one that only counts leaves it to those below.
    metrics, points = (2, 2) if policy == "new" else (1, 3)
    rules = f"[*]\nthroughput = 3\nmetrics = {metrics}\ndropping-policy = {policy}\n[/]\nthroughput = 9\n"
    engine = engine_under(rules, size_of=fail)
    engine.load("a.m", SIZE)
    engine.offer("a.m", points)
    before = (len(engine), engine.usage(), engine.usage("a"), engine.namespaces(), engine.quotas())
    with pytest.raises(LookupError, match=f"no size of {name}"):
        engine.admit(name.encode() + b" 1 1\n") if call == "admit" else getattr(engine, call)(name)
    assert (len(engine), engine.usage(), engine.usage("a"), engine.namespaces(), engine.quotas()) == before
    assert engine.offer("a.m", 2).accepted == (policy == "none"), "the lock is free again"


def test_an_empty_batch_changes_nothing() -> None:
    engine = engine_under("[/]\nthroughput = 1\n")
    empty = b""
    assert engine.admit(empty).accepted is empty
    assert engine.usage() == Usage()


@pytest.mark.parametrize("times", [1, 300])
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_batch_in_another_kind_of_buffer_is_answered_in_bytes(kind: Callable[[bytes], bytes], times: int) -> None:
    engine = engine_under("[/]\nmetrics = 1\n")
    result = engine.admit(kind(b"a.m 1 1\nb.m 1 1\n" * times))
    assert (result.accepted, result.points, result.dropped) == (b"a.m 1 1\n" * times, times, times)
    assert isinstance(result.accepted, bytes)
    assert result.drops["/", "metrics"].samples == ("b.m",)


def test_a_quota_filled_by_a_batch_rejects_what_comes_after_in_the_batch() -> None:
    lines = [b"b.m 1 1\n"] * 300 + [b"a.m 1 1\n"] * 5
    reports = []
    for batches in (lines, [b"".join(lines)]):
        engine = engine_under("[/]\nthroughput = 301\n[a]\nthroughput = 1\n")
        engine.load("b.m")
        engine.offer("a.m")
        for batch in batches:
            engine.admit(batch)
        reports.append(engine.report())
    assert reports[0] == reports[1]
    assert (reports[1]["dropped.root"], reports[1]["dropped.a"]) == (5, 0), "the root is asked first, and full"


@pytest.mark.parametrize("points", [0, -1, 2**63])
def test_an_explanation_takes_the_points_that_an_offer_takes(points: int) -> None:
    engine = engine_under("[a]\nmetrics = 1\n")
    with pytest.raises(ValueError, match=f"points must be from 1 to 9223372036854775807, not {points}"):
        engine.explain("a.m", points=points)


@pytest.mark.parametrize("spelling", ["a.b", "a.b.", ".a..b", "a...b."])
def test_a_namespace_may_be_spelled_with_stray_dots(spelling: str) -> None:
    engine = engine_under("")
    engine.load("a.b.c.m")
    assert engine.usage(spelling).metrics == 1
    assert engine.children(spelling) == ["a.b.c"]


@pytest.mark.parametrize("spelling", ["/", "", "."])
def test_the_root_is_a_slash_or_nothing(spelling: str) -> None:
    engine = engine_under("")
    engine.load("a.b.c.m")
    assert engine.usage(spelling).metrics == 1
    assert engine.children(spelling) == ["a"]
