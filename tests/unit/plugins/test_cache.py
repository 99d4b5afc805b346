"""Our stats, log lines and scan among carbon's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import carbon.cache
import pytest
from carbon import events
from carbon import log as carbon_log
from carbon.cache import CacheFeedingProcessor, MetricCache, NaiveStrategy, SortedStrategy, _MetricCache
from carbon.client import RelayProcessor
from carbon.util import TaggedSeries
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, Cooperator

from carbonquota.metric_name import normalize
from carbonquota.plugins.cache import StatsWriter, WaitingPoints, plain_store, recorder
from carbonquota.plugins.install import log_to_carbon
from carbonquota.storage.paths import hashed_path_of

LINES = b"carbon.agents.web1-a.usage.metrics.root 5 1700000000\ncarbon.agents.web1-a.throttle.root 0.5 1700000000\n"
POINTS = [
    ("carbon.agents.web1-a.usage.metrics.root", (1700000000.0, 5.0)),
    ("carbon.agents.web1-a.throttle.root", (1700000000.0, 0.5)),
]


@pytest.fixture(params=[SortedStrategy, NaiveStrategy, None])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> _MetricCache:
    """Carbon's cache, empty, with each way to drain it."""
    found = _MetricCache(request.param)
    monkeypatch.setattr(carbon.cache, "_Cache", found)
    return found


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What carbon's log is told, with its type."""
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(carbon_log, "msg", lambda text, type: lines.append((type, text)))  # noqa: A006
    logger = logging.getLogger("carbonquota")
    kept = (list(logger.handlers), logger.level, logger.propagate)
    log_to_carbon()
    log_to_carbon()
    yield lines
    logger.handlers[:], logger.propagate = kept[0], kept[2]
    logger.setLevel(kept[1])


def written(clock: Clock, writer: StatsWriter) -> Deferred[None]:
    return Deferred.fromCoroutine(writer.write(LINES))


def test_stats_are_written_while_the_reactor_has_time() -> None:
    clock, points = Clock(), list[tuple[str, tuple[float, float]]]()
    cooperator = Cooperator(lambda: lambda: True, scheduler=lambda work: clock.callLater(1, work))
    writer = StatsWriter(lambda metric, datapoint: points.append((metric, datapoint)), cooperator)
    done = written(clock, writer)
    assert points == []
    clock.advance(1)
    assert points == POINTS[:1]
    assert not done.called
    clock.pump([1, 1, 1])
    assert points == POINTS
    assert done.called


def test_the_stats_of_what_stores_go_into_its_cache(cache: _MetricCache) -> None:
    for metric, datapoint in POINTS:
        recorder(stores=True)(metric, datapoint)
    assert {metric: dict(points) for metric, points in cache.items()} == {
        metric: dict([point]) for metric, point in POINTS
    }


def test_the_stats_of_what_relays_are_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[tuple[str, tuple[float, float]]] = []
    monkeypatch.setattr(events.metricGenerated, "handlers", [lambda *point: points.append(point)])
    for metric, datapoint in POINTS:
        recorder(stores=False)(metric, datapoint)
    assert points == POINTS


def test_what_a_cache_needs_not_take_apart_goes_right_into_it(cache: _MetricCache) -> None:
    store = plain_store(CacheFeedingProcessor())
    assert store is not None
    store("a.b", (1.0, 2.0))
    assert dict(cache) == {"a.b": {1.0: 2.0}}


def test_nothing_is_known_of_the_way_behind_other_sinks(cache: _MetricCache) -> None:
    class Another(CacheFeedingProcessor):  # type: ignore[misc]
        """May do more than carbon's own."""

    try:
        assert plain_store(Another()) is None
        assert plain_store(RelayProcessor()) is None
    finally:
        # Carbon keeps every processor by its name.
        CacheFeedingProcessor.plugins["write"] = CacheFeedingProcessor


def test_a_metric_waits_from_its_first_point_until_the_writer_is_done_with_it(cache: _MetricCache) -> None:
    waiting = WaitingPoints()
    assert not waiting.is_pending("a.b")
    MetricCache().store("a.b", (1.0, 2.0))
    assert waiting.is_pending("a.b")
    metric, points = cache.drain_metric()
    assert (metric, points) == ("a.b", [(1.0, 2.0)])
    assert "a.b" not in cache
    assert waiting.is_pending("a.b")
    cache.store("c.d", (1.0, 2.0))
    cache.drain_metric()
    assert not waiting.is_pending("a.b")


def test_the_cache_is_drained_as_before(cache: _MetricCache) -> None:
    WaitingPoints()
    for number in range(3):
        cache.store(f"m{number}", (1.0, 2.0))
    assert {cache.drain_metric()[0] for _ in range(3)} == {"m0", "m1", "m2"}
    assert cache.drain_metric() == (None, [])


def test_log_lines_go_to_carbons_log_once(logged: list[tuple[str, str]]) -> None:
    logging.getLogger("carbonquota.service.rulebook").info("%d rules", 5)
    logging.getLogger("carbonquota.service.rulebook").error("%s is %s", "this", "bad")
    logging.getLogger("carbonquota.service.rulebook").debug("nothing of interest")
    assert logged == [("quotas", "5 rules"), ("quotas", "ERROR: this is bad")]


def test_a_bug_is_logged_with_where_it_is(logged: list[tuple[str, str]]) -> None:
    try:
        list[int]().index(5)
    except ValueError:
        logging.getLogger("carbonquota.plugins").exception("it failed")
    ((_, text),) = logged
    assert text.startswith("ERROR: it failed\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: 5 is not in list")


def test_a_line_that_carbon_cannot_take_ends_nothing(
    logged: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(carbon_log, "msg", fail)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("carbonquota.plugins").warning("it cannot be told")


@pytest.mark.parametrize("metric", ["a.b.c", "cpu;host=a", "cpu.idle;dc=x;host=a.b", "c;host=b;host2=a", "c;p=/x/y"])
def test_a_files_name_is_carbons_own(metric: str) -> None:
    stored = TaggedSeries.parse(metric).path
    assert hashed_path_of(normalize(metric)) == f"{TaggedSeries.encode(stored, sep='/', hash_only=True)}.wsp"
