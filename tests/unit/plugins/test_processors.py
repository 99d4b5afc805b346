"""The processor in carbon's pipeline: what passes, in which order, how it is counted, and what a bug costs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from posixpath import normpath
from typing import Any, cast

import pytest
from carbon.pipeline import Processor
from carbon.util import TaggedSeries
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from carbonquota.cluster.held_points import HeldPoints, HoldBounds
from carbonquota.controls import BatchDecision, table
from carbonquota.controls.capacity_limits import RefusedMetric
from carbonquota.engine import QuotaEngine
from carbonquota.errors import MetricNameError
from carbonquota.plugins.decisions import Datapoint, DecidingEngine, Decisions
from carbonquota.plugins.point_batches import PointBatches
from carbonquota.plugins.processors import MOST, GeneratedProcessor, Passed, Point, QuotaProcessor, Store
from carbonquota.plugins.service import ReactorTimers
from carbonquota.rules import RuleSet
from carbonquota.service.throttling import Dropping
from carbonquota.testing import ManualClock
from tests.support.names import stored_by_carbon
from tests.support.slices import GrantingStore

RULES = """\
[/]
metrics = 60
[team.*]
metrics = 5
throughput = 40
"""


def engine(rules: str = RULES) -> QuotaEngine:
    return QuotaEngine(RuleSet.from_text(rules), clock=ManualClock(60.0))


class Sink(Processor):  # type: ignore[misc]
    """Keeps what it is given, but for what it breaks at."""

    def __init__(self, broken: str = "") -> None:
        self.points: list[tuple[str, Datapoint]] = []
        self._broken = broken

    def process(self, metric: str, datapoint: Datapoint) -> Passed:
        if metric == self._broken:
            raise ValueError(metric)
        self.points.append((metric, datapoint))
        return ()


@dataclass
class Setup:
    """A processor, what it stands between, and the reactor's next turn."""

    engine: DecidingEngine = field(default_factory=engine)
    sink: Sink = field(default_factory=Sink)
    clock: ManualClock = field(default_factory=ManualClock)
    turns: list[Callable[[], None]] = field(default_factory=list)
    noted: list[Dropping] = field(default_factory=list)
    store_plain: Store | None = None
    room: Callable[[], float] = lambda: inf
    holds_new: bool = False
    waiting: HeldPoints[list[Point]] | None = None

    def __post_init__(self) -> None:
        self.decisions = Decisions(self.engine, note=self.noted.append, clock=self.clock, holds_new=self.holds_new)
        self.decisions.holder = self.waiting
        self.processor = QuotaProcessor(
            self.decisions,
            self.sink,
            soon=self.turns.append,
            room=self.room,
            store_plain=self.store_plain,
            waiting=self.waiting,
        )

    def send(self, metrics: Iterable[str]) -> None:
        """One point of each, numbered."""
        for number, metric in enumerate(metrics):
            assert list(self.processor.process(metric, (float(number), 1.0))) == []

    def turn(self) -> None:
        """What the reactor does next."""
        for turn in self.turns:
            turn()
        self.turns.clear()

    def counts(self) -> dict[tuple[str, str], float]:
        return {(sample.stat, sample.label): sample.value for sample in self.processor.health()}


class BrokenEngine:
    """An engine with a bug."""

    def admit_names(self, names: Sequence[str]) -> BatchDecision:
        raise RuntimeError("a bug")

    admit_new_names = admit_names

    def refuse_names(self, names: Sequence[str], refused: Sequence[RefusedMetric]) -> BatchDecision:
        raise RuntimeError("a bug")


def test_points_wait_for_the_reactor_and_go_on_in_their_order() -> None:
    setup = Setup()
    setup.send(["team.a.x", "other", "team.a.y"])
    assert setup.sink.points == []
    setup.turn()
    assert setup.sink.points == [("team.a.x", (0.0, 1.0)), ("other", (1.0, 1.0)), ("team.a.y", (2.0, 1.0))]


