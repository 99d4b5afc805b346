"""Two real carbon-caches that share limits, in both modes: counted in the Whisper files."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from loopback_ports import free_ports

from tests.support.carbon_daemons import CarbonDaemon, Graphite, one_each, running
from tests.support.daemon import LONG, wait_until
from tests.support.valkey import valkey_server

LIMIT = 40
HEARD = 3.0
"""Seconds after which nodes have heard of each other's points: all counts are told each 2 seconds."""
HELD = 30
RULES = f"[flow.*]\nthroughput = {LIMIT}\n[held.*]\nmetrics = {HELD}\n"


Roots = tuple[Graphite, Graphite]
"""One for each cache, as on two machines: carbon's writer expects to be alone in its directory."""


def stored(roots: Roots, of: str = "flow.") -> int:
    names = set().union(*(root.every_metric() for root in roots))
    return sum(name.startswith(of) for name in names)


def two_roots(folder: Path, interval: int = LONG, **settings: str) -> Roots:
    """The same quotas and settings in both."""
    one, other = (Graphite(folder / name, quotas=RULES, interval=interval, **settings) for name in "ab")
    return one, other


def offer(cache: CarbonDaemon, kind: str, count: int) -> None:
    """A point for each of so many new metrics, decided when this returns."""
    stamp = time.monotonic_ns()
    cache.deliver(one_each(f"flow.a.{kind}{stamp}x{number}" for number in range(count)))


def hold_more_than_the_limit(one: CarbonDaemon, other: CarbonDaemon) -> None:
    """New metrics of which some come to both, then such as come to one alone; points of no limit go on meanwhile."""
    both = [f"held.a.m{number}" for number in range(HELD - 10)]
    for cache in (one, other):
        cache.deliver(one_each([*both, "free.x"]))
    time.sleep(1.0)
    for cache, kind in ((one, "a"), (other, "b")):
        cache.deliver(one_each(f"held.a.{kind}{number}" for number in range(20)))
        time.sleep(1.0)


def first_points_of_idle_namespaces_arrive(cache: CarbonDaemon, root: Graphite, interval: int) -> bool:
    """Whether all first points arrive of namespaces of which nothing was taken, sent while an interval runs."""
    wait_until(lambda: 0.5 < time.time() % interval < interval - 2, "no interval begins")
    stamp = time.monotonic_ns()
    names = [f"flow.i{stamp}n{number}.m{place}" for number in range(10) for place in range(4)]
    cache.deliver(one_each(names))
    with suppress(AssertionError):
        wait_until(lambda: set(names) <= root.every_metric(), "", patience=2)
        return True
    return False


def test_what_one_accepts_is_left_to_it_by_the_other(tmp_path: Path) -> None:
    first, second = free_ports(2)
    roots = two_roots(
        tmp_path,
        QUOTA_CLUSTER_MODE="sync",
        QUOTA_CLUSTER_SYNC_INTERVAL="0.05",
        QUOTA_CLUSTER_PEERS=f"127.0.0.1:{first}, 127.0.0.1:{second}",
    )
    daemons = [
        root.daemon(instance=name, QUOTA_CLUSTER_LISTEN=f"127.0.0.1:{port}")
        for root, name, port in zip(roots, "ab", (first, second), strict=True)
    ]
    with running(*daemons) as (one, other):
        offer(other, "b", 1)
        offer(one, "a", LIMIT - 11)
        time.sleep(HEARD)
        offer(other, "b", LIMIT)
        wait_until(lambda: stored(roots) >= LIMIT, lambda: f"{stored(roots)}: {one.log} {other.log}")
        time.sleep(HEARD)
        offer(one, "a", 10)
        assert stored(roots) == LIMIT
        hold_more_than_the_limit(one, other)
        wait_until(lambda: stored(roots, "held.") >= HELD, lambda: f"{one.log} {other.log}")
        time.sleep(0.5)
        assert stored(roots, "held.") == HELD


def test_slices_of_a_store_let_in_no_point_over_the_limit(tmp_path: Path) -> None:
    interval = 5
    with valkey_server(tmp_path / "valkey") as server:
        roots = two_roots(
            tmp_path,
            interval=interval,
            QUOTA_CLUSTER_MODE="slices",
            QUOTA_CLUSTER_SYNC_INTERVAL="0.05",
            QUOTA_CLUSTER_STORE=server.url,
        )
        daemons = [root.daemon(instance=name) for root, name in zip(roots, "ab", strict=True)]
        with running(*daemons) as (one, other):
            begun = time.time() // interval
            # The store gives nothing of the interval in which it started, so this goes on into the next.
            offered, deadline = 0, time.monotonic() + 6 * interval
            while stored(roots) < LIMIT and time.monotonic() < deadline:
                offer(one, "a", 10)
                offer(other, "b", 10)
                offered += 20
                time.sleep(0.1)
            intervals = time.time() // interval - begun + 1
            assert LIMIT <= stored(roots) <= intervals * LIMIT
            # A machine under load may take longer than points are held back: then other namespaces are tried.
            assert any(first_points_of_idle_namespaces_arrive(one, roots[0], interval) for _ in range(4)), one.log
            hold_more_than_the_limit(one, other)
            wait_until(lambda: stored(roots, "held.") >= HELD, lambda: f"{one.log} {other.log}")
            time.sleep(0.5)
            assert stored(roots, "held.") == HELD
        assert offered > LIMIT
