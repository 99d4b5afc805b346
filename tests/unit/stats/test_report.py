"""The report: every stat by its name, only for controls that are set, and each ended count given once."""

from __future__ import annotations

from itertools import chain

import pytest

from carbonquota import Limits, RuleSet, Size
from carbonquota.controls import compiled_rules
from carbonquota.controls.reference import throughput
from carbonquota.controls.table import METRICS, THROUGHPUT
from carbonquota.model import MAXIMUM
from carbonquota.stats import ReportColumns, ReportedQuotas, ended_intervals, named_values
from carbonquota.trie import Index, Taking, take_ended_counts


def reported(*rows: tuple[str, Limits, tuple[int, ...], int, int]) -> ReportedQuotas:
    """Standings of quotas by: name, limits, usage by control, throttle, dropped."""
    names, limits, usages, throttle, dropped = zip(*rows, strict=True)
    return ReportedQuotas(names, limits, list(zip(*usages, strict=True)), throttle, dropped)


def taken(index: Index, limits: list[Limits]) -> ReportColumns:
    """The counts of ended intervals as they are now."""
    taking = Taking(index)
    taking.take(index)
    taking.take_ended(index.quotas)
    return ended_intervals(taking.taken(), take_ended_counts(index.quotas), limits)


def values_of(columns: ReportColumns) -> dict[str, int]:
    """All of a report's values."""
    return dict(chain.from_iterable(piece.items() for piece in columns.pieces()))


def test_every_set_control_has_its_quota_and_usage_and_no_other() -> None:
    everything = Limits(10, 20, 30, 40, 50, 60)
    assert named_values(reported(("sys-app", everything, (1, 2, 3, 4, 5, 6), 7, 8))) == {
        "quota.namespaces.sys-app": 10,
        "usage.namespaces.sys-app": 1,
        "quota.metrics.sys-app": 20,
        "usage.metrics.sys-app": 2,
        "quota.logical_size.sys-app": 30,
        "usage.logical_size.sys-app": 3,
        "quota.physical_size.sys-app": 40,
        "usage.physical_size.sys-app": 4,
        "quota.data_points.sys-app": 50,
        "usage.data_points.sys-app": 5,
        "quota.throughput.sys-app": 60,
        "usage.throughput.sys-app": 6,
        "throttle.sys-app": 7,
        "dropped.sys-app": 8,
    }


def test_a_rule_without_limits_has_its_counters_alone() -> None:
    assert named_values(reported(("root", Limits(), (1, 2, 3, 4, 5, 6), 0, 0))) == {
        "throttle.root": 0,
        "dropped.root": 0,
    }


def test_namespaces_stand_side_by_side() -> None:
    values = named_values(
        reported(
            ("a", Limits(metrics=5), (0, 1, 0, 0, 0, 0), 2, 1),
            ("p.b", Limits(throughput=MAXIMUM), (0, 9, 0, 0, 0, 3), 0, 0),
        )
    )
    assert values == {
        "quota.metrics.a": 5,
        "usage.metrics.a": 1,
        "throttle.a": 2,
        "dropped.a": 1,
        "quota.throughput.p.b": MAXIMUM,
        "usage.throughput.p.b": 3,
        "throttle.p.b": 0,
        "dropped.p.b": 0,
    }


def test_without_quotas_there_is_nothing_to_report() -> None:
    index, limits = index_under("")
    assert values_of(taken(index, limits)) == {}


def index_under(text: str) -> tuple[Index, list[Limits]]:
    """An index that holds two metrics in `a.b`, and the limits in force."""
    rules = RuleSet.from_text(text)
    compiled = compiled_rules(rules.rules, 60.0, "interval")
    index = Index(rules.matcher(), compiled)
    for name in ("a.b.m", "a.b.n"):
        size = Size(logical=10, physical=20, data_points=3)
        index.add(name.encode(), index.create(*index.locate(name)), size)
    return index, [rule.limits for rule in compiled]


RULES = """
[*]
metrics = 5
throughput = 100
stat-metric-prefix = level1.
[/]
namespaces = 9
[a.b]
data-points = max
dropping-policy = none
"""


def test_standings_are_usage_now_and_counts_of_ended_intervals() -> None:
    index, limits = index_under(RULES)
    quotas = index.quotas
    held = {index.namespaces.name(quotas.namespace_at[row]): row for row in quotas.rows()}
    throughput.charge(quotas, quotas.rate_chain(held["a.b"]), 30)
    throughput.over(quotas, held["a"], METRICS, 4)
    throughput.over(quotas, held["a"], THROUGHPUT, 2)
    throughput.over(quotas, held["a.b"], METRICS, 7)
    expected = {
        "quota.namespaces.root": 9,
        "usage.namespaces.root": 1,
        "throttle.root": 0,
        "dropped.root": 0,
        "quota.metrics.level1.a": 5,
        "usage.metrics.level1.a": 2,
        "quota.throughput.level1.a": 100,
        "usage.throughput.level1.a": 0,
        "throttle.level1.a": 0,
        "dropped.level1.a": 0,
        "quota.data_points.a-b": MAXIMUM,
        "usage.data_points.a-b": 6,
        "throttle.a-b": 0,
        "dropped.a-b": 0,
    }
    assert values_of(taken(index, limits)) == expected, "the running interval is not reported"
    quotas.close()
    ended = {"usage.throughput.level1.a": 30, "throttle.level1.a": 6, "dropped.level1.a": 6, "throttle.a-b": 7}
    assert values_of(taken(index, limits)) == expected | ended


@pytest.mark.parametrize("points", [2**62, MAXIMUM])
def test_points_dropped_by_several_controls_never_pass_the_maximum_or_go_below_zero(points: int) -> None:
    index, limits = index_under("[a]\nmetrics = 1\nthroughput = 1\n")
    (quota,) = index.quotas.rows()
    for control in (METRICS, THROUGHPUT, METRICS, THROUGHPUT):
        throughput.over(index.quotas, quota, control, points)
    index.quotas.close()
    values = values_of(taken(index, limits))
    assert (values["throttle.a"], values["dropped.a"]) == (MAXIMUM, MAXIMUM)


def test_standings_are_a_copy_that_later_counts_do_not_touch() -> None:
    index, limits = index_under(RULES)
    columns = taken(index, limits)
    before = values_of(taken(index, limits))
    index.remove(b"a.b.m")
    throughput.over(index.quotas, index.quotas.rows()[0], METRICS, 4)
    index.quotas.close()
    assert values_of(columns) == before


def test_those_that_come_and_go_until_the_lock_is_taken_are_told_as_they_are_then() -> None:
    index, limits = index_under("[*]\nmetrics = 5\n")
    index.add(b"gone.x", index.create(*index.locate("gone.x")), Size(1, 1, 1))
    taking = Taking(index)
    for number in range(200):
        index.add(b"n%d.x" % number, index.create(*index.locate(f"n{number}.x")), Size(1, 1, 1))
    index.remove(b"gone.x")
    taking.take(index)
    taking.take_ended(index.quotas)
    columns = ended_intervals(taking.taken(), take_ended_counts(index.quotas), limits)
    usages = {f"usage.metrics.n{number}": 1 for number in range(200)} | {"usage.metrics.a": 2}
    assert {name: value for name, value in values_of(columns).items() if name.startswith("usage.")} == usages
