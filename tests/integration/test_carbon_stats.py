"""What quotas tell inside carbon: stats among carbon's own, which count against no quota, and the log."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.support.carbon_daemons import CarbonDaemon, Graphite, many_of, one_each, running
from tests.support.daemon import wait_until

RULES = """\
[/]
metrics = 12

[team]
metrics = 10
throughput = 1,000
"""


def told(daemon: CarbonDaemon, name: str) -> list[float]:
    """The values of one of its stats so far."""
    return list(daemon.graphite.points(f"{daemon.agent}.{name}").values())


def last(daemon: CarbonDaemon, name: str) -> float | None:
    values = told(daemon, name)
    return values[-1] if values else None


def test_usage_stands_beside_carbons_own_metrics_and_none_of_them_counts(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=RULES, interval=1, CARBON_METRIC_INTERVAL=1)
    with running(graphite.daemon()) as (cache,):
        cache.deliver(one_each(f"team.m{number}" for number in range(15)))
        wait_until(lambda: sum(told(cache, "dropped.team")) == 5, lambda: cache.log)
        wait_until(lambda: last(cache, "usage.metrics.root") == 11, lambda: cache.log)
        wait_until(lambda: told(cache, "metricsReceived"), "no metrics of carbon's own")
        assert last(cache, "quota.metrics.team") == last(cache, "usage.metrics.team") == 10
        assert last(cache, "quota.throughput.team") == 1000
        assert sum(told(cache, "usage.throughput.team")) == 10
        assert sum(told(cache, "throttle.team")) == 5
        assert last(cache, "carbonquota.received") == 16
        assert last(cache, "carbonquota.accepted") == 11
        assert last(cache, "carbonquota.dropped.metrics") == 5
        assert len(graphite.own()) > 40
        seen = len(told(cache, "usage.metrics.root"))
        wait_until(lambda: len(told(cache, "usage.metrics.root")) > seen + 1, "no further reports")
        assert set(told(cache, "usage.metrics.root")[seen:]) == {11}
        cache.kill()
        again = graphite.daemon(QUOTA_STATE_ENABLED=False)
        reports = len(told(cache, "usage.metrics.root"))
        with running(again):
            wait_until(lambda: len(told(again, "usage.metrics.root")) > reports + 1, lambda: again.log)
            assert last(again, "usage.metrics.root") == 11
            assert last(again, "usage.metrics.team") == 10


def test_a_cache_answers_queries_for_stats_that_are_not_on_disk_yet(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=RULES, interval=1, MAX_UPDATES_PER_SECOND=1)
    with running(graphite.daemon()) as (cache,):
        answers: dict[float, float] = {}

        def has_answered() -> bool:
            # One answer is enough, for a point that is written is cached no more.
            answers.update(cache.cached(f"{cache.agent}.quota.metrics.root"))
            return bool(answers)

        wait_until(has_answered, lambda: cache.log)
        timestamp, value = next(iter(answers.items()))
        assert value == 12
        assert timestamp == int(timestamp)


def test_reports_add_up_to_what_is_stored(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas="[flow]\nthroughput = 30\n", interval=1)
    with running(graphite.daemon()) as (cache,):
        lines = many_of("flow.load", 600)
        with cache.connect(cache.ports.line) as connection:
            for at in range(0, 600, 30):
                connection.sendall("".join(f"{line}\n" for line in lines[at : at + 30]).encode())
                time.sleep(0.1)  # the pace of a sender
        cache.deliver([])
        stored = len(graphite.points("flow.load"))
        wait_until(lambda: sum(told(cache, "usage.throughput.flow")) == stored, lambda: cache.log)
        wait_until(lambda: sum(told(cache, "dropped.flow")) == 600 - stored, lambda: cache.log)
        assert set(told(cache, "usage.throughput.flow")) <= {float(number) for number in range(31)}
        # It sends for two seconds: two whole intervals at least, where it begins with one.
        assert 60 <= stored < 200


@pytest.mark.parametrize("program", ["relay", "aggregator"])
def test_what_relays_tell_goes_through_them(tmp_path: Path, program: str) -> None:
    rules = "[/]\nmetrics = 2\n\n[a]\nmetrics = 1\n"
    graphite = Graphite(tmp_path / "graphite", quotas=rules, interval=1, CARBON_METRIC_INTERVAL=1)
    graphite.write("aggregation-rules.conf", "")
    store = graphite.daemon("cache", "store", ours=False, CARBON_METRIC_INTERVAL=0)
    with running(store, graphite.daemon(program, DESTINATIONS=store.destination)) as (_, relay):
        relay.send(one_each(["a.x", "a.y", "b.x", "c.x"]))
        wait_until(lambda: sum(told(relay, "dropped.root")) == 1, lambda: relay.log)
        wait_until(lambda: sum(told(relay, "dropped.a")) == 1, lambda: relay.log)
        wait_until(lambda: told(relay, "metricsReceived"), "no metrics of carbon's own")
        assert last(relay, "usage.metrics.root") == 2
    assert graphite.stored() == {"a.x", "b.x"}


def test_throttling_is_in_carbons_log(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas="[team]\nmetrics = 2\n")
    with running(graphite.daemon()) as (cache,):
        cache.send(one_each(["team.a", "team.b", "team.c"]))
        wait_until(lambda: "throttled" in cache.log, lambda: cache.log)
        line = next(line for line in cache.log.splitlines() if "throttled" in line)
        assert re.fullmatch(
            r"\d\d/\d\d/\d{4} [\d:]{8} :: \[quotas\] WARNING: namespace team is throttled by metrics = 2 of \[team\] "
            r"\(.*storage-quotas\.conf:1\); dropped: team\.c",
            line,
        ), line