def test_so_many_points_do_not_wait() -> None:
    setup = Setup(engine(""))
    setup.send(f"m{number}" for number in range(MOST + 1))
    assert len(setup.sink.points) == MOST
    setup.turn()
    assert len(setup.sink.points) == MOST + 1


@pytest.mark.parametrize("room", [0, 1, 7, 40, 500, MOST])
def test_the_point_that_makes_senders_wait_does_not_wait_itself(room: int) -> None:
    sink = Sink()
    setup = Setup(engine(""), sink, room=lambda: room + 1 - len(sink.points))
    setup.send(["first"])
    setup.turn()
    setup.send(f"m{number}" for number in range(room))
    assert len(sink.points) - 1 == (room if room >= MOST else 0)
    setup.send(["last"])
    assert len(sink.points) - 2 == room


def test_where_senders_wait_already_points_are_gathered_as_ever() -> None:
    setup = Setup(engine(""), room=lambda: inf)
    setup.send(["first"])
    setup.turn()
    setup.send(f"m{number}" for number in range(MOST - 1))
    assert len(setup.sink.points) == 1


def test_at_the_end_nothing_is_left_behind_and_nothing_waits() -> None:
    setup = Setup()
    setup.send(["a"])
    setup.processor.end()
    assert len(setup.sink.points) == 1
    for metric in "bc":
        setup.send([metric])
    assert len(setup.sink.points) == 3


@pytest.mark.parametrize("times", [1, 10], ids=["one by one", "as a batch"])
def test_a_limit_holds_exactly_and_all_is_counted(times: int) -> None:
    metrics = [f"team.a.m{number}" for number in range(8)] * times
    setup, single = Setup(), engine()
    setup.send(metrics)
    setup.turn()
    assert Counter(metric for metric, _ in setup.sink.points) == {metric: min(times, 8) for metric in metrics[:5]}
    counts = setup.counts()
    assert counts["received", ""] == len(metrics)
    assert counts["accepted", ""] == len(setup.sink.points) == min(5 * times, 40)
    dropped = {label: value for (stat, label), value in counts.items() if stat == "dropped"}
    assert dropped == Counter(control for metric in metrics if (control := single.offer(metric).control))
    assert sum(noted.dropped for noted in setup.noted) == sum(dropped.values())


def test_what_has_no_name_is_dropped_from_a_batch_as_well() -> None:
    setup = Setup()
    setup.send([f"team.a.m{number}" for number in range(100)] + [""])
    setup.turn()
    assert [metric for metric, _ in setup.sink.points] == [f"team.a.m{number}" for number in range(5)]
    assert setup.counts()["malformed", "name"] == 1


@pytest.mark.parametrize("name", [5, None])
@pytest.mark.parametrize("number", [3, 100], ids=["one by one", "as a batch"])
def test_what_a_receiver_takes_for_a_name_keeps_up_no_other(name: object, number: int) -> None:
    setup = Setup()
    metrics = [f"team.a.m{place}" for place in range(number)]
    setup.send([cast("str", name), *metrics])
    setup.turn()
    assert [metric for metric, _ in setup.sink.points] == [name, *metrics[:5]]
    assert setup.counts()["internal_errors", "decision"] == 1


@pytest.mark.parametrize(
    ("metrics", "are_plain"),
    [
        (["a"], True),
        (["team.a.x"] * 100, True),
        (["a", "b;c=d"], False),
        ([*["team.a.x"] * 100, "b;c=d"], False),
        (["a", "é"], False),
        (["a", "~b"], True),
        (["a", "b/c/"], True),
        (["a", 'b{c="d"}'], False),
    ],
)
def test_only_points_that_are_known_to_have_no_tags_are_spared_the_sink(metrics: list[str], are_plain: bool) -> None:
    stored: list[tuple[str, Datapoint]] = []
    setup = Setup(store_plain=lambda metric, datapoint: stored.append((metric, datapoint)))
    setup.send(metrics)
    setup.turn()
    assert len(stored if are_plain else setup.sink.points) == min(len(metrics), 41 if "b;c=d" in metrics else 40)
    assert not (setup.sink.points if are_plain else stored)


