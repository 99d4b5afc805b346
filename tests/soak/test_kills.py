"""A thousand kills in each mode, with equal recounts: what a killed process let pass never goes over a limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak.lengths import length
from tests.support.carbon_daemons import CarbonDaemon
from tests.support.daemon import Daemon, wait_until
from tests.support.kills import collector, kill_again_and_again, plugin, relay_daemon, store_daemon

KILLS = length("KILLS", 1000)
RECOUNTS = 60
"""After so many kills at the most the index is compared with what is there."""


def rounds() -> list[int]:
    """The kills, in stretches between two recounts."""
    whole, rest = divmod(KILLS, RECOUNTS)
    return [RECOUNTS] * whole + [rest] * bool(rest)


def test_a_relay_passes_no_metric_too_many_however_often_it_is_killed(tmp_path: Path) -> None:
    limit, known = 25 * KILLS, 0
    with collector() as there:
        daemon = relay_daemon(tmp_path / "daemon", there, limit)
        try:
            for seed, kills in enumerate(rounds()):
                kill_again_and_again(kills, lambda: daemon.start().connect(), daemon.kill, seed=seed)
                known = usage(daemon.start())
                daemon.kill()
                assert len(there.names()) <= known <= limit
        finally:
            daemon.kill()
        assert known == limit, "the kills were too few to get to the limit"


def test_a_store_makes_no_file_too_many_however_often_it_is_killed(tmp_path: Path) -> None:
    limit = 10 * KILLS
    daemon = store_daemon(tmp_path / "daemon", limit)
    try:
        for seed, kills in enumerate(rounds()):
            kill_again_and_again(kills, lambda: daemon.start().connect(), daemon.kill, seed=seed)
            daemon.start()
            wait_until(equal(daemon), lambda: daemon.log)
            assert len(daemon.stored()) <= limit
            daemon.kill()
    finally:
        daemon.kill()


@pytest.mark.parametrize("program", ["cache"])
def test_a_carbon_makes_no_file_too_many_however_often_it_is_killed(tmp_path: Path, program: str) -> None:
    limit = 5 * KILLS
    graphite = plugin(tmp_path / "graphite", limit)
    carbon: CarbonDaemon = graphite.daemon(program)
    try:
        for seed, kills in enumerate(rounds()):
            kill_again_and_again(kills, lambda: carbon.start().connect(carbon.ports.line), carbon.kill, seed=seed)
            assert len(graphite.stored()) <= limit
    finally:
        carbon.kill()


def usage(daemon: Daemon) -> int:
    """How many metrics it knows."""
    return int(daemon.json("/api/namespaces/")["usage"]["metrics"])


def equal(daemon: Daemon) -> Callable[[], bool]:
    """Whether what it knows is what lies on disk."""
    return lambda: len(daemon.stored()) == usage(daemon)
