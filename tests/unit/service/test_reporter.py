"""Reports: every stat with the interval's end, each point counted once, and counters that never go back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from carbonquota import QuotaEngine, RuleSet
from carbonquota.controls import QuotaColumns
from carbonquota.errors import QuotaError
from carbonquota.model import MAXIMUM
from carbonquota.service.health import HEALTH, Health, HealthSample, summed
from carbonquota.service.reporter import MARGIN, Piece, Report, Reporter, Timetable
from carbonquota.service.totals import OverQuota
from carbonquota.stats import ReportColumns
from carbonquota.testing import ManualClock
from carbonquota.trie.columns import Column
from tests.support.small import engine_under

RULES = "[team]\nmetrics = 2\nthroughput = 3\nlogical-size = max\nstat-metric-prefix = t.\n"


class Kept:
    """An emitter that keeps what it is given."""

    name = "kept"

    def __init__(self) -> None:
        self.errors = 0
        self.values: list[Mapping[str, float]] = []

    def emit(self, values: Iterable[tuple[str, float]]) -> None:
        self.values.append(dict(values))
        self.errors += 2


def reporter_of(
    engine: QuotaEngine, clock: ManualClock, health: Health | None = None, emitters: tuple[Kept, ...] = ()
) -> Reporter:
    timetable = Timetable(60.0, clock)
    return Reporter(
        engine, health or Health(), "carbon.here", timetable=timetable, emitters=emitters, stopwatch=lambda: 5.0
    )


def taken(report: Report) -> Piece:
    """All pieces of a report as one."""
    pieces = list(report.pieces)
    return Piece(b"".join(piece.lines for piece in pieces), sum(piece.points for piece in pieces))


def values_of(lines: bytes) -> dict[str, str]:
    return {name: value for name, value, _ in (line.split(" ") for line in lines.decode().splitlines())}


def test_a_report_has_every_stat_of_the_quotas_and_of_health() -> None:
    clock = ManualClock(0.0)
    engine = engine_under(RULES, clock=clock)
    health = Health(
        [
            lambda: [
                HealthSample("received", 5),
                HealthSample("dropped", 2, "logical-size"),
                HealthSample("reload_time", 1.5),
            ]
        ]
    )
    reporter = reporter_of(engine, clock, health)
    engine.admit(b"team.x 1 1\n" * 5)
    clock.set(60.01)
    report = reporter.report()
    lines, points = taken(report)
    assert values_of(lines) == {
        "carbon.here.quota.metrics.t.team": "2",
        "carbon.here.usage.metrics.t.team": "1",
        "carbon.here.quota.logical_size.t.team": str(MAXIMUM),
        "carbon.here.usage.logical_size.t.team": "10",
        "carbon.here.quota.throughput.t.team": "3",
        "carbon.here.usage.throughput.t.team": "3",
        "carbon.here.throttle.t.team": "2",
        "carbon.here.dropped.t.team": "2",
        "carbon.here.carbonquota.received": "5",
        "carbon.here.carbonquota.dropped.logical_size": "2",
        "carbon.here.carbonquota.own_points": "0",
        "carbon.here.carbonquota.reload_time": "1.5",
        "carbon.here.carbonquota.report_seconds": "0",
    }
    assert {line.rsplit(b" ", 1)[1] for line in lines.splitlines()} == {b"60"}
    assert (report.timestamp, points) == (60, 13)


class Cluster:
    """Another node uses as much of everything as this one."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked: list[tuple[float, int]] = []

    def usage(self, names: Sequence[str], own: Sequence[Column], interval: float) -> list[Column]:
        self.asked.append((interval, len(names)))
        if self.is_away:
            raise QuotaError("the store cannot be reached")
        return [2 * column for column in own]


def test_a_report_can_tell_what_all_nodes_use_and_leaves_that_out_where_it_is_not_known() -> None:
    clock, cluster = ManualClock(0.0), Cluster()
    engine = engine_under("[*]\nmetrics = 2\nthroughput = 3\n", clock=clock)
    reporter = reporter_of(engine, clock)
    reporter.tell_over_all(cluster.usage)
    engine.admit(b"".join(b"n%d.x 1 1\n" % number for number in range(1_200)) + b"n0.x 1 1\n" * 4)
    clock.set(60.01)
    lines, _ = taken(reporter.report())
    values = values_of(lines)
    own = {name: values[f"carbon.here.{name}.n0"] for name in ("usage.metrics", "usage.throughput", "quota.metrics")}
    assert own == {"usage.metrics": "2", "usage.throughput": "6", "quota.metrics": "2"}
    # What was dropped is this node's own.
    assert values["carbon.here.dropped.n0"] == "2"
    assert {interval for interval, _ in cluster.asked} == {0.0}
    assert sum(names for _, names in cluster.asked) == 1_200
    cluster.is_away, cluster.asked = True, []
    clock.set(120.01)
    values = values_of(taken(reporter.report())[0])
    assert values["carbon.here.quota.metrics.n0"] == "2"
    assert not [name for name in values if ".usage." in name]
    # It is asked once, and not for each piece, as each may take as long as a store that does not answer.
    assert [interval for interval, _ in cluster.asked] == [60.0]
    assert {sample.stat: sample.value for sample in reporter.health()}["report_usage_untold"] == 1_200


