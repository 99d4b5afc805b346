"""What carbon's settings tell of the daemon that quotas are kept in."""

from __future__ import annotations

from typing import Any

import pytest
from carbon.conf import Settings

from carbonquota.plugins.settings import CarbonHost, read_host


def host(program: str, **values: object) -> CarbonHost:
    carbons: dict[str, Any] = {
        **Settings(),
        "program": program,
        "instance": "a",
        "CONF_DIR": "/conf",
        "LOCAL_DATA_DIR": "/data",
        **values,
    }
    return read_host(carbons, "web1_example_com")


@pytest.mark.parametrize(
    ("program", "prefix", "data_dir"),
    [
        ("carbon-cache", "carbon.agents.web1_example_com-a", "/data"),
        ("carbon-aggregator-cache", "carbon.agents.web1_example_com-a", "/data"),
        ("carbon-aggregator", "carbon.aggregator.web1_example_com-a", ""),
        ("carbon-relay", "carbon.relays.web1_example_com-a", ""),
    ],
)
def test_stats_go_where_those_of_the_program_go_and_only_what_stores_has_a_tree(
    program: str, prefix: str, data_dir: str
) -> None:
    found = host(program)
    assert (found.stats_prefix, found.data_dir, found.stores) == (prefix, data_dir, bool(data_dir))
    assert found.aggregates is program.startswith("carbon-aggregator")


@pytest.mark.parametrize(
    ("values", "prefix"),
    [
        ({"instance": "b"}, "carbon.agents.web1_example_com-b"),
        ({"instance": None}, "carbon.agents.web1_example_com"),
        ({"CARBON_METRIC_PREFIX": "graphite.carbon"}, "graphite.carbon.agents.web1_example_com-a"),
    ],
)
def test_the_prefix_follows_carbons_settings(values: dict[str, object], prefix: str) -> None:
    assert host("carbon-cache", **values).stats_prefix == prefix


@pytest.mark.parametrize(
    ("metric", "own"),
    [
        ("carbon.agents.web1_example_com-a.cache.size", True),
        ("carbon.agents.web1_example_com-b.quota.metrics.root", True),
        ("carbon.agents.web1_example_com.cpuUsage", True),
        ("carbon.agents.web2_example_com-a.cache.size", False),
        ("carbon.relays.web1_example_com-a.metricsReceived", False),
        ("servers.web1.cpu", False),
    ],
)
def test_the_stats_of_all_that_store_on_this_machine_are_carbons_own(metric: str, own: bool) -> None:
    assert metric.startswith(host("carbon-cache").own_prefixes) is own


def test_another_database_than_whisper_has_no_files_to_scan() -> None:
    assert host("carbon-cache", DATABASE="ceres").data_dir == ""


def test_new_files_take_the_room_and_the_names_that_carbon_gives_them() -> None:
    assert (host("carbon-cache").sparse, host("carbon-cache").hashes_tags) == (False, True)
    other = host("carbon-cache", WHISPER_SPARSE_CREATE=True, TAG_HASH_FILENAMES=False)
    assert (other.sparse, other.hashes_tags) == (True, False)
    assert other.schemas_file == "/conf/storage-schemas.conf"
