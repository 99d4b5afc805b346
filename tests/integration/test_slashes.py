"""Slashes, stray dots and the like go past no quota on the way to a real carbon, and each metric has one file there."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.carbon import carbon_cache
from tests.support.carbon_daemons import Graphite
from tests.support.carbon_daemons import running as running_carbon
from tests.support.daemon import running, wait_until

RULES = "[team.*]\nmetrics = 2\n[team]\nmetrics = 3\n"


def stored(data: Path) -> set[str]:
    """The metrics that carbon has files of, its own left out."""
    return {str(file.relative_to(data)) for file in data.rglob("*.wsp") if file.relative_to(data).parts[0] != "carbon"}


def test_names_with_slashes_pass_a_relay_within_their_quotas(tmp_path: Path) -> None:
    now = int(time.time())
    names = [f"team{'/.'[number % 2]}a/m{number}" for number in range(10)]
    names += ["team/a/m0", "team..a.m0", "team.a.m0.", "~team/a/m0", "/team/a//m0/", "other/x", "other.x;name=y"]
    with (
        carbon_cache(tmp_path / "carbon") as cache,
        running(tmp_path / "daemon", rules=RULES, destination=cache.address.port) as daemon,
    ):
        wait_until(lambda: daemon.count("sink_up") == 1, lambda: daemon.log)
        with daemon.connect() as sender:
            sender.sendall("".join(f"{name}\t1  {now}\n" for name in names).encode())
        counts = daemon.settled(lambda counts: counts.received == len(names) and not counts.waiting)
        assert (counts.dropped, counts.malformed) == (8, 0)
        expected = {"team/a/m0.wsp", "team/a/m1.wsp", "other/x.wsp"}
        wait_until(lambda: stored(cache.data) >= expected, "no files")
        time.sleep(0.5)
        assert stored(cache.data) == expected


def test_names_with_slashes_pass_carbon_with_the_plugin_within_their_quotas(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=RULES)
    now = int(time.time())
    with running_carbon(graphite.daemon()) as (cache,):
        names = [f"team/a/m{number}" for number in range(10)]
        names += ["team.a.m0.", "~team/a/m0", "/team//a.m1/", "other/x", "other.x;name=y"]
        cache.deliver([f"{name} 1 {now}" for name in names])
        cache.deliver([f"other.late 1 {now}000", f"other.{'x' * 252} 1 {now}", f"other.good 1 {now}"])
    assert graphite.stored() == {"team.a.m0", "team.a.m1", "other.x", "other.good"}
    files = {str(file.relative_to(graphite.data)) for file in graphite.data.glob("team/**/*.wsp")}
    assert files == {"team/a/m0.wsp", "team/a/m1.wsp"}