def test_a_report_of_many_namespaces_comes_in_pieces_and_has_each_once() -> None:
    clock = ManualClock(0.0)
    engine = engine_under("[*]\nmetrics = 2\n", clock=clock)
    engine.admit(b"".join(b"n%d.x 1 1\n" % number for number in range(1_200)))
    pieces = list(reporter_of(engine, clock).report().pieces)
    assert max(piece.points for piece in pieces) <= 2_000
    lines = b"".join(piece.lines for piece in pieces).splitlines()
    names = {line.split(b" ")[0].decode() for line in lines}
    assert len(names) == len(lines) == sum(piece.points for piece in pieces)
    kinds = ("quota.metrics", "usage.metrics", "throttle", "dropped")
    assert names >= {f"carbon.here.{kind}.n{number}" for kind in kinds for number in range(1_200)}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("logical-size", "logical_size"),
        ("a.b c", "a_b_c"),
        ("größe", "gr__e"),
        ("../x", "___x"),
        ("127.0.0.1:2003", None),
    ],
)
def test_a_label_makes_no_path_of_a_name(label: str, name: str | None) -> None:
    clock = ManualClock(0.0)
    reporter = reporter_of(engine_under(), clock, Health([lambda: [HealthSample("lost", 1, label)]]))
    lines = taken(reporter.report()).lines.decode()
    assert f"carbon.here.carbonquota.lost.{name or '127_0_0_1_2003'} 1 60\n" in lines


def test_emitters_get_the_same_values_and_their_failures_are_counted() -> None:
    clock, kept = ManualClock(0.0), Kept()
    engine = engine_under(RULES, clock=clock)
    reporter = reporter_of(engine, clock, emitters=(kept,))
    engine.admit(b"team.x 1 1\n")
    first = reporter.report()
    assert {f"carbon.here.{name}" for name in kept.values[0]} == values_of(taken(first).lines).keys()
    assert kept.values[0]["usage.throughput.t.team"] == 1
    assert kept.values[0]["carbonquota.emitter_errors.kept"] == 0
    reporter.report()
    assert kept.values[1]["carbonquota.emitter_errors.kept"] == 2


def test_own_points_and_the_time_of_the_last_report_are_told() -> None:
    clock, health = ManualClock(0.0), Health()
    ticks = iter([1.0, 1.25])
    reporter = Reporter(
        engine_under(RULES, clock=clock), health, "p", timetable=Timetable(60.0, clock), stopwatch=lambda: next(ticks)
    )
    points = taken(reporter.report()).points
    assert points > 0
    assert summed(health.samples()) == {("own_points", ""): points, ("report_seconds", ""): 0.25}


def test_a_report_tells_who_was_over_since_the_last_one() -> None:
    clock = ManualClock(0.0)
    creates = [HealthSample("dropped", 4, "creates")]
    engine = engine_under(RULES, clock=clock)
    reporter = reporter_of(engine, clock, Health([lambda: creates]))
    for points in (5, 7):
        engine.admit(b"team.x 1 1\n" * points)
        clock.advance(60.0)
        report = reporter.report()
        (tally,) = report.over
        assert (tally.quota.namespace, tally.over, tally.dropped) == ("team", points - 3, {"throughput": points - 3})
        assert report.creates == 4
        creates[0] = HealthSample("dropped", creates[0].value + 4, "creates")
    creates[0] = HealthSample("dropped", 8, "creates")
    clock.advance(60.0)
    quiet = reporter.report()
    assert (quiet.over, quiet.creates) == ([], 0)


@pytest.mark.parametrize(
    ("start", "interval", "reports"),
    [
        (0.0, 60.0, [(60.01, 60), (120.01, 120), (180.5, 180)]),
        # Late by some intervals.
        (30.0, 60.0, [(185.0, 180), (240.0, 240)]),
        # Early, as at a shutdown: of the running interval, as is the rest of it.
        (0.0, 60.0, [(30.0, 60), (45.0, 60), (60.01, 60), (61.0, 120), (120.01, 120)]),
        # A clock that was set back, by a little and by much.
        (0.0, 60.0, [(120.01, 120), (119.0, 120), (180.01, 180)]),
        (86400.0, 60.0, [(86460.0, 86460), (3600.0, 3600), (3660.0, 3660)]),
        (0.0, 1.5, [(1.51, 1), (3.01, 3)]),
    ],
)
def test_a_report_bears_the_end_of_its_interval(
    start: float, interval: float, reports: list[tuple[float, int]]
) -> None:
    clock = ManualClock(start)
    timetable = Timetable(interval, clock)
    for now, stamp in reports:
        clock.set(now)
        assert timetable.stamp() == stamp, now


