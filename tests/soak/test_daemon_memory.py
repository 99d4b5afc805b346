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
        taken = growths(daemon, POINTS, WARM_UP)
        print(f"mebibytes taken by a daemon that {mode}: {taken}")
        assert {flood: mebibytes for flood, mebibytes in taken.items() if mebibytes >= MOST_GROWTH} == {}
        assert daemon.count("series") == 3
