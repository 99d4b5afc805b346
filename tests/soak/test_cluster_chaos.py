"""A store, the way to it and its nodes fail for five seconds each, in both ways of going on without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cluster_chaos import check_nodes_under_failures
from tests.integration.test_cluster_daemons import Collector


@pytest.mark.parametrize("on_outage", ["share", "reject"])
def test_pauses_of_five_seconds_pass_no_limit(tmp_path: Path, on_outage: str) -> None:
    collector = Collector()
    try:
        check_nodes_under_failures(tmp_path, collector, on_outage, lasting=5.0)
    finally:
        collector.close()
