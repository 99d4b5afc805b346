"""The page for Prometheus, read back by Prometheus' own parser."""

from __future__ import annotations

import platform
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls import CONTROLS
from carbonquota.errors import MetricNameError
from carbonquota.kernel import KERNEL
from carbonquota.model import MAXIMUM
from carbonquota.service.exposition import CONTENT_TYPE, Exposition
from carbonquota.service.health import HEALTH, Health, HealthSample, StatKind
from carbonquota.service.reporter import Reporter, Timetable
from carbonquota.testing import ManualClock

RULES = """[team]
metrics = 1
throughput = 3
logical-size = max

[/]
metrics = 100
dropping-policy = none
"""
TEAM, ROOT = "[team]", "[/]"


class Host:
    """An engine, its reports and its page."""

    def __init__(self, rules: str = RULES, health: Health | None = None, most: int = 0) -> None:
        self.clock = ManualClock(0.0)
        self.engine = QuotaEngine(
            RuleSet.from_text(rules, source="quotas.conf"), size_of=lambda _: Size(10, 4096, 3), clock=self.clock
        )
        self.health = health or Health()
        self.reporter = Reporter(self.engine, self.health, "p", timetable=Timetable(60.0, self.clock))
        self.exposition = Exposition(self.reporter, self.health, "1.2.3", most=most)

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one metric by the values of their labels, in the labels' alphabetical order."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.exposition.text().decode())
            for sample in family.samples
            if sample.name == name
        }


def test_limits_and_usage_stand_by_control_namespace_and_rule() -> None:
    host = Host()
    host.engine.admit(b"team.x 1 1\n" * 2)
    assert host.samples("carbonquota_quota_limit") == {
        ("metrics", "/", ROOT): 100,
        ("metrics", "team", TEAM): 1,
        ("logical_size", "team", TEAM): float(MAXIMUM),
        ("throughput", "team", TEAM): 3,
    }
    assert host.samples("carbonquota_quota_usage") == {
        ("metrics", "/", ROOT): 1,
        ("metrics", "team", TEAM): 1,
        ("logical_size", "team", TEAM): 10,
        ("throughput", "team", TEAM): 2,
    }


def test_usage_of_throughput_is_that_of_the_running_interval() -> None:
    host = Host()
    host.engine.admit(b"team.x 1 1\n" * 3)
    host.clock.set(61.0)
    assert host.samples("carbonquota_quota_usage")["throughput", "team", TEAM] == 0


def test_counters_begin_at_zero_for_each_limit_and_go_on_over_reports() -> None:
    host = Host()
    host.engine.load("team.x")
    zeros = {("metrics", "team", TEAM): 0, ("logical_size", "team", TEAM): 0, ("throughput", "team", TEAM): 0}
    assert host.samples("carbonquota_quota_dropped_total") == zeros | {("metrics", "/", ROOT): 0}
    for turn in (1, 2, 3):
        host.engine.admit(b"team.x 1 1\n" * 5 + b"team.new 1 1\n")
        host.clock.advance(60.0)
        expected = {("metrics", "team", TEAM): 0, ("throughput", "team", TEAM): 3 * turn}
        for _ in range(2):
            dropped = host.samples("carbonquota_quota_dropped_total")
            assert {key: dropped[key] for key in expected} == expected
            assert host.samples("carbonquota_quota_over_total") == {("team", TEAM): 3 * turn, ("/", ROOT): 0}
            host.reporter.report()


def test_points_over_a_quota_that_drops_nothing_are_over_alone() -> None:
    host = Host("[/]\nmetrics = 1\ndropping-policy = none\n")
    host.engine.admit(b"a.x 1 1\na.y 1 1\na.z 1 1\n")
    rule = "[/]"
    assert host.samples("carbonquota_quota_over_total") == {("/", rule): 2}
    assert host.samples("carbonquota_quota_dropped_total") == {("metrics", "/", rule): 0}


