"""Our scripts are carbon's own as long as no quota says otherwise: same files, points, metrics and commands."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.carbon_daemons import CarbonDaemon, Graphite, many_of, one_each, running
from tests.support.daemon import wait_until

AGGREGATION = "sums.<env>.requests (1) = sum <env>.*.requests\n"
REWRITING = "[pre]\n^old\\. = new.\n[post]\n\\.requests$ = .seen\n"
ROOMY = "[/]\nmetrics = 1,000,000\n\n[*]\nthroughput = 1,000,000\n"
PROGRAMS = ["cache", "relay", "aggregator", "aggregator-cache"]


def make(root: Path, program: str, *, ours: bool, quotas: str | None = None) -> tuple[CarbonDaemon, ...]:
    """A daemon and, where it needs one, the cache that it sends to."""
    graphite = Graphite(root, quotas=quotas, CARBON_METRIC_INTERVAL=1)
    graphite.write("aggregation-rules.conf", AGGREGATION)
    graphite.write("rewrite-rules.conf", REWRITING)
    if program.endswith("cache"):
        return (graphite.daemon(program, ours=ours),)
    store = graphite.daemon("cache", "store", ours=False, CARBON_METRIC_INTERVAL=0)
    return graphite.daemon(program, ours=ours, DESTINATIONS=store.destination), store


def own_names(daemon: CarbonDaemon) -> set[str]:
    """What a daemon tells of itself, ports of destinations left out."""
    own = {name for name in daemon.graphite.own() if name.startswith(daemon.agent)}
    return {name.rpartition(".")[2] for name in own}


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_quotas_and_with_roomy_ones_it_does_all_that_carbons_own_does(tmp_path: Path, program: str) -> None:
    stock, *stores = make(tmp_path / "stock", program, ours=False)
    plain, *more = make(tmp_path / "plain", program, ours=True)
    roomy, *others = make(tmp_path / "roomy", program, ours=True, quotas=ROOMY)
    traffic = [*many_of("a.load", 50), "b.nan nan 1", "not a line at all", f"old.x.requests 3 {int(time.time()) - 10}"]
    with running(*stores, *more, *others, stock, plain, roomy):
        for daemon in (stock, plain, roomy):
            daemon.send(traffic)
            daemon.send(one_each(f"pickled.m{number}" for number in range(20)), by="pickle")
            daemon.send(one_each(f"datagram.m{number}" for number in range(20)), by="udp")
        wait_until(lambda: len(stock.graphite.stored()) >= (43 if "aggregator" in program else 42), lambda: stock.log)
        for ours in (plain, roomy):
            wait_until(partial(same_files, ours, stock), lambda: str(ours.graphite.stored()))  # noqa: B023
            wait_until(partial(same_points, ours, stock, "a.load"), "other points")
        wait_until(lambda: own_names(stock), "no metrics of its own")
        wait_until(lambda: own_names(plain) == own_names(stock), lambda: str(own_names(plain) ^ own_names(stock)))
        wait_until(lambda: own_names(roomy) >= own_names(stock), lambda: str(own_names(stock) - own_names(roomy)))
    assert len(plain.graphite.points("a.load")) == 50
    assert not (plain.graphite.root / "storage" / "quotas").exists()
    assert "[quotas]" not in plain.log


def same_files(one: CarbonDaemon, other: CarbonDaemon) -> bool:
    return one.graphite.stored() == other.graphite.stored()


def same_points(one: CarbonDaemon, other: CarbonDaemon, metric: str) -> bool:
    return one.graphite.points(metric) == other.graphite.points(metric)


EVERY_COMMAND = [["status"], ["stop"], ["--help"], [], ["--config", "nowhere.conf", "start"], ["jump"]]


@pytest.mark.parametrize(
    ("program", "commands"),
    [("cache", EVERY_COMMAND), *((program, [["--help"], ["status"]]) for program in PROGRAMS[1:])],
)
def test_without_quotas_it_takes_the_same_commands(tmp_path: Path, program: str, commands: list[list[str]]) -> None:
    graphite = Graphite(tmp_path / "graphite", DESTINATIONS="127.0.0.1:1:x")
    graphite.write("aggregation-rules.conf", AGGREGATION)
    stock, ours = (graphite.daemon(program, ours=ours) for ours in (False, True))
    for arguments in commands:
        was, found = stock.run(*arguments), ours.run(*arguments)
        assert found.stdout.replace(f"carbonquota-{stock.name}", f"{stock.name}.py") == was.stdout, arguments
        assert found.returncode == was.returncode, arguments
