"""A store, the way to it and its nodes fail for five seconds each, with both settings for an outage; and a failover."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cluster_chaos import check_nodes_under_failures
from tests.integration.test_cluster_daemons import Collector
from tests.integration.test_cluster_topologies import check_daemons, check_failover
from tests.support.valkey_topologies import watched_by_a_sentinel


@pytest.mark.parametrize("on_outage", ["share", "reject"])
def test_pauses_of_five_seconds_pass_no_limit(tmp_path: Path, on_outage: str) -> None:
    collector = Collector()
    try:
        check_nodes_under_failures(tmp_path, collector, on_outage, lasting=5.0)
    finally:
        collector.close()


def test_a_replica_that_knows_nothing_and_takes_over_gives_nothing_twice(tmp_path: Path) -> None:
    check_failover(tmp_path, empties=True)


def test_three_daemons_pass_no_limit_by_one_while_a_sentinel_fails_over(tmp_path: Path) -> None:
    with watched_by_a_sentinel(tmp_path / "store") as watched:
        check_daemons(tmp_path, watched.url, watched.kill_the_master)
