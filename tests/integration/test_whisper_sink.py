"""The storing sink with a real disk: files read back by the whisper library, failures that mend, stops and starts."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import whisper

from carbonquota.daemon.settings import Cache, Settings, Whisper
from carbonquota.daemon.whisper import WhisperSink
from carbonquota.errors import QuotaError
from carbonquota.rules import Aggregations, Schemas
from carbonquota.storage.data_directory import LOCK
from carbonquota.testing import ManualClock

NOW = 1_700_000_000
PLAIN = Whisper()
SCHEMAS = Schemas.from_text(
    "[big]\npattern = ^big\nretentions = 1:100000\n[all]\npattern = .\nretentions = 1:100,10:100\n"
)
AGGREGATIONS = Aggregations.from_text("[sum]\npattern = count$\nxFilesFactor = 0\naggregationMethod = sum\n")


class Desk:
    """A sink in a directory, run by `run`, and what it was given."""

    def __init__(
        self, root: Path, store: Whisper = PLAIN, *, leftovers: Path | None = None, max_size: int = 100_000
    ) -> None:
        self.data = root / "whisper"
        self.clock = ManualClock(NOW)
        self.given = 0
        self.rooms: list[threading.Thread] = []
        settings = Settings(whisper=replace(store, data_dir=str(self.data)), cache=Cache(max_size))
        self.sink = WhisperSink(
            settings,
            SCHEMAS,
            AGGREGATIONS,
            on_room=lambda: self.rooms.append(threading.current_thread()),
            clock=self.clock,
            leftovers=str(leftovers) if leftovers else None,
        )

    def run(self, story: Callable[[], Coroutine[Any, Any, None]], patience: float = 20) -> None:
        async def whole() -> None:
            await self.sink.start()
            try:
                await story()
            finally:
                await self.sink.stop(patience)

        asyncio.run(whole())

    def write(self, *lines: str) -> None:
        self.sink.write("".join(f"{line}\n" for line in lines).encode(), len(lines))
        self.given += len(lines)

    def health(self) -> dict[str, int]:
        """What is not 0; everything given is accounted for at each look."""
        found = {f"{sample.stat} {sample.label}".strip(): int(sample.value) for sample in self.sink.health()}
        lost = sum(value for name, value in found.items() if name.startswith("lost "))
        assert self.given == found["stored"] + found["queue_points"] + lost
        return {name: value for name, value in found.items() if value}

    async def until(self, done: Callable[[], bool]) -> None:
        for _ in range(6000):
            if done():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"it never came to it: {self.health()}")

    async def until_stored(self, points: int) -> None:
        await self.until(lambda: self.health().get("stored") == points)

    def values(self, path: str) -> dict[int, float]:
        (first, _, step), found = whisper.fetch(str(self.data / path), NOW - 99, NOW, now=NOW)
        return {first + step * index - NOW: value for index, value in enumerate(found) if value is not None}


def test_points_are_found_in_the_file_of_their_metric(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def story() -> None:
        desk.write(f"a.b 1 {NOW - 2}", f".a..b 2 {NOW - 1}", "a.b 3 -1", f"web.count 5 {NOW}")
        await desk.until_stored(4)

    desk.run(story)
    assert desk.values("a/b.wsp") == {-2: 1.0, -1: 2.0, 0: 3.0}
    assert desk.values("web/count.wsp") == {0: 5.0}
    assert desk.health() == {"stored": 4, "created_files": 2, "sink_up": 1}
    header = whisper.info(str(desk.data / "web/count.wsp"))
    assert (header["aggregationMethod"], header["xFilesFactor"]) == ("sum", 0.0)


@pytest.mark.parametrize("sparse", [False, True])
def test_what_quotas_charge_is_the_size_of_the_file(tmp_path: Path, sparse: bool) -> None:
    desk = Desk(tmp_path, Whisper(sparse_create=sparse))

    async def story() -> None:
        desk.write(f"big.x 1 {NOW}", f"small 1 {NOW}")

    desk.run(story)
    assert (desk.data / "big/x.wsp").stat().st_size == SCHEMAS.size_of("big.x").logical
    assert (desk.data / "small.wsp").stat().st_size == SCHEMAS.size_of("small").logical
    assert ((desk.data / "big/x.wsp").stat().st_blocks < 1000) is sparse


def test_tables_can_be_replaced_while_it_runs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def story() -> None:
        desk.sink.replace(Schemas.from_text("[x]\npattern = .\nretentions = 60:5"), Aggregations())
        desk.write(f"a.count 1 {NOW}")

    desk.run(story)
    header = whisper.info(str(desk.data / "a/count.wsp"))
    assert (header["maxRetention"], header["aggregationMethod"]) == (300, "average")


@pytest.mark.parametrize(
    "name",
    ["../../out", "/etc/out", "a/../../../out", "..", "a.\0b", "~/out", "a;../../x=/../../out", "a;x=../../../out"],
)
def test_no_name_reaches_outside_of_the_data_directory(tmp_path: Path, name: str) -> None:
    desk = Desk(tmp_path / "deep" / "down")

    async def story() -> None:
        desk.write(f"{name} 1 {NOW}", f"good 1 {NOW}")

    desk.run(story)
    health = desk.health()
    assert health["stored"] + health.get("lost name", 0) == 2
    assert desk.values("good.wsp") == {0: 1.0}
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and desk.data not in path.parents]
    assert outside == []


def test_a_file_in_the_place_of_a_directory_stops_that_metric_until_it_is_gone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.data.mkdir()
    (desk.data / "a").write_text("in the way")

    async def story() -> None:
        desk.write(f"a.b 1 {NOW - 1}", f"c.d 1 {NOW}")
        await desk.until(lambda: "sink_errors io" in desk.health())
        await desk.until_stored(1)
        assert desk.sink.is_pending("a.b")
        desk.write(f"a.b 2 {NOW}")
        (desk.data / "a").unlink()
        desk.clock.advance(1)
        await desk.until_stored(3)
        assert not desk.sink.is_pending("a.b")

    desk.run(story)
    assert desk.values("a/b.wsp") == {-1: 1.0, 0: 2.0}
    assert desk.health()["sink_up"] == 1


def test_a_corrupt_file_stops_that_metric_until_it_is_mended(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.data.mkdir()
    (desk.data / "a.wsp").write_bytes(b"rubbish")

    async def story() -> None:
        desk.write(f"a 1 {NOW}", f"b 1 {NOW}")
        await desk.until(lambda: "sink_errors corrupt" in desk.health())
        await desk.until_stored(1)
        (desk.data / "a.wsp").unlink()
        desk.clock.advance(1)
        await desk.until_stored(2)

    desk.run(story)
    assert desk.values("a.wsp") == {0: 1.0}


def _cut_files_short(root: Path) -> None:
    """In a process of its own: the disk takes the beginning of each file only, and then all of it."""
    desk = Desk(root)

    async def story() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        desk.write(f"x 1 {NOW}")
        await desk.until(lambda: "sink_errors disk_full" in desk.health())
        assert list(desk.data.glob("*.wsp")) == []
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        desk.clock.advance(1)
        await desk.until_stored(1)

    desk.run(story)
    assert desk.values("x.wsp") == {0: 1.0}


def test_what_was_kept_comes_back_into_a_smaller_cache(tmp_path: Path) -> None:
    kept = tmp_path / "points"
    kept.write_text("".join(f"m{number} 1 {NOW}\n" for number in range(110_000)))
    desk = Desk(tmp_path, Whisper(max_updates_per_second=1), leftovers=kept, max_size=10)

    async def story() -> None:
        assert "lost full" not in desk.health()
        desk.write(f"m 1 {NOW}")

    desk.given = 110_000
    desk.run(story, patience=0)


def _fill_a_disk(root: Path) -> None:
    """In a process of its own: no file may grow past 100 kB, and then it may."""
    desk = Desk(root)

    async def story() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        desk.write(f"big.x 1 {NOW}", f"small 1 {NOW}")
        await desk.until(lambda: "sink_errors disk_full" in desk.health())
        await desk.until_stored(1)
        assert list((desk.data / "big").iterdir()) == []
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await desk.until(is_stored)

    def is_stored() -> bool:
        desk.clock.advance(1)
        return desk.health().get("stored") == 2

    desk.run(story)
    assert desk.values("big/x.wsp") == {0: 1.0}
    assert desk.health() == {"stored": 2, "created_files": 2, "sink_errors disk_full": 1, "sink_up": 1}


@pytest.mark.parametrize("story", [_fill_a_disk, _cut_files_short])
def test_a_disk_without_room_delays_what_needs_room_until_there_is_some(
    tmp_path: Path, story: Callable[[Path], None]
) -> None:
    code = "import runpy, sys, pathlib; runpy.run_path(sys.argv[1])[sys.argv[3]](pathlib.Path(sys.argv[2]))"
    command = [sys.executable, "-c", code, __file__, str(tmp_path), story.__name__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_cache_makes_senders_wait_and_tells_when_there_is_room(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Whisper(max_updates_per_second=1), max_size=100)

    async def story() -> None:
        desk.write(*(f"m{number} 1 {NOW}" for number in range(100)))
        states = [desk.sink.is_full]
        await desk.until_stored(1)
        for second in range(2, 13):
            desk.clock.advance(1)
            await desk.until_stored(second)
        states.append(desk.sink.is_full)
        await desk.until(lambda: bool(desk.rooms))
        assert states == [True, False]

    desk.run(story)
    assert desk.rooms == [threading.main_thread()]
    assert desk.health()["stored"] == 100


def test_everything_given_is_accounted_for_at_each_moment_of_traffic(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_size=2000)
    desk.data.mkdir()
    (desk.data / "bad").write_text("in the way")

    async def story() -> None:
        for batch in range(150):
            names = [f"m{(batch * 7 + number) % 40}" for number in range(20)]
            desk.write(*(f"{name} 1 {NOW - batch % 90}" for name in [*names, "bad.x", "bad/../y", ".."]))
            desk.health()
            await asyncio.sleep(0)

    desk.run(story)
    health = desk.health()
    assert health["stored"] >= 150 * 20
    assert health["lost name"] >= 150


def test_what_cannot_be_written_in_time_is_kept_and_comes_back(tmp_path: Path) -> None:
    kept = tmp_path / "state" / "points"
    first = Desk(tmp_path, leftovers=kept)
    first.data.mkdir()
    blocked = [first.data / "a", first.data / "_tagged"]
    for path in blocked:
        path.write_text("in the way")

    async def write() -> None:
        first.write(f"a.b 0.1 {NOW - 1}", f"a.b 1e300 {NOW}", f"a.c;y=2;x=1 -3 {NOW}", f"good 1 {NOW}")

    first.run(write)
    assert first.health()["queue_points"] == 3
    assert sorted(kept.read_text().splitlines()) == [
        f"a.b 0.1 {NOW - 1}",
        f"a.b 1e+300 {NOW}",
        f"a.c;x=1;y=2 -3.0 {NOW}",
    ]
    for path in blocked:
        path.unlink()
    second = Desk(tmp_path, leftovers=kept)
    second.given = 3

    async def wait() -> None:
        assert not kept.exists()
        await second.until_stored(3)

    second.run(wait)
    assert second.values("a/b.wsp") == {-1: 0.1, 0: 1e300}
    assert not kept.exists()


def test_an_impatient_stop_keeps_all_that_waits(tmp_path: Path) -> None:
    kept = tmp_path / "points"
    desk = Desk(tmp_path, Whisper(max_updates_per_second=1), leftovers=kept)

    async def story() -> None:
        desk.write(*(f"m{number} 1 {NOW}" for number in range(3000)))

    desk.run(story, patience=0)
    health = desk.health()
    assert health["queue_points"] == len(kept.read_text().splitlines())
    assert health["queue_points"] + health.get("stored", 0) == 3000


@pytest.mark.parametrize("leftovers", [None, "a/file/in/the/way"])
def test_what_can_be_kept_nowhere_is_counted_as_lost(tmp_path: Path, leftovers: str | None) -> None:
    desk = Desk(tmp_path, leftovers=tmp_path / leftovers if leftovers else None)
    desk.data.mkdir()
    (desk.data / "b").write_text("in the way")

    async def story() -> None:
        desk.write(f"b.c 1 {NOW}", f"b.c 2 {NOW}", f"good 1 {NOW}")
        (tmp_path / "a").write_text("in the way")

    desk.run(story)
    assert desk.health()["lost shutdown"] == 2
    assert desk.health()["stored"] == 1


def test_a_damaged_line_of_what_was_kept_costs_that_line_alone(tmp_path: Path) -> None:
    kept = tmp_path / "points"
    kept.write_bytes(b"a 1 %d\n\x00\xff half\nb 2 %d\n" % (NOW, NOW))
    desk = Desk(tmp_path, leftovers=kept)
    desk.given = 3

    async def story() -> None:
        await desk.until_stored(2)

    desk.run(story)
    assert desk.health()["lost malformed"] == 1


def refusal(desk: Desk) -> str:
    with pytest.raises(QuotaError) as caught:
        asyncio.run(desk.sink.start())
    return str(caught.value)


def test_a_data_directory_that_cannot_be_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "whisper").write_text("in the way")
    assert refusal(Desk(tmp_path)) == (
        f"{tmp_path}/whisper: no directory to keep Whisper files in: file exists; set data-dir in [whisper] to a "
        "directory that the user this program runs as can write to"
    )
    assert "not a directory" in refusal(Desk(tmp_path / "whisper"))


def test_kept_points_that_cannot_be_read_are_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "points").mkdir()
    assert refusal(Desk(tmp_path, leftovers=tmp_path / "points")) == (
        f"{tmp_path}/points: the points kept at the last stop cannot be read: is a directory; let the user that this "
        "program runs as read and remove it, or move it away"
    )


def test_a_start_leaves_nothing_but_its_lock_in_the_data_directory(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def story() -> None:
        assert [path.name for path in desk.data.iterdir()] == [LOCK]

    desk.run(story)
    assert [path.name for path in desk.data.iterdir()] == [LOCK]
