"""Totals over reports: every point once, whatever happens between two looks, and nothing kept of what is gone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.service.totals import OverQuota, Totals
from carbonquota.testing import ManualClock

RULES = """
[a]
throughput = 2
[b-c]
throughput = 1
metrics = 1
[d.e]
metrics = 1
[d-e]
metrics = 1
throughput = 1
dropping-policy = none
"""


class Host:
    """An engine whose reports and looks go through totals, beside a plain count of what its verdicts said."""

    def __init__(self, rules: str = RULES) -> None:
        self.clock = ManualClock(0.0)
        self.engine = QuotaEngine(
            RuleSet.from_text(rules), size_of=lambda _: Size(1, 1, 1), clock=self.clock, interval=60.0
        )
        self.totals = Totals()
        self.dropped: Counter[tuple[str, str]] = Counter()

    def offer(self, metric: str, points: int = 1) -> None:
        verdict = self.engine.offer(metric, points)
        if verdict.namespace is not None and verdict.control is not None:
            self.dropped[verdict.namespace, verdict.control] += points

    def look(self) -> dict[str, OverQuota]:
        self.totals.look(self.engine.quotas())
        return self.totals.tallies()

    def report(self) -> dict[str, OverQuota]:
        before = self.engine.quotas()
        values = self.engine.report()
        grown = self.totals.report(before, values, self.engine.quotas())
        return {tally.quota.namespace: tally for tally in grown}


def by_control(tallies: dict[str, OverQuota]) -> dict[tuple[str, str], int]:
    return {
        (namespace, control): points
        for namespace, tally in tallies.items()
        for control, points in tally.dropped.items()
    }


METRICS = st.sampled_from(["a.x", "a.y", "b-c.x", "b-c.y", "d.e.x", "d.e.y", "d-e.x", "d-e.y", "z"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), METRICS, st.integers(1, 3)),
        st.tuples(st.just("advance"), st.sampled_from([1.0, 30.0, 60.0, 150.0]), st.just(0)),
        st.tuples(st.sampled_from(["look", "report"]), st.just(""), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_totals_equal_the_sum_of_all_verdicts(steps: list[tuple[str, str | float, int]]) -> None:
    host = Host()
    # Metrics that stay keep their namespaces from going.
    for metric in ("a.x", "b-c.x", "d.e.x", "d-e.x"):
        host.engine.load(metric)
    for kind, what, points in steps:
        if kind == "offer":
            host.offer(str(what), points)
        elif kind == "advance":
            host.clock.advance(float(what))
        elif kind == "look":
            assert by_control(host.look()) == host.dropped
        else:
            host.report()
            assert by_control(host.totals.tallies()) == host.dropped
    assert by_control(host.look()) == host.dropped


@given(STEPS)
def test_reports_tell_each_point_once(steps: list[tuple[str, str | float, int]]) -> None:
    host, told = Host(), Counter[tuple[str, str]]()
    for kind, what, points in [*steps, ("report", "", 0)]:
        if kind == "offer":
            host.offer(str(what), points)
        elif kind == "advance":
            host.clock.advance(float(what))
        elif kind == "look":
            host.look()
        else:
            told.update(by_control(host.report()))
    assert told == host.dropped


def test_points_dropped_while_a_report_is_made_are_not_lost() -> None:
    host = Host("[a]\nthroughput = 1\n")
    host.offer("a.x")
    before = host.engine.quotas()
    host.offer("a.x", 5)
    values = host.engine.report()
    host.offer("a.x", 7)
    grown = host.totals.report(before, values, host.engine.quotas())
    assert [(tally.over, tally.dropped) for tally in grown] == [(12, {"throughput": 12})]
    assert by_control(host.look()) == {("a", "throughput"): 12}


def test_a_namespace_that_comes_while_a_report_is_made_is_counted() -> None:
    host = Host("[*]\nthroughput = 1\n")
    before = host.engine.quotas()
    host.offer("a.x", 5)
    values = host.engine.report()
    grown = host.totals.report(before, values, host.engine.quotas())
    assert grown == []  # it came and went between the looks, so nothing tells which namespace the values are of

    before = host.engine.quotas()
    host.engine.load("b.x")
    host.offer("b.x", 5)
    values = host.engine.report()
    grown = host.totals.report(before, values, host.engine.quotas())
    assert [(tally.quota.namespace, tally.over, tally.dropped) for tally in grown] == [("b", 5, {"throughput": 5})]


def test_two_namespaces_of_one_name_in_stats_are_told_apart() -> None:
    host = Host("[a.b-c]\nthroughput = 1\n[a-b.c]\nthroughput = 1\n")
    for metric in ("a.b-c.x", "a-b.c.x"):
        host.engine.load(metric)
    host.offer("a.b-c.x", 5)
    host.offer("a-b.c.x", 7)
    host.report()
    assert by_control(host.look()) == {("a.b-c", "throughput"): 5, ("a-b.c", "throughput"): 7}


def test_a_rule_that_does_not_enforce_counts_over_alone() -> None:
    host = Host("[a]\nthroughput = 1\ndropping-policy = none\n")
    host.offer("a.x", 5)
    tally = host.report()["a"]
    assert (tally.over, tally.dropped) == (5, {})
    assert host.totals.tallies()["a"].over == 5


def test_new_rules_that_drop_the_counts_take_nothing_back() -> None:
    host = Host("[a]\nthroughput = 1\n")
    host.engine.load("a.x")
    host.offer("a.x", 5)
    assert by_control(host.look()) == {("a", "throughput"): 5}
    host.engine.apply(RuleSet.from_text(""))
    assert by_control(host.look()) == {("a", "throughput"): 5}
    host.engine.apply(RuleSet.from_text("[a]\nthroughput = 1\n"))
    host.offer("a.x", 3)
    assert by_control(host.look()) == {("a", "throughput"): 8}


def test_counts_that_new_rules_began_anew_between_two_looks_are_counted() -> None:
    host = Host("[a]\nthroughput = 1\n")
    host.engine.load("a.x")
    host.offer("a.x", 5)
    host.look()
    host.engine.apply(RuleSet.from_text(""))
    host.engine.apply(RuleSet.from_text("[a]\nthroughput = 1\n"))
    host.offer("a.x", 3)
    host.report()
    assert by_control(host.look()) == {("a", "throughput"): 8}


def test_new_rules_at_the_moment_of_a_report_take_nothing_back() -> None:
    host = Host("[a]\nthroughput = 1\n")
    host.engine.load("a.x")
    host.offer("a.x", 5)
    before = host.engine.quotas()
    host.engine.apply(RuleSet.from_text(""))
    host.engine.apply(RuleSet.from_text("[a]\nthroughput = 1\n"))
    host.offer("a.x", 3)
    values = host.engine.report()
    host.totals.report(before, values, host.engine.quotas())
    assert (by_control(host.look()), host.totals.tallies()["a"].over) == ({("a", "throughput"): 5}, 5)
    host.offer("a.x", 2)
    assert (by_control(host.look()), host.totals.tallies()["a"].over) == ({("a", "throughput"): 7}, 7)


def test_a_namespace_is_kept_for_an_interval_after_it_is_gone() -> None:
    host = Host("[*]\nthroughput = 1\n")
    host.offer("a.x", 5)
    host.report()
    assert host.engine.quotas() == []
    assert by_control(host.look()) == {("a", "throughput"): 5}
    host.offer("a.x", 5)
    host.report()
    assert by_control(host.look()) == {("a", "throughput"): 10}
    host.report()
    assert host.look() == {}
    assert len(host.totals) == 0


def test_only_namespaces_that_were_over_are_kept() -> None:
    host = Host("[*]\nthroughput = 1\n")
    for number in range(100):
        host.offer(f"a{number}.x")
    host.report()
    assert len(host.totals) == 0
