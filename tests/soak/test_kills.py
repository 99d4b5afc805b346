"""A thousand kills in each mode, with equal recounts: what a killed process let pass never goes over a limit."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.soak.lengths import length
from tests.support.carbon_daemons import CarbonDaemon
from tests.support.daemon import Daemon, wait_until
from tests.support.kills import (
    SHARING,
    by_namespace,
    collector,
    kill_again_and_again,
    plugin,
    relay_daemon,
    store_daemon,
    usage,
)

KILLS = length("KILLS", 1000)
RECOUNTS = 60
"""After so many kills the index is compared with what is there."""
MANY, FEW = 20, 2
"""Names in a burst; each that is stored takes a file."""


def stretches() -> list[range]:
    """The rounds between two recounts."""
    return [range(first, min(first + RECOUNTS, KILLS)) for first in range(0, KILLS, RECOUNTS)]


def test_a_relay_passes_no_metric_too_many_however_often_it_is_killed(tmp_path: Path) -> None:
    limit, full = 1_200, 0
    with collector() as there:
        daemon = relay_daemon(tmp_path / "daemon", there, limit)
        try:
            for rounds in stretches():
                kill_again_and_again(rounds, lambda: daemon.start().connect(), daemon.kill, burst=MANY)
                known = usage(daemon.start(), rounds)
                daemon.kill()
                came = by_namespace(there.names())
                assert all(came[name] <= metrics <= limit for name, metrics in known.items())
                full += sum(metrics == limit for metrics in known.values())
        finally:
            daemon.kill()
        came = by_namespace(there.names())
        print(f"{KILLS} kills, {full} of {len(came)} namespaces full, {came.total()} metrics passed on")
        assert set(came.values()) <= set(range(limit + 1))
        assert full > len(came) // 2, "the limits are too high to be reached"


def test_a_store_makes_no_file_too_many_however_often_it_is_killed(tmp_path: Path) -> None:
    limit = 120
    daemon = store_daemon(tmp_path / "daemon", limit)
    try:
        for rounds in stretches():
            kill_again_and_again(rounds, lambda: daemon.start().connect(), daemon.kill, burst=FEW)
            daemon.start()
            wait_until(partial(is_recounted, daemon, rounds), lambda: daemon.log)
            none_has_too_many(by_namespace(daemon.stored()), limit)
            daemon.kill()
    finally:
        daemon.kill()
    mostly_full(by_namespace(daemon.stored()), limit)


@pytest.mark.parametrize("program", ["cache"])
def test_a_carbon_makes_no_file_too_many_however_often_it_is_killed(tmp_path: Path, program: str) -> None:
    limit = 120
    graphite = plugin(tmp_path / "graphite", limit)
    carbon: CarbonDaemon = graphite.daemon(program)
    try:
        for rounds in stretches():
            kill_again_and_again(rounds, lambda: carbon.start().connect(carbon.ports.line), carbon.kill, burst=FEW)
            none_has_too_many(by_namespace(graphite.stored()), limit)
    finally:
        carbon.kill()
    mostly_full(by_namespace(graphite.stored()), limit)


def is_recounted(daemon: Daemon, rounds: range) -> bool:
    """Whether what it knows of these rounds is what lies on disk."""
    known = usage(daemon, rounds)
    stored = by_namespace(daemon.stored())
    return all(stored[name] == metrics for name, metrics in known.items())


def none_has_too_many(stored: Counter[str], limit: int) -> None:
    """No namespace has more files than it may."""
    assert {name: files for name, files in stored.items() if files > limit} == {}


def mostly_full(stored: Counter[str], limit: int) -> None:
    """Most namespaces came so near to their limits that one more round would have gone over."""
    near = sum(files > limit * 3 // 4 for files in stored.values())
    print(f"{KILLS} kills, {near} of {len(stored)} namespaces near their limit, {stored.total()} files")
    assert len(stored) >= KILLS // SHARING - 1
    assert near > len(stored) // 2, "the limits are too high to be reached"