PLAIN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="}~;"), min_size=1)


@given(metric=PLAIN)
def test_a_name_without_tags_is_the_one_that_carbon_stores(metric: str) -> None:
    assert TaggedSeries.parse(metric).path == metric


METRICS = st.sampled_from(
    [f"{path}.m{number}" for path in ("team.a", "team.b", "team", "x.y") for number in range(9)]
    + ["team.a..m0", ".team.a.m1", "cpu;b=1;a=2", 'team.a.cpu{host="x"}', "~team.a.m2", "é.ö"]
    + ["", "..", "a b", "a\tb", "a\nb", "a\r", "\x00", "cpu;bad", "\udc80", "x" * 5000]
)


class EngineOfOthers(BrokenEngine):
    """An engine that answers to less than it was asked."""

    def admit_names(self, names: Sequence[str]) -> BatchDecision:
        return engine().admit_names(names[1:])


def test_an_answer_to_other_points_costs_none() -> None:
    setup = Setup(EngineOfOthers())
    setup.send(f"m{place}" for place in range(100))
    setup.turn()
    assert len(setup.sink.points) == 100
    assert setup.counts()["internal_errors", "decision"] == 1


@given(metrics=st.lists(METRICS, max_size=150), limit=st.integers(1, 80))
def test_a_batch_is_decided_as_its_points_one_by_one(metrics: list[str], limit: int) -> None:
    rules = f"[/]\nthroughput = {limit}\nmetrics = 12\n[team.*]\nmetrics = 4\nthroughput = 20\n"
    setup, single = Setup(engine(rules)), engine(rules)
    setup.send(metrics)
    setup.turn()
    assert setup.sink.points == [
        (stored_under(metric), (float(number), 1.0)) for number, metric in enumerate(metrics) if passes(single, metric)
    ]
    counts = setup.counts()
    assert counts["received", ""] == len(metrics)
    assert counts["accepted", ""] == len(setup.sink.points)
    assert counts["internal_errors", "decision"] == 0
    dropped = sum(value for (stat, _), value in counts.items() if stat in {"dropped", "malformed"})
    assert dropped == len(metrics) - len(setup.sink.points)


def stored_under(metric: str) -> str:
    if "{" in metric or "~" in metric:
        return stored_by_carbon(metric)
    # Carbon's cache has an entry for each spelling, so there must be one only.
    path, semicolon, tags = metric.partition(";")
    return ".".join(part for part in path.split(".") if part) + semicolon + tags


def test_ever_new_spellings_of_a_metric_go_on_as_one_name() -> None:
    setup = Setup(engine("[/]\nmetrics = 1\n"))
    dots = [f"{'.' * before}a{'.' * between}b" for before in range(20) for between in range(1, 20)]
    setup.send([*dots, "a/b", "/a//b", "./a.b"])
    setup.turn()
    assert {metric for metric, _ in setup.sink.points} == {"a.b"}
    assert len(setup.sink.points) == len(dots) + 3


def passes(single: QuotaEngine, metric: str) -> bool:
    try:
        return single.offer(metric).accepted
    except MetricNameError:
        return False


