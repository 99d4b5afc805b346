"""The page for Prometheus, read back by Prometheus' own parser."""

from __future__ import annotations

import platform
from time import process_time

from prometheus_client.parser import text_string_to_metric_families

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.kernel import KERNEL
from carbonquota.model import MAXIMUM
from carbonquota.service.exposition import CONTENT_TYPE, Exposition
from carbonquota.service.health import HEALTH, Health, Kind, Sample
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

    def __init__(self, rules: str = RULES, health: Health | None = None) -> None:
        self.clock = ManualClock(0.0)
        self.engine = QuotaEngine(
            RuleSet.from_text(rules, source="quotas.conf"), size_of=lambda _: Size(10, 4096, 3), clock=self.clock
        )
        self.health = health or Health()
        self.reporter = Reporter(self.engine, self.health, "p", timetable=Timetable(60.0, self.clock))
        self.exposition = Exposition(self.reporter, self.health, "1.2.3")

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
    samples = [Sample(name, 2, "logical-size" if stat.label else "") for name, stat in HEALTH.items()]
    host = Host(health=Health([lambda: samples]))
    families = {family.name: family for family in text_string_to_metric_families(host.exposition.text().decode())}
    for name, stat in HEALTH.items():
        family = families[f"carbonquota_{name}"]
        assert (family.type, family.documentation) == (stat.kind.value, stat.meaning)
        (sample,) = family.samples
        assert sample.name == f"carbonquota_{name}" + ("_total" if stat.kind is Kind.COUNTER else "")
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


def test_ten_thousand_namespaces_under_two_limits_take_less_than_a_second() -> None:
    host = Host("[team.*]\nmetrics = 1\nthroughput = 3\n")
    host.engine.admit(b"".join(b"team.t%d.x 1 1\n" % number for number in range(10_000)))
    start = process_time()
    text = host.exposition.text()
    assert process_time() - start < 1
    assert text.count(b'carbonquota_quota_usage{control="metrics"') == 10_000
