"""Whoever sends ever-new bytes gets no memory for them: a million points of each flood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.floods import MODES, MOST_GROWTH, daemon_that, growths

POINTS = 1_000_000
WARM_UP = 20_000


@pytest.mark.parametrize("mode", MODES)
def test_no_flood_takes_memory(tmp_path: Path, mode: str) -> None:
    with daemon_that(mode, tmp_path / "daemon") as daemon:
        for flood, mebibytes in growths(daemon, POINTS, WARM_UP):
            print(f"a daemon that {mode}, {flood}: {mebibytes} MiB")
            assert mebibytes < MOST_GROWTH, flood
        assert daemon.count("series") == 3