@pytest.mark.parametrize(
    ("metric", "stored"),
    [
        ('cpu{host="a",dc="x"}', "cpu;dc=x;host=a"),
        ("~cpu", "cpu"),
        ("cpu", "cpu"),
        ("cpu{host}", "cpu{host}"),
        ("cpu;name=x", "cpu"),
        ("team/a/m", "team.a.m"),
        ("/team..a//m", "team.a.m"),
        ("team/a/m/", "team.a.m"),
        ("team.a.m.", "team.a.m"),
        ("team/a/m;path=/x", "team.a.m;path=/x"),
        ("team..a.m;b=c", "team.a.m;b=c"),
        ("cpu;b=2;a=1", "cpu;a=1;b=2"),
        ("cpu;bad", "cpu;bad"),
    ],
)
@pytest.mark.parametrize("number", [1, 50], ids=["one by one", "as a batch"])
def test_a_metric_counts_under_the_name_that_it_is_stored_under(metric: str, stored: str, number: int) -> None:
    setup = Setup(counting := engine(""))
    setup.send([metric] * number)
    setup.turn()
    assert set(counting.holdings().names) == {stored.encode()}
    assert len(setup.sink.points) == number
    for passed, _ in setup.sink.points:
        assert carbons_file(passed) == carbons_file(stored)


def carbons_file(metric: str) -> str:
    """Where carbon keeps what it gets under this name."""
    path: str = TaggedSeries.encode(stored_by_carbon(metric), "/")
    return normpath(path)


