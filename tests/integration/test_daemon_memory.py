"""Whoever sends ever-new bytes gets no memory for them: the daemon as a process, `make soak` with more of the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.floods import MODES, MOST_GROWTH, daemon_that, growths

POINTS = 9000
"""At 3,900 bytes a spelling, more than may be kept if any part keeps them all."""
WARM_UP = 3000


@pytest.mark.parametrize("mode", MODES)
def test_no_flood_takes_memory(tmp_path: Path, mode: str) -> None:
    with daemon_that(mode, tmp_path / "daemon") as daemon:
        taken = dict(growths(daemon, POINTS, WARM_UP))
        assert {flood: mebibytes for flood, mebibytes in taken.items() if mebibytes >= MOST_GROWTH} == {}
        assert daemon.count("series") == 3
