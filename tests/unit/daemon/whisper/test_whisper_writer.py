"""The writer, step by step: its order, paces, rests and retries, with a store that fails as told."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable

import pytest
import whisper

from carbonquota.daemon.whisper.cache import WriteCache
from carbonquota.daemon.whisper.failures import CreationError
from carbonquota.daemon.whisper.pace import WritePace
from carbonquota.daemon.whisper.points import Point, read_points
from carbonquota.daemon.whisper.writer import Writer
from carbonquota.service.losses import RECENT
from carbonquota.testing import ManualClock


class Disk:
    """A store in memory: `broken` metrics fail with that error, and `full` fails whatever needs room."""

    def __init__(self) -> None:
        self.files: dict[str, list[Point]] = {}
        self.broken: dict[str, Exception] = {}
        self.full = False
        self.keeps_from = 0
        self.tries = 0

    def path(self, metric: str) -> str:
        return f"/data/{metric}.wsp"

    def update(self, metric: str, points: Iterable[Point]) -> int:
        self.tries += 1
        if metric in self.broken:
            raise self.broken[metric]
        points = list(points)
        kept = [point for point in points if point[0] >= self.keeps_from]
        self.files[metric] = self._found(metric) + kept
        return len(points) - len(kept)

    def is_worth_a_file(self, metric: str, points: Iterable[Point]) -> bool:
        return any(timestamp >= self.keeps_from for timestamp, _ in points)

    def _found(self, metric: str) -> list[Point]:
        if metric not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file")
        if self.full and metric.startswith("sparse"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.files[metric]

    def create(self, metric: str) -> None:
        if self.full:
            raise CreationError(metric) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.files[metric] = []


class Desk:
    """A writer with all it needs."""

    def __init__(self, updates: float = 0, creates: float = 0, max_size: int = 1000) -> None:
        self.clock = ManualClock(1000)
        self.disk = Disk()
        self.cache = WriteCache(max_size, lambda metric: metric, lambda: None)
        paces = WritePace(updates, self.clock), WritePace(creates, self.clock)
        self.unstored: list[str] = []
        self.writer = Writer(self.cache, self.disk, *paces, self.clock, self.unstored.append)

    def add(self, *names: str) -> None:
        self.cache.add(read_points("".join(f"{name} 1 60\n" for name in names).encode(), len(names), 0))

    def steps(self) -> int:
        done = 0
        while self.writer.step() and done < 1000:
            done += 1
        return done

    @property
    def stored(self) -> dict[str, int]:
        return {name: len(points) for name, points in self.disk.files.items() if points}

    def health(self) -> dict[str, float]:
        return {
            f"{sample.stat} {sample.label}".strip(): sample.value for sample in self.writer.health() if sample.value
        }


def test_the_metric_with_most_points_goes_first() -> None:
    desk = Desk()
    desk.add("a", "b", "b", "c", "c", "c")
    desk.writer.step()
    assert desk.stored == {"c": 3}
    desk.steps()
    assert list(desk.stored) == ["c", "b", "a"]
    assert desk.health() == {"created_files": 3, "sink_up": 1}


def test_updates_keep_their_pace() -> None:
    desk = Desk(updates=2)
    desk.add("a", "b", "c", "d", "e")
    counts = []
    for _ in range(4):
        counts.append(desk.steps())
        desk.clock.advance(1)
    assert counts == [2, 2, 1, 0]


def test_creations_past_their_pace_wait_and_known_files_go_on() -> None:
    desk = Desk(creates=1)
    desk.disk.files["known"] = []
    desk.add("a", "b", "c", "known")
    desk.steps()
    assert len(desk.stored) == 2
    assert desk.stored["known"] == 1
    desk.add("a", "b", "c", "known")
    desk.steps()
    assert desk.stored["known"] == 2
    created = []
    for _ in range(3):
        desk.clock.advance(1)
        desk.steps()
        created.append(len(desk.stored))
    assert created == [3, 4, 4]
    assert set(desk.stored.values()) == {2}
    assert desk.cache.counts().queued == 0


def test_points_wait_for_their_file_as_long_as_the_cache_has_room() -> None:
    desk = Desk(creates=1, max_size=100)
    desk.add("x")
    desk.steps()
    for number in range(9):
        desk.add(*[f"new{number}"] * 11)
        desk.steps()
    counts = desk.cache.counts()
    assert (counts.queued, counts.lost, desk.cache.is_full) == (99, {}, False)
    for _ in range(9):
        desk.clock.advance(1)
        desk.steps()
    assert desk.stored == {"x": 1} | {f"new{number}": 11 for number in range(9)}


def test_in_a_full_cache_the_newest_of_those_that_wait_for_their_file_make_room_for_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(creates=1, max_size=100)
    desk.add("known")
    desk.steps()
    for number in range(30):
        desk.add(*[f"new{number}"] * 10, "known")
        desk.steps()
    counts = desk.cache.counts()
    assert desk.stored == {"known": 31}
    assert 75 <= counts.queued < 100
    assert counts.lost == {"creates": 300 - counts.queued}
    assert not desk.cache.is_full
    desk.writer.tell_losses()
    (told,) = desk.writer.troubles
    assert told.startswith(f"{300 - counts.queued} accepted points were lost: their file was not made yet")
    assert "(creates, such as of new" in told
    assert len(caplog.records) == 1
    assert "raise max-creates-per-second in [whisper], or max-size in [cache]" in caplog.messages[0]
    desk.clock.advance(RECENT)
    assert desk.writer.troubles == ()
    for _ in range(10):
        desk.clock.advance(1)
        desk.steps()
    assert [desk.stored.get(f"new{number}") for number in range(8)] == [10] * 8


def test_on_a_full_disk_points_wait_up_to_the_size_of_the_cache_and_are_lost_for_that_reason() -> None:
    desk = Desk(max_size=100)
    desk.disk.full = True
    for number in range(99):
        desk.add(f"new{number}")
        desk.steps()
    assert (desk.cache.counts().queued, desk.cache.counts().lost) == (99, {})
    assert desk.writer.troubles == ("no space left on device; make room on the disk",)
    assert "sink_up" not in desk.health()
    desk.add(*(f"more{number}" for number in range(50)))
    desk.steps()
    counts = desk.cache.counts()
    assert counts.lost == {"disk_full": 149 - counts.queued}
    assert counts.queued >= 75
    desk.disk.full = False
    desk.clock.advance(60)
    desk.steps()
    assert desk.cache.counts().queued == 0
    assert desk.health()["sink_up"] == 1


def test_one_bad_file_is_one_bad_file() -> None:
    desk = Desk()
    desk.disk.broken["a"] = whisper.CorruptWhisperFile("the file is empty", "/data/a.wsp")
    desk.add("a")
    desk.steps()
    cause = "not a whole Whisper file: the file is empty; mend the file, or move it away and a new one is made"
    assert desk.health()["sink_up"] == 1
    assert desk.writer.troubles == (f"1 Whisper file cannot be written, such as /data/a.wsp: {cause}",)
    del desk.disk.broken["a"]
    desk.clock.advance(1)
    desk.steps()
    assert not desk.writer.troubles


def test_points_outside_of_the_retention_make_no_file_and_are_told() -> None:
    desk = Desk(creates=1)
    desk.disk.keeps_from = 100
    desk.disk.files["known"] = []
    desk.add("old", "known")
    desk.steps()
    assert set(desk.disk.files) == {"known"}
    assert (desk.cache.counts().queued, desk.cache.counts().lost) == (0, {"retention": 2})
    assert desk.unstored == ["old"]
    desk.writer.tell_losses()
    assert "2 accepted points were lost: they are older, or further ahead" in desk.writer.troubles[0]


def test_a_metric_that_fails_is_tried_again_after_1_2_4_seconds_and_the_others_go_on() -> None:
    desk = Desk()
    desk.disk.broken["a"] = OSError(errno.EIO, "Input/output error")
    desk.add("a", "b")
    desk.steps()
    assert desk.stored == {"b": 1}
    tried = []
    for second in range(1, 16):
        desk.clock.advance(1)
        desk.add("a")
        if desk.steps():
            tried.append(second)
    assert tried == [1, 3, 7, 15]
    assert desk.health() == {"created_files": 1, "sink_errors io": 5}
    del desk.disk.broken["a"]
    desk.clock.advance(16)
    desk.steps()
    assert desk.stored == {"b": 1, "a": 16}
    assert desk.health()["sink_up"] == 1


def test_a_full_disk_stops_creations_as_a_whole_and_no_known_file() -> None:
    desk = Desk()
    desk.disk.files = {f"known{number}": [] for number in range(5)}
    desk.disk.full = True
    desk.add(*(f"new{number}" for number in range(50)), *desk.disk.files)
    desk.steps()
    assert len(desk.stored) == 5
    assert desk.health()["sink_errors disk_full"] == 1
    for _ in range(63):
        desk.clock.advance(1)
        desk.steps()
    assert desk.health()["sink_errors disk_full"] == 7
    desk.disk.full = False
    desk.clock.advance(60)
    desk.steps()
    assert len(desk.stored) == 55
    assert desk.cache.counts().lost == {}


def test_a_full_disk_that_takes_no_update_is_not_tried_all_the_time() -> None:
    desk = Desk()
    desk.disk.files = {f"sparse{number}": [] for number in range(500)}
    desk.disk.full = True
    desk.add(*desk.disk.files)
    for _ in range(130):
        desk.steps()
        desk.clock.advance(1)
    assert desk.disk.tries < 20
    desk.disk.full = False
    for _ in range(3):
        desk.clock.advance(60)
        desk.steps()
    assert len(desk.stored) == 500
    assert desk.cache.counts().lost == {}


def test_a_metric_that_can_never_be_written_fills_no_cache() -> None:
    desk = Desk(max_size=1000)
    desk.disk.broken["a"] = PermissionError(errno.EACCES, "Permission denied")
    for _ in range(50):
        desk.add(*["a"] * 100, "b")
        desk.steps()
    counts = desk.cache.counts()
    assert (counts.queued, counts.stored, counts.lost) == (100, 50, {"unwritable": 4900})
    assert not desk.cache.is_full


def test_a_bug_in_one_metric_is_counted_and_the_others_go_on() -> None:
    desk = Desk()
    desk.disk.broken["a"] = TypeError("a bug")
    desk.add("a", "b")
    desk.steps()
    assert desk.stored == {"b": 1}
    assert desk.health()["internal_errors whisper"] == 1


def test_failures_are_logged_with_path_and_remedy_at_a_bounded_rate(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    names = [f"m{number}" for number in range(30)]
    desk.disk.broken = {name: PermissionError(errno.EACCES, "Permission denied") for name in names}
    desk.add(*names)
    with caplog.at_level(logging.WARNING):
        desk.steps()
        desk.clock.advance(11)
        desk.steps()
    texts = [record.getMessage() for record in caplog.records]
    advice = "permission denied; let the user that this program runs as write there"
    assert len(texts) == 2
    assert texts[0] == f"cannot write /data/m29.wsp: {advice}"
    assert texts[1].endswith(f".wsp: {advice} (and 29 more since the last such line)")


def test_a_name_too_long_for_the_disk_is_lost_at_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.disk.broken["a"] = CreationError("a")
    desk.disk.broken["a"].__cause__ = OSError(errno.ENAMETOOLONG, "File name too long")
    desk.add("a")
    desk.steps()
    assert desk.cache.counts().lost == {"name": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "no file can be called as the metric a: file name too long"
    ]


def test_a_clock_set_back_keeps_nothing_waiting() -> None:
    desk = Desk()
    desk.disk.broken["a"] = OSError(errno.EIO, "Input/output error")
    desk.add("a")
    desk.steps()
    del desk.disk.broken["a"]
    desk.clock.set(10)
    desk.steps()
    assert desk.stored == {"a": 1}


def test_to_finish_it_ignores_paces_and_tries_what_failed_once_more() -> None:
    desk = Desk(updates=1, creates=1)
    desk.disk.broken = {name: OSError(errno.EIO, "Input/output error") for name in ("bad", "mended")}
    desk.add("bad", "mended")
    for _ in range(2):
        desk.clock.advance(1)
        desk.steps()
    desk.add(*(f"m{number}" for number in range(20)))
    del desk.disk.broken["mended"]
    desk.writer.finish()
    desk.writer.run()
    assert len(desk.stored) == 21
    assert desk.health()["sink_errors io"] == 3
    assert desk.cache.counts().queued == 1


def test_to_finish_on_a_full_disk_it_does_not_try_every_file() -> None:
    desk = Desk()
    desk.disk.files = {f"sparse{number}": [] for number in range(500)}
    desk.disk.full = True
    desk.add(*desk.disk.files)
    desk.writer.finish()
    desk.writer.run()
    assert desk.disk.tries == 8
    assert desk.cache.counts().queued == 500


def test_abandoned_it_ends_with_what_waits_still_waiting() -> None:
    desk = Desk()
    desk.add("a", "b")
    desk.writer.abandon()
    desk.writer.run()
    assert desk.cache.counts().queued == 2