@pytest.mark.parametrize(
    ("interval", "now", "due"), [(60.0, 0.0, 60.0), (60.0, 59.0, 1.0), (60.0, 60.0, 60.0), (7.0, 15.0, 6.0)]
)
def test_the_next_report_is_due_just_after_the_end_of_the_interval(interval: float, now: float, due: float) -> None:
    reporter = Reporter(engine_under(), Health(), "p", timetable=Timetable(interval, ManualClock(now)))
    assert reporter.next_report(now) == pytest.approx(due + MARGIN)


def test_what_several_parts_give_is_added_up_in_the_order_of_the_table() -> None:
    parts = [
        HealthSample("series", 1),
        HealthSample("received", 2),
        HealthSample("dropped", 1, "b"),
        HealthSample("dropped", 1, "a"),
    ]
    more = [HealthSample("received", 3), HealthSample("dropped", 5, "b"), HealthSample("paused", value=True)]
    sums = summed([*parts, *more])
    assert list(sums.items()) == [
        (("received", ""), 5),
        (("dropped", "a"), 1),
        (("dropped", "b"), 6),
        (("paused", ""), 1),
        (("series", ""), 1),
    ]
    assert {stat for stat, _ in sums} <= HEALTH.keys()


class Interrupted(QuotaEngine):
    """An engine in the midst of whose report another thread does something; tells whether it could."""

    meanwhile: Callable[[], object]
    thread: threading.Thread
    finished_meanwhile: bool

    def report_with_counts(self) -> tuple[ReportColumns, QuotaColumns, QuotaColumns]:
        values = super().report_with_counts()
        self.thread = threading.Thread(target=self.meanwhile)
        self.thread.start()
        self.thread.join(0.1)
        self.finished_meanwhile = not self.thread.is_alive()
        return values


def test_nobody_looks_at_the_totals_in_the_midst_of_a_report() -> None:
    clock = ManualClock(0.0)
    engine = Interrupted(RuleSet.from_text("[a]\nthroughput = 1\n"), clock=clock)
    reporter = reporter_of(engine, clock)
    engine.load("a.x")
    engine.offer("a.x", 5)
    seen: list[int] = []
    engine.meanwhile = lambda: seen.append(reporter.quotas_and_counts()[1]["a"].over)
    reporter.report()
    engine.thread.join()
    assert not engine.finished_meanwhile
    assert seen == [5]


class Watcher:
    """Looks at the totals again and again, and sees to it that none goes back."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._seen: dict[tuple[str, str], int] = {}

    def look(self) -> dict[str, OverQuota]:
        tallies = self._reporter.quotas_and_counts()[1]
        for namespace, tally in tallies.items():
            for control, points in {"over": tally.over, **tally.dropped}.items():
                assert points >= self._seen.get((namespace, control), 0)
                self._seen[namespace, control] = points
        return tallies


def test_under_traffic_reports_and_looks_never_lose_or_take_back_a_point() -> None:
    clock = ManualClock(0.0)
    engine = engine_under("[a]\nthroughput = 10\n[b]\nmetrics = 1\n", clock=clock)
    reporter = reporter_of(engine, clock)
    watcher = Watcher(reporter)
    engine.load("a.x")
    engine.load("b.x")
    dropped, reports = [0, 0], list[Report]()

    def send(thread: int) -> None:
        for _ in range(300):
            dropped[thread] += engine.admit(b"a.x 1 1\nb.new 1 1\n" * 20).dropped

    senders = [threading.Thread(target=send, args=(thread,)) for thread in range(2)]

    def report() -> None:
        while any(sender.is_alive() for sender in senders):
            clock.advance(20.0)
            reports.append(reporter.report())

    reporting = threading.Thread(target=report)
    for thread in (*senders, reporting):
        thread.start()
    while reporting.is_alive():
        watcher.look()
    for thread in (*senders, reporting):
        thread.join()
    reports += [reporter.report(), reporter.report()]
    tallies = watcher.look()
    assert {name: set(tally.dropped) for name, tally in tallies.items()} == {"a": {"throughput"}, "b": {"metrics"}}
    assert sum(tally.over for tally in tallies.values()) == sum(dropped)
    assert sum(sum(tally.dropped.values()) for tally in tallies.values()) == sum(dropped)
    assert sum(tally.over for made in reports for tally in made.over) == sum(dropped)
    told = [values_of(taken(made).lines) for made in reports]
    assert sum(int(values["carbon.here.throttle.a"]) for values in told) == tallies["a"].over