def test_a_rule_that_moves_in_its_file_renames_no_series_and_keeps_its_counts() -> None:
    host = Host("[team]\nthroughput = 1\n")
    host.engine.admit(b"team.x 1 1\n" * 5)
    assert host.samples("carbonquota_quota_dropped_total") == {("throughput", "team", "[team]"): 4}
    host.engine.apply(RuleSet.from_text("\n\n[team]\nthroughput = 2\n", source="quotas.conf"))
    assert host.samples("carbonquota_quota_dropped_total") == {("throughput", "team", "[team]"): 4}


def test_a_namespace_that_is_gone_still_tells_what_it_dropped() -> None:
    host = Host("[team]\nthroughput = 1\n")
    rule = "[team]"
    host.engine.offer("team.x", 5)
    host.clock.set(60.0)
    host.reporter.report()
    assert host.samples("carbonquota_quota_limit") == {}
    assert host.samples("carbonquota_quota_dropped_total") == {("throughput", "team", rule): 5}


def test_every_health_stat_has_its_kind_help_and_label() -> None:
    samples = [HealthSample(name, 2, "logical-size" if stat.label else "") for name, stat in HEALTH.items()]
    host = Host(health=Health([lambda: samples]))
    families = {family.name: family for family in text_string_to_metric_families(host.exposition.text().decode())}
    for name, stat in HEALTH.items():
        family = families[f"carbonquota_{name}"]
        assert (family.type, family.documentation) == (stat.kind.value, stat.meaning)
        (sample,) = family.samples
        assert sample.name == f"carbonquota_{name}" + ("_total" if stat.kind is StatKind.COUNTER else "")
        label = "logical_size" if stat.label == "control" else "logical-size"
        assert sample.labels == ({stat.label: label} if stat.label else {})


def test_the_build_is_told() -> None:
    labels = (KERNEL, platform.python_version(), "1.2.3")
    assert Host().samples("carbonquota_build_info") == {labels: 1}


def test_names_and_files_with_quotes_are_read_back_as_they_are() -> None:
    host = Host("[*]\nmetrics = 5\n")
    host.engine.load('we"ird\\näme.x')
    assert host.samples("carbonquota_quota_usage") == {("metrics", 'we"ird\\näme', "[*]"): 1}


def test_it_is_the_classic_text_format() -> None:
    text = Host().exposition.text().decode()
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE carbonquota_quota_over_total counter\n" in text
    assert "# EOF" not in text
    assert "_created" not in text


def test_two_pages_in_one_process_do_not_meet() -> None:
    assert Host().exposition.text() == Host().exposition.text()


def teams(host: Host, *metrics: int) -> None:
    """Namespaces `t.n0`, `t.n1`, ... with so many metrics each."""
    for number, count in enumerate(metrics):
        for metric in range(count):
            host.engine.load(f"t.n{number}.m{metric}")


def test_of_more_namespaces_than_the_bound_the_most_pressing_are_shown_and_the_rest_as_totals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host("[t.*]\nmetrics = 4\nlogical-size = 1000\n[t.n1]\nmetrics = 1\ndropping-policy = none\n", most=2)
    teams(host, 1, 3, 4, 2, 1)
    host.engine.admit(b"t.n2.x 1 1\n" * 3 + b"t.n4.big 1 1\n")
    usage = host.samples("carbonquota_quota_usage")
    assert {key[:2]: value for key, value in usage.items()} == {
        ("metrics", "t.n1"): 3,
        ("metrics", "t.n2"): 4,
        ("logical_size", "t.n2"): 40,
    }
    assert host.samples("carbonquota_quota_over_total") == {("t.n1", "[t.n1]"): 0, ("t.n2", "[t.*]"): 3}
    assert host.samples("carbonquota_quota_namespaces") == {(): 5}
    assert host.samples("carbonquota_quota_namespaces_left_out") == {(): 3}
    assert host.samples("carbonquota_quota_rest_usage") == {("metrics",): 5, ("logical_size",): 50}
    assert host.samples("carbonquota_quota_rest_limit") == {("metrics",): 12, ("logical_size",): 3000}
    assert set(caplog.messages) == {
        "/metrics has the 2 most pressing of 5 namespaces, and totals of the rest: raise "  # noqa: ISC004 - one text
        "[carbonserver] prometheus-max-namespaces to have more"
    }


