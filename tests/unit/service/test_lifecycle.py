"""The order of life that all hosts share: what is restored, scanned, kept and closed, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from carbonquota.engine import QuotaEngine
from carbonquota.service.lifecycle import Lifecycle
from carbonquota.service.periodic_tasks import PeriodicTasks
from carbonquota.service.reporter import Piece
from carbonquota.service.rule_source import RuleFiles
from carbonquota.service.runtime import HostProfile, Runtime
from carbonquota.service.runtime_settings import RuntimeSettings
from carbonquota.service.scan import Tree, at_once
from carbonquota.service.state import StateKeeper
from carbonquota.testing import ManualClock


class OneByOne(PeriodicTasks):
    """Tasks of which none begins by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.names.append(name)
        work.close()

    async def _wait(self, seconds: float) -> bool:
        return False

    def in_thread(self, function: Callable[[], object]) -> Awaitable[object]:
        return asyncio.to_thread(function)

    async def stop(self) -> None:
        """None runs."""


class Host:
    """A host in memory, which is told in `calls` what comes."""

    def __init__(self, folder: Path, settings: RuntimeSettings | None = None) -> None:
        (folder / "whisper").mkdir(exist_ok=True)
        settings = settings or RuntimeSettings(state_dir=str(folder / "state"))
        profile = HostProfile(lambda search: RuleFiles(search=search), "carbon")
        self.runtime = Runtime(settings, profile, ManualClock(1_700_000_000.0))
        self.runtime.scan(Tree(str(folder / "whisper")), at_once)
        self.tasks = OneByOne()
        self.life = Lifecycle(self.runtime, self.tasks, self)
        self.receiving = True

    @property
    def engine(self) -> QuotaEngine:
        return self.runtime.engine

    async def write_stats(self, piece: Piece) -> None:
        """Nobody looks at it."""

    async def stop_receiving(self) -> None:
        self.receiving = False

    async def open(self) -> None:
        self.life.restore()
        if self.life.needs_first_scan:
            await self.life.first_scan()
        self.life.go_live()

    async def close(self) -> None:
        await self.life.end()
        self.life.close_state()


def test_what_was_kept_needs_no_first_scan(tmp_path: Path) -> None:
    async def live() -> None:
        first = Host(tmp_path)
        first.life.restore()
        assert first.life.needs_first_scan
        await first.life.first_scan()
        first.engine.offer("a.b")
        await first.close()
        assert not first.receiving
        second = Host(tmp_path)
        second.life.restore()
        assert (second.life.needs_first_scan, "a.b" in second.engine) == (False, True)
        await second.close()

    asyncio.run(live())


def test_an_index_that_was_never_whole_is_not_kept(tmp_path: Path) -> None:
    async def live() -> None:
        host = Host(tmp_path)
        host.life.restore()
        host.engine.offer("a.b")
        await host.life.keep(StateKeeper.snapshot)
        await host.close()
        after = Host(tmp_path)
        after.life.restore()
        assert (after.life.needs_first_scan, "a.b" in after.engine) == (True, False)
        await after.close()

    asyncio.run(live())


def test_a_scan_that_the_end_overtakes_makes_no_index_whole(tmp_path: Path) -> None:
    async def live() -> None:
        host = Host(tmp_path)
        host.life.restore()
        await host.life.end()
        await host.life.scan()
        host.life.close_state()
        after = Host(tmp_path)
        after.life.restore()
        assert after.life.needs_first_scan
        await after.close()

    asyncio.run(live())


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"state_enabled": False}, ["report", "scan"]),
        ({"series_ttl": 60.0}, ["report", "flush", "snapshot", "scan", "expiry"]),
        ({"scan_frequency": 0.0}, ["report", "flush", "snapshot"]),
    ],
)
def test_only_what_is_asked_for_is_repeated(tmp_path: Path, settings: dict[str, Any], names: list[str]) -> None:
    async def live() -> None:
        host = Host(tmp_path, RuntimeSettings(state_dir=str(tmp_path / "state"), **settings))
        await host.open()
        host.life.begin(scan_at_once=True)
        assert host.tasks.names == names
        await host.close()

    asyncio.run(live())
