"""Who starts and stops being throttled, as log lines: one each, at once where a batch shows it, bounded in number."""

from __future__ import annotations

import logging

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls import Admission
from carbonquota.model import Rule, throughput_per_interval
from carbonquota.service.health import Health, HealthSample
from carbonquota.service.reporter import Reporter, Timetable
from carbonquota.service.throttling import MOST_SEEN, PACE, Dropped, ThrottleLog
from carbonquota.testing import ManualClock

RULES = """[team]
metrics = 2
throughput = 1,000

[ops]
metrics = 1
dropping-policy = none
"""
TEAM = "[team] (quotas.conf:1)"
START = f"namespace team is throttled by metrics = 2 of {TEAM}; dropped: team.c, team.d"


class Host:
    """An engine, its reports, and what is logged of them since it was last asked for."""

    def __init__(self, caplog: pytest.LogCaptureFixture, rules: str = RULES, most: int = 100) -> None:
        self.clock = ManualClock(0.0)
        self.creates = 0
        self.engine = QuotaEngine(
            RuleSet.from_text(rules, source="quotas.conf"), size_of=lambda _: Size(1, 1, 1), clock=self.clock
        )
        health = Health([lambda: [HealthSample("dropped", self.creates, "creates")]])
        self.reporter = Reporter(self.engine, health, "p", timetable=Timetable(60.0, self.clock))
        self.log = ThrottleLog(self.clock, creates_limit=50, most=most)
        self._caplog = caplog

    def admit(self, *names: str, noted: bool = True) -> None:
        admission = self.engine.admit(b"".join(f"{name} 1 1\n".encode() for name in names))
        if noted:
            self.log.note(admission)

    def report(self) -> None:
        """The report at the end of the interval."""
        self.clock.set((self.clock() // 60 + 1) * 60)
        report = self.reporter.report()
        self.log.take_report(report.over, report.creates)

    def lines(self) -> list[str]:
        """What was logged since the last call."""
        lines = self._caplog.messages.copy()
        self._caplog.clear()
        return lines


@pytest.fixture
def host(caplog: pytest.LogCaptureFixture) -> Host:
    caplog.set_level(logging.INFO)
    return Host(caplog)


def test_a_start_is_logged_at_once_and_a_stop_after_a_whole_interval_without_a_drop(host: Host) -> None:
    host.clock.set(10.0)
    host.admit("team.a", "team.b", "team.c", "team.d")
    assert host.lines() == [START]
    host.report()
    host.admit("team.c")
    host.report()
    assert host.lines() == []
    host.report()
    assert host.lines() == ["namespace team is no longer throttled by metrics: 3 points dropped in 170 s"]
    host.report()
    assert host.lines() == []


def test_starts_are_warnings_and_stops_are_not(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.admit("team.a", "team.b", "team.c")
    host.report()
    host.report()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_who_starts_again_is_logged_again(host: Host) -> None:
    host.admit("team.a", "team.b", "team.c", "team.d")
    host.report()
    host.report()
    host.lines()
    host.admit("team.c", "team.d")
    assert host.lines() == [START]


def test_each_control_has_its_own_lines(host: Host) -> None:
    host.admit("team.a", "team.b", "team.c", "team.d", *["team.a"] * 1000)
    assert host.lines() == [
        START,
        f"namespace team is throttled by throughput = 1,000 of {TEAM}; dropped: team.a",
    ]


def test_batches_are_looked_at_every_now_and_then_and_the_report_tells_what_was_missed(host: Host) -> None:
    looks = 0

    class Watched:
        """An answer that counts how often it is looked into."""

        dropped = 1

        @property
        def drops(self) -> dict[tuple[str, str], Dropped]:
            nonlocal looks
            looks += 1
            return {}

    for _ in range(1000):
        host.log.note(Watched())
    assert looks == 1
    host.clock.advance(PACE)
    host.log.note(Watched())
    assert looks == 2
    host.admit("team.a", "team.b", "team.c", "team.d")
    assert host.lines() == []
    host.report()
    assert host.lines() == [f"namespace team is throttled by metrics = 2 of {TEAM}"]


def test_a_batch_without_drops_is_not_looked_at_nor_does_it_keep_the_next_one_from_it(host: Host) -> None:
    host.admit("team.a", "team.b")
    host.admit("team.c", "team.d")
    assert host.lines() == [START]


def test_a_clock_that_is_set_back_does_not_end_the_looks(host: Host) -> None:
    host.clock.set(10_000.0)
    host.admit("team.a", "team.b", "team.c", "team.d")
    host.clock.set(100.0)
    host.admit(*["team.a"] * 1001)
    assert len(host.lines()) == 2


def test_a_start_seen_after_the_report_was_made_is_no_stop_for_it(host: Host) -> None:
    host.clock.set(60.0)
    report = host.reporter.report()
    host.admit("team.a", "team.b", "team.c", "team.d")
    host.log.take_report(report.over, report.creates)
    assert host.lines() == [START]
    host.report()
    assert host.lines() == []
    host.report()
    assert host.lines() == ["namespace team is no longer throttled by metrics: 2 points dropped in 120 s"]


def test_a_quota_that_drops_nothing_has_lines_of_its_own(host: Host) -> None:
    host.admit("ops.a", "ops.b", "ops.c")
    assert host.lines() == []
    host.report()
    (line,) = host.lines()
    assert line == (
        "namespace ops is over its quota, and nothing is dropped: [ops] (quotas.conf:5), "
        "dropping-policy = none, metrics = 1"
    )
    host.report()
    assert host.lines() == ["namespace ops is no longer over its quota: 2 points in 60 s, none dropped"]


def test_what_was_over_a_quota_before_it_was_enforced_starts_nothing(host: Host) -> None:
    host.admit("ops.a", "ops.b")
    host.engine.apply(RuleSet.from_text("[ops]\nmetrics = 1\n"))
    host.report()
    assert host.lines() == []


def test_the_limit_on_new_metrics_a_second_has_no_rule(host: Host) -> None:
    class Drop:
        rule: Rule | None = None
        samples = ("new.a", "new.b")

    class Rejected:
        dropped = 2

        @property
        def drops(self) -> dict[tuple[str, str], Dropped]:
            return {("/", "creates"): Drop()}

    host.creates = 7
    host.log.note(Rejected())
    assert host.lines() == ["namespace / is throttled by max-creates-per-second = 50; dropped: new.a, new.b"]
    host.report()
    host.report()
    assert host.lines() == ["namespace / is no longer throttled by max-creates-per-second: 7 points dropped in 120 s"]
    host.creates = 9
    host.report()
    assert host.lines() == ["namespace / is throttled by max-creates-per-second = 50"]


def test_a_flood_of_namespaces_is_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    host = Host(caplog, "[*]\nmetrics = 1\n", most=3)
    names = [name for number in range(10) for name in (f"n{number}.a", f"n{number}.b")]
    host.admit(*names)
    assert len(host.lines()) == 3
    host.report()
    assert host.lines() == ["and 7 more starts or stops of throttling in this interval, not logged"]
    host.report()
    assert len(host.lines()) == 3 + 1
    host.admit("n0.b")
    assert len(host.lines()) == 1


def test_a_real_admission_is_what_it_takes() -> None:
    log = ThrottleLog(ManualClock(0.0))
    admission: Admission = QuotaEngine(RuleSet.from_text("")).admit(b"a 1 1\n")
    log.note(admission)


def test_ever_new_namespaces_begin_so_many_spells_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(caplog, "[*]\nlogical-size = 1\n[team]\nmetrics = 1\n", most=10**6)
    for batch in range(4):
        host.clock.advance(1)
        host.admit(*(f"n{batch}x{number}.{leaf}" for number in range(MOST_SEEN // 2) for leaf in "ab"))
    assert len(host.lines()) == MOST_SEEN
    host.admit("team.a", "team.b", noted=False)
    host.report()
    assert any("namespace team is throttled" in line for line in host.lines())


def test_a_limit_per_minute_is_told_with_what_is_in_force(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = ManualClock(0.0)
    rules = RuleSet.from_text("[team]\nthroughput = 60\n", source="quotas.conf")
    engine = QuotaEngine(rules, clock=clock, interval=10.0, throughput_unit="minute")
    log = ThrottleLog(clock, in_force=lambda limit: throughput_per_interval(limit, 10.0, "minute"))
    log.note(engine.admit(b"team.a 1 1\n" * 11))
    assert caplog.messages == [
        (
            "namespace team is throttled by throughput = 60 (10 in each interval) of [team] (quotas.conf:1); "
            "dropped: team.a"
        )
    ]