def test_what_was_dropped_of_the_rest_is_in_its_totals() -> None:
    host = Host("[t.*]\nmetrics = 4\n", most=1)
    teams(host, 4, 4)
    host.engine.admit(b"t.n0.x 1 1\n" * 3 + b"t.n1.x 1 1\n" * 5)
    host.engine.forget("t.n1.m0")
    assert host.samples("carbonquota_quota_over_total") == {("t.n0", "[t.*]"): 3}
    assert host.samples("carbonquota_quota_rest_over") == {(): 5}
    assert host.samples("carbonquota_quota_rest_dropped")["metrics",] == 5


def test_within_the_bound_nothing_is_left_out() -> None:
    host = Host("[t.*]\nmetrics = 4\n", most=2)
    teams(host, 1, 1)
    assert host.samples("carbonquota_quota_namespaces_left_out") == {(): 0}
    assert host.samples("carbonquota_quota_rest_usage") == {("metrics",): 0}
    assert len(host.samples("carbonquota_quota_usage")) == 2


def families_of_ours(host: Host) -> list[Metric]:
    """The families of namespaces as prometheus-client would have made them of what the engine says."""
    quotas = host.engine.quotas()
    tallies = host.reporter.quotas_and_counts()[1]
    limit = GaugeMetricFamily("carbonquota_quota_limit", "", labels=("namespace", "control", "rule"))
    usage = GaugeMetricFamily("carbonquota_quota_usage", "", labels=("namespace", "control", "rule"))
    over = CounterMetricFamily("carbonquota_quota_over", "", labels=("namespace", "rule"))
    dropped = CounterMetricFamily("carbonquota_quota_dropped", "", labels=("namespace", "control", "rule"))
    for quota in quotas:
        rule, tally = f"[{quota.rule.pattern}]", tallies.get(quota.namespace)
        over.add_metric((quota.namespace, rule), tally.over if tally else 0)
        for control in CONTROLS:
            amount = getattr(quota.limits, control.stat)
            if amount is not None:
                labels = quota.namespace, control.stat, rule
                limit.add_metric(labels, amount)
                usage.add_metric(labels, getattr(quota.usage, control.stat))
                dropped.add_metric(labels, tally.dropped.get(control.key, 0) if tally else 0)
    return [limit, usage, over, dropped]


labels = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8)


@given(st.lists(labels, min_size=1, max_size=8), st.integers(1, 2**63 - 1))
@example(['a"b', "a\\", "\\n", "{x}", "ä€😀"], 2**53 + 1)
def test_prometheus_reads_the_same_as_of_a_page_made_by_its_own_library(leaves: list[str], limit: int) -> None:
    host = Host(f"[*]\nmetrics = {limit}\nlogical-size = 30\nthroughput = 2\n")
    for leaf in leaves:
        with suppress(MetricNameError):
            host.engine.offer(f"{leaf}.x", 2)
            host.engine.offer(f"{leaf}.y", 1)
    mine = {family.name: family for family in text_string_to_metric_families(host.exposition.text().decode())}
    for family in families_of_ours(host):
        assert mine[family.name].type == family.type
        expected = {(sample.name, frozenset(sample.labels.items())): float(sample.value) for sample in family.samples}
        found = {(one.name, frozenset(one.labels.items())): float(one.value) for one in mine[family.name].samples}
        assert found == expected


def test_a_page_comes_in_pieces() -> None:
    host = Host("[t.*]\nmetrics = 4\nthroughput = 3\n")
    host.engine.admit(b"".join(b"t.n%d.x 1 1\n" % number for number in range(5000)))
    pieces = list(host.exposition.pieces())
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 500_000
    assert b"".join(pieces).count(b'carbonquota_quota_usage{control="metrics"') == 5000


def test_ten_thousand_namespaces_under_two_limits_are_all_on_the_page() -> None:
    host = Host("[team.*]\nmetrics = 1\nthroughput = 3\n")
    host.engine.admit(b"".join(b"team.t%d.x 1 1\n" % number for number in range(10_000)))
    text = host.exposition.text()
    for control in (b"metrics", b"throughput"):
        assert text.count(b'carbonquota_quota_usage{control="%s"' % control) == 10_000
