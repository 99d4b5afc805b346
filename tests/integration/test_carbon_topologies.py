"""Quotas where there is more than one carbon: instances, relays, aggregators."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.carbon_daemons import Graphite, one_each, running
from tests.support.daemon import wait_until

TEN = "[team]\nmetrics = 10\n"


def test_a_second_instance_has_its_own_rules_state_and_stats(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=TEN, interval=1, LOCAL_DATA_DIR=f"{tmp_path}/a")
    graphite.data = tmp_path / "a"
    first = graphite.daemon()
    graphite.write("quotas-b.conf", "[team]\nmetrics = 3\n")
    second = graphite.daemon("cache", "b", QUOTAS_FILE="quotas-b.conf", LOCAL_DATA_DIR=f"{tmp_path}/b")
    other = Graphite(tmp_path / "view")
    other.data = tmp_path / "b"
    with running(first, second):
        for daemon, store in ((first, graphite), (second, other)):
            daemon.deliver(one_each(f"team.m{number}" for number in range(20)), store)
        assert len(graphite.stored()) == 10
        assert len(other.stored()) == 3
        wait_until(lambda: f"{first.agent}.usage.metrics.team" in graphite.own(), lambda: first.log)
        wait_until(lambda: f"{second.agent}.usage.metrics.team" in other.own(), lambda: second.log)
        assert first.agent.endswith("-a")
        assert second.agent.endswith("-b")
    states = {path.name for path in (graphite.root / "storage" / "quotas").iterdir()}
    assert states == {"carbon-cache-a", "carbon-cache-b"}


def test_instances_on_one_data_directory_learn_of_one_another_by_their_scans(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=TEN, QUOTA_SCAN_FREQUENCY=1)
    first, second = graphite.daemon(), graphite.daemon("cache", "b")
    with running(first, second):
        first.deliver(one_each(f"team.first{number}" for number in range(7)))
        wait_until(lambda: re.search(r" [78] metrics found", second.log), lambda: second.log)
        second.deliver(one_each(f"team.second{number}" for number in range(7)))
        assert len([name for name in graphite.stored() if name.startswith("team.second")]) == 3


def test_a_relay_in_front_of_two_caches_keeps_the_quotas_of_both(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=f"{TEN}\n[flow]\nthroughput = 40\n")
    stores = [graphite.daemon("cache", name, ours=False) for name in ("x", "y")]
    destinations = ", ".join(store.destination for store in stores)
    with running(*stores, graphite.daemon("relay", DESTINATIONS=destinations)) as (*_, relay):
        relay.deliver(one_each(f"team.m{number}" for number in range(50)))
        relay.deliver(one_each(f"flow.m{number}" for number in range(60)), by="pickle")
        assert {name for name in graphite.stored() if name.startswith("team.")} == {f"team.m{n}" for n in range(10)}
        assert {name for name in graphite.stored() if name.startswith("flow.")} == {f"flow.m{n}" for n in range(40)}
        assert not (graphite.root / "storage" / "quotas" / "carbon-cache-x").exists()


@pytest.mark.parametrize("program", ["aggregator", "aggregator-cache"])
def test_aggregators_count_the_names_that_are_stored(tmp_path: Path, program: str) -> None:
    graphite = Graphite(
        tmp_path / "graphite", quotas="[new]\nmetrics = 5\n\n[sums]\nmetrics = 1\n\n[old]\nmetrics = 1\n"
    )
    graphite.write("rewrite-rules.conf", "[pre]\n^old\\. = new.\n[post]\n_count$ = \n")
    graphite.write("aggregation-rules.conf", "sums.<host>.all (1) = sum new.<host>.*\n")
    store = graphite.daemon("cache", "store", ours=False)
    daemons = [graphite.daemon(program, DESTINATIONS=store.destination)]
    with running(*([store] if program == "aggregator" else []), *daemons) as (*_, aggregator):
        names = [f"old.host{host}.m{number}_count" for host in range(2) for number in range(4)]
        aggregator.deliver(one_each(names))
        assert {name for name in graphite.stored() if not name.startswith("sums.")} == {
            "new.host0.m0", "new.host0.m1", "new.host0.m2", "new.host0.m3", "new.host1.m0",
        }  # fmt: skip
        wait_until(lambda: any(name.startswith("sums.") for name in graphite.stored()), lambda: aggregator.log)
        wait_until(lambda: "throttled by metrics = 1 of [sums]" in aggregator.log, lambda: aggregator.log)
        assert len([name for name in graphite.stored() if name.startswith("sums.")]) == 1
