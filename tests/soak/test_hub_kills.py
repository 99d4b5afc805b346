"""kill -9 of servers of the quota service at random moments: no quota is passed, and nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.lengths import length
from tests.support.hub import new_postgres_database, postgres_server
from tests.support.hub_kills import KilledHubs
from tests.support.valkey import valkey_server

KILLS = length("HUB_KILLS", 100)


@pytest.mark.parametrize("where", ["sqlite", "few held", "postgres", "store"])
def test_no_kill_passes_a_quota_or_loses_what_was_acknowledged(tmp_path: Path, where: str) -> None:
    with postgres_server() as postgres, valkey_server(tmp_path / "valkey") as valkey:
        arguments = {
            "sqlite": (),
            # Of two customers that are asked for all the while one is in memory.
            "few held": ("--customers-in-memory", "1"),
            "postgres": ("--database", new_postgres_database(postgres)),
            "store": ("--database", new_postgres_database(postgres), "--store", valkey.url),
        }[where]
        hubs = KilledHubs(tmp_path, 3, *arguments)
        try:
            hubs.start()
            for _ in range(KILLS):
                hubs.kill_one()
            hubs.fill()
            hubs.check()
        finally:
            hubs.end()
        assert "Traceback" not in hubs.servers[0].log