@pytest.mark.parametrize("number", [1, 100], ids=["one by one", "as a batch"])
def test_a_bug_costs_no_point_and_is_told_once_a_minute(number: int, caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(BrokenEngine())
    with caplog.at_level(logging.ERROR):
        for seconds in (0, 59, 60):
            setup.clock.set(seconds)
            setup.send([f"m{place}" for place in range(number)])
            setup.turn()
    assert len(setup.sink.points) == 3 * number
    assert len(caplog.records) == 2
    assert "could not be decided on" in caplog.messages[0]
    assert all(record.exc_info for record in caplog.records)
    counts = setup.counts()
    assert counts["internal_errors", "decision"] >= 3
    assert counts["accepted", ""] == counts["received", ""] == 3 * number


def test_a_bug_in_what_is_told_of_drops_changes_no_decision() -> None:
    def note(_: Dropping) -> None:
        raise RuntimeError("a bug")

    for number in (8, 80):
        sink = Sink()
        processor = QuotaProcessor(Decisions(engine(), note=note), sink, soon=lambda _: None)
        for place in range(number):
            processor.process(f"team.a.m{place}", (0.0, 1.0))
        processor.flush()
        assert len(sink.points) == 5
        counts = {(sample.stat, sample.label): sample.value for sample in processor.health()}
        assert counts["accepted", ""] == 5
        assert counts["internal_errors", "decision"] > 0


@pytest.mark.parametrize("number", [3, 100])
def test_a_point_that_the_sink_cannot_take_keeps_up_no_other(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Any] = []
    monkeypatch.setattr("carbon.log.err", lambda *arguments: errors.append(arguments))
    for is_spared in (False, True):
        sink = Sink(broken="m1")
        setup = Setup(engine(""), sink, store_plain=sink.process if is_spared else None)
        setup.send(f"m{place}" for place in range(number))
        setup.turn()
        assert [metric for metric, _ in sink.points] == [f"m{place}" for place in range(number) if place != 1]
        assert errors.pop() == ()


@pytest.mark.parametrize("number", [1, 100])
def test_what_no_metric_can_be_called_is_dropped_counted_and_told(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(engine(""))
    setup.send(["/.~"] * number)
    setup.turn()
    assert setup.sink.points == []
    assert setup.counts()["malformed", "name"] == number
    assert len(caplog.messages) == 1
    assert "/.~" in caplog.messages[0]
    assert " 1 1" not in caplog.messages[0]


def test_the_log_of_throttling_is_given_names_and_rules() -> None:
    for number in (8, 80):
        setup = Setup()
        setup.send(f"team.a.m{place}" for place in range(number))
        setup.turn()
        ((key, drop),) = setup.noted[0].drops.items()
        assert key == ("team.a", "metrics")
        assert drop.samples[0] == "team.a.m5"
        assert drop.rule is not None
        assert drop.rule.pattern == "team.*"


def test_carbons_own_stats_pass_and_aggregates_are_counted() -> None:
    setup = Setup(engine("[/]\nmetrics = 1\n"))
    generated = GeneratedProcessor(setup.processor, "carbon.relays.web1-a", aggregates=True)
    for metric in ("carbon.relays.web1-a.cpuUsage", "carbon.relays.web1-a.memUsage"):
        assert list(generated.process(metric, (1.0, 2.0))) == [(metric, (1.0, 2.0))]
    for metric in ("all.sum", "carbon.relays.web1-ab.cpuUsage"):
        assert list(generated.process(metric, (1.0, 2.0))) == []
    setup.turn()
    assert setup.sink.points == [("all.sum", (1.0, 2.0))]
    assert setup.counts()["received", ""] == 2


def test_what_a_relay_sends_anew_is_not_decided_on_again() -> None:
    setup = Setup(engine("[/]\nthroughput = 1\n"))
    generated = GeneratedProcessor(setup.processor, "carbon.relays.web1-a", aggregates=False)
    for _ in range(3):
        assert list(generated.process("a.b", (1.0, 2.0))) == [("a.b", (1.0, 2.0))]
    assert setup.counts()["received", ""] == 0


def test_points_of_new_metrics_wait_for_the_cluster_and_all_others_go_on() -> None:
    holding = QuotaEngine(RuleSet.from_text("[team.*]\nmetrics = 3\n"), hold_new=True)
    holding.load("team.a.known")
    setup = Setup(holding, holds_new=True)
    held: list[tuple[str, Datapoint]] = []
    setup.processor.hold_back = held.extend
    setup.send(["team.a.new", "team.a.known", "team.a.new", "team.a.other", ""])
    setup.turn()
    assert [metric for metric, _ in setup.sink.points] == ["team.a.known"]
    assert held == [("team.a.new", (0.0, 1.0)), ("team.a.new", (2.0, 1.0)), ("team.a.other", (3.0, 1.0))]
    counts = setup.counts()
    assert (counts["received", ""], counts["accepted", ""], counts["malformed", "name"]) == (5, 1, 1)
    batches = PointBatches(setup.decisions, setup.processor.hand_on)
    assert batches.names(held) == ["team.a.new", "team.a.new", "team.a.other"]
    answer = batches.admit_new(held[:2])
    assert answer is not None
    assert answer.points == 2
    batches.refuse(held[2:], [RefusedMetric("team.a.other", "team.a", table.METRICS)])
    assert setup.sink.points[1:] == held[:2]
    counts = setup.counts()
    assert (counts["accepted", ""], counts["dropped", "metrics"]) == (3, 1)
    assert list(setup.noted[-1].drops) == [("team.a", "metrics")]
    assert sum(value for name, value in holding.report().items() if name.startswith("dropped.")) == 1


class ThreadedClock(Clock):
    """Twisted's manual clock, which other threads may have call something, too."""

    def callFromThread(self, call: Callable[[], object]) -> None:  # noqa: N802 - twisted's name
        self.callLater(0, call)


@dataclass
class Prepaid:
    """A processor whose throughput limit is taken in slices, on the reactor's manual clock."""

    bounds: HoldBounds = field(default_factory=HoldBounds)
    holds_new: bool = False

    def __post_init__(self) -> None:
        rules = RuleSet.from_text("[team.*]\nthroughput = 10\n")
        self.clock = ManualClock(60.0)
        self.engine = QuotaEngine(rules, clock=self.clock, prepaid=True, hold_new=self.holds_new)
        self.reactor = ThreadedClock()
        self.store = GrantingStore(self.engine)
        timers = ReactorTimers(self.reactor)
        waiting = HeldPoints[list[Point]](
            self.engine, self.store, timers, bounds=self.bounds, clock=self.reactor.seconds
        )
        self.setup = Setup(self.engine, waiting=waiting, holds_new=self.holds_new)

    def send(self, *metrics: str) -> None:
        self.setup.send(metrics)
        self.setup.turn()

    def names(self) -> list[str]:
        return [metric for metric, _ in self.setup.sink.points]

    def counts(self) -> dict[str, float]:
        wanted = {"received", "accepted", "dropped", "held_back"}
        return {stat: value for (stat, _), value in self.setup.counts().items() if stat in wanted}


def test_the_first_points_of_a_prepaid_limit_wait_for_their_slice_in_their_order() -> None:
    prepaid = Prepaid()
    prepaid.send("team.a.x", "other", "team.a.y", "team.b.x")
    assert prepaid.names() == ["other"]
    assert prepaid.store.asked == 1
    assert prepaid.counts() == {"received": 4, "accepted": 1, "held_back": 3}
    prepaid.store.grant(5)
    # What comes before the reactor has heard of the grant goes behind what waits.
    prepaid.send("team.a.y")
    assert prepaid.names() == ["other", "team.a.x", "team.a.y", "team.b.x", "team.a.y"]
    assert prepaid.counts() == {"received": 5, "accepted": 5, "held_back": 3}
    prepaid.reactor.advance(1.0)
    assert len(prepaid.names()) == 5
    assert not prepaid.setup.noted


def test_points_of_a_prepaid_limit_are_dropped_once_where_no_more_is_granted_in_time() -> None:
    prepaid = Prepaid(HoldBounds(delay=0.1))
    prepaid.send(*["team.a.x"] * 6)
    prepaid.store.grant(2)
    prepaid.reactor.advance(0.05)
    assert prepaid.counts() == {"received": 6, "accepted": 2, "held_back": 6}
    prepaid.reactor.advance(0.06)
    assert prepaid.counts() == {"received": 6, "accepted": 2, "dropped": 4, "held_back": 6}
    prepaid.clock.advance(60.0)
    assert sum(value for name, value in prepaid.engine.report().items() if name.startswith("dropped.")) == 4
    assert [dropping.dropped for dropping in prepaid.setup.noted] == [4]


def test_nothing_waits_where_nothing_is_left_or_the_end_has_come() -> None:
    prepaid = Prepaid()
    prepaid.send("team.a.x")
    prepaid.store.refuse()
    prepaid.send("team.a.x")
    assert prepaid.counts() == {"received": 2, "accepted": 0, "dropped": 2, "held_back": 1}
    prepaid.send("team.b.x")
    prepaid.setup.processor.end()
    assert prepaid.counts() == {"received": 3, "accepted": 0, "dropped": 3, "held_back": 2}
    prepaid.setup.send(["team.c.x"])
    assert prepaid.counts()["dropped"] == 4


def test_no_more_than_so_many_bytes_of_names_wait() -> None:
    prepaid = Prepaid(HoldBounds(size=20))
    prepaid.send(*["team.a.x"] * 6)
    assert prepaid.counts() == {"received": 6, "accepted": 0, "dropped": 4, "held_back": 2}


def test_points_of_new_metrics_that_were_claimed_wait_for_their_slice_too() -> None:
    prepaid = Prepaid(holds_new=True)
    batches = PointBatches(prepaid.setup.decisions, prepaid.setup.processor.hand_on)
    held: list[Point] = []
    prepaid.setup.processor.hold_back = held.extend
    prepaid.send("team.a.x", "team.a.x")
    assert (len(held), prepaid.counts()["accepted"]) == (2, 0)
    answer = batches.admit_new(held)
    assert answer is not None
    assert (answer.points, answer.dropped) == (0, 0)
    held.clear()
    prepaid.store.grant(5)
    prepaid.reactor.advance(0)
    # It is new still, so whoever knows of claims is asked once more.
    batches.admit_new(held)
    assert prepaid.names() == ["team.a.x", "team.a.x"]
    assert prepaid.counts() == {"received": 2, "accepted": 2, "held_back": 2}
