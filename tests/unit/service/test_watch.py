"""Watched files: real ones, changed in every way that editors, operators and Kubernetes change them."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.events import FileSystemEventHandler

from carbonquota.service.checkpoints import checkpoints
from carbonquota.service.settling import SettleTimes, Signature, signatures
from carbonquota.service.watch import FileWatch, WatchPace

PATIENCE = 60.0
EVENTS_ONLY = WatchPace(SettleTimes(quiet=0.02, unfinished=0.02), patrol=1000)


class Changes:
    """What a watch calls: reads the file each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._condition = threading.Condition()
        self.threads: set[str] = set()
        self.seen: list[str | None] = []

    def __call__(self, settled: tuple[Signature, ...]) -> None:
        assert settled == signatures([str(self._path)])
        with self._condition:
            self.seen.append(self._path.read_text() if self._path.exists() else None)
            self.threads.add(threading.current_thread().name)
            self._condition.notify_all()

    def expect(self, content: str | None) -> None:
        """Wait until a call has seen the content; None is no file."""
        with self._condition:
            noticed = self._condition.wait_for(lambda: self.seen[-1:] == [content], PATIENCE)
            assert noticed, f"{content} was not noticed: {self.seen}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "rules.conf").write_text("first")
    return tmp_path / "etc"


@pytest.fixture
def changes(folder: Path) -> Changes:
    return Changes(folder / "rules.conf")


@pytest.fixture
def watch(folder: Path, changes: Changes) -> Iterator[FileWatch]:
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=EVENTS_ONLY)
    watch.start()
    yield watch
    watch.stop()


def write(folder: Path) -> None:
    (folder / "rules.conf").write_text("second")


def rename_over(folder: Path) -> None:
    (folder / "rules.conf~").write_text("second")
    (folder / "rules.conf~").rename(folder / "rules.conf")


def delete(folder: Path) -> None:
    (folder / "rules.conf").unlink()


def rename_directory(folder: Path) -> None:
    (folder.parent / "new").mkdir()
    (folder.parent / "new" / "rules.conf").write_text("second")
    folder.rename(folder.parent / "old")
    (folder.parent / "new").rename(folder)


def replace_by_link(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text("second")
    delete(folder)
    (folder / "rules.conf").symlink_to("../elsewhere")


@pytest.mark.parametrize("change", [write, rename_over, delete, rename_directory, replace_by_link])
def test_a_change_is_noticed_and_so_is_the_next_one(
    folder: Path, watch: FileWatch, changes: Changes, change: Callable[[Path], None]
) -> None:
    change(folder)
    changes.expect(None if change is delete else "second")
    (folder / "rules.conf").write_text("third")
    changes.expect("third")
    assert changes.threads == {"carbonquota-watch"}


def test_what_is_deleted_and_made_anew_is_noticed(folder: Path, watch: FileWatch, changes: Changes) -> None:
    for number in range(5):
        delete(folder)
        changes.expect(None)
        (folder / "rules.conf").write_text(f"again {number}")
        changes.expect(f"again {number}")
        shutil.rmtree(folder)
        changes.expect(None)
        folder.mkdir()
        (folder / "rules.conf").write_text(f"and again {number}")
        changes.expect(f"and again {number}")


def test_a_directory_that_does_not_exist_yet_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "rules.conf"
    changes = Changes(path)
    watch = FileWatch([str(path)], changes, pace=EVENTS_ONLY)
    watch.start()
    try:
        path.parent.mkdir(parents=True)
        path.write_text("there")
        changes.expect("there")
    finally:
        watch.stop()


def mount(volume: Path, version: str, content: str) -> None:
    """Put a new version of a volume in place as Kubernetes does: a directory, and a link that is renamed over."""
    (volume / version).mkdir()
    (volume / version / "rules.conf").write_text(content)
    (volume / "..data_tmp").symlink_to(version)
    (volume / "..data_tmp").rename(volume / "..data")


def test_a_volume_swapped_by_kubernetes_is_noticed(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "rules.conf")
    mount(tmp_path, "..2024_01", "first")
    (tmp_path / "rules.conf").symlink_to("..data/rules.conf")
    watch = FileWatch([str(tmp_path / "rules.conf")], changes, pace=EVENTS_ONLY)
    watch.start()
    try:
        for number in range(2, 5):
            mount(tmp_path, f"..2024_0{number}", f"version {number}")
            shutil.rmtree(tmp_path / f"..2024_0{number - 1}")
            changes.expect(f"version {number}")
    finally:
        watch.stop()


def test_what_says_the_same_is_no_change(folder: Path, watch: FileWatch, changes: Changes) -> None:
    (folder / "other.conf").write_text("not watched")
    (folder / "rules.conf").touch()
    os.link(folder / "rules.conf", folder / "same")
    (folder / "same").rename(folder / "rules.conf")
    # Whatever these told comes before what the next change tells.
    write(folder)
    changes.expect("second")
    assert changes.seen == ["second"]


def test_a_change_between_making_and_starting_the_watch_is_noticed(folder: Path, changes: Changes) -> None:
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=EVENTS_ONLY)
    write(folder)
    watch.start()
    try:
        changes.expect("second")
    finally:
        watch.stop()


@pytest.fixture
def unhurried(folder: Path, changes: Changes) -> Iterator[FileWatch]:
    """A watch that waits so long for a file written in place that no test could wait for it."""
    pace = WatchPace(SettleTimes(quiet=1000, unfinished=1000, held=1000), patrol=1000)
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=pace)
    watch.start()
    yield watch
    watch.stop()


def test_what_is_renamed_into_place_is_taken_at_once(folder: Path, unhurried: FileWatch, changes: Changes) -> None:
    rename_over(folder)
    changes.expect("second")
    (folder / "another").write_text("third")
    (folder / "another").rename(folder / "rules.conf")
    changes.expect("third")


def test_a_file_written_in_parts_is_taken_when_it_is_closed(folder: Path, changes: Changes) -> None:
    watch = FileWatch(
        [str(folder / "rules.conf")], changes, pace=WatchPace(SettleTimes(quiet=0.05, held=1000), patrol=0.05)
    )
    watch.start()
    try:
        with (folder / "rules.conf").open("w") as file:
            for part in ("[team.*]\n", "metrics = 1", "000\n", "[other]\n"):
                file.write(part)
                file.flush()
                time.sleep(0.2)
        changes.expect("[team.*]\nmetrics = 1000\n[other]\n")
        assert len(changes.seen) == 1
    finally:
        watch.stop()


def test_a_line_without_an_end_is_waited_for(folder: Path, changes: Changes) -> None:
    watch = FileWatch(
        [str(folder / "rules.conf")], changes, pace=WatchPace(SettleTimes(quiet=0.02, unfinished=1000), patrol=0.05)
    )
    watch.start()
    try:
        (folder / "rules.conf").write_text("[team.*]\nmetrics = 1")
        time.sleep(0.2)
        with (folder / "rules.conf").open("a") as file:
            file.write("000\n")
        changes.expect("[team.*]\nmetrics = 1000\n")
        assert len(changes.seen) == 1
    finally:
        watch.stop()


def test_a_file_that_somebody_keeps_open_is_taken_in_the_end(folder: Path, changes: Changes) -> None:
    watch = FileWatch(
        [str(folder / "rules.conf")], changes, pace=WatchPace(SettleTimes(quiet=0.02, held=0.1), patrol=1000)
    )
    watch.start()
    try:
        with (folder / "rules.conf").open("w") as file:
            file.write("second\n")
            file.flush()
            changes.expect("second\n")
    finally:
        watch.stop()


def test_a_patrol_waits_for_a_file_to_settle_as_well(folder: Path, changes: Changes) -> None:
    pace = WatchPace(SettleTimes(quiet=1.0), patrol=0.02)
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=pace, observer=Deaf)
    watch.start()
    try:
        for number in range(10):
            (folder / "rules.conf").write_text(f"{number}\n")
            time.sleep(0.05)
        changes.expect("9\n")
        assert changes.seen == ["9\n"]
    finally:
        watch.stop()


def test_it_is_stopped_at_any_time_and_leaves_no_thread(folder: Path, changes: Changes) -> None:
    before = threading.active_count()
    FileWatch([str(folder / "rules.conf")], changes).stop()
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=WatchPace(SettleTimes(quiet=1000, unfinished=1000)))
    watch.start()
    write(folder)
    watch.stop()
    end = time.monotonic() + PATIENCE
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_call_that_fails_is_counted_and_not_the_last(
    folder: Path, changes: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(settled: tuple[Signature, ...]) -> None:
        changes(settled)
        raise RuntimeError("a bug")

    watch = FileWatch([str(folder / "rules.conf")], fail, pace=EVENTS_ONLY)
    watch.start()
    try:
        for content in ("second", "third"):
            (folder / "rules.conf").write_text(content)
            changes.expect(content)
    finally:
        watch.stop()
    assert [(sample.stat, sample.value, sample.label) for sample in watch.health()] == [("internal_errors", 2, "watch")]
    assert "could not be dealt with" in caplog.text


class Deaf:
    """An observer on a file system that tells nothing."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...

    def unschedule_all(self) -> None: ...

    def schedule(self, event_handler: FileSystemEventHandler, path: str) -> object:
        return None


class NoInotify(Deaf):
    """An observer for which the system has no watches left."""

    def schedule(self, event_handler: FileSystemEventHandler, path: str) -> object:
        raise OSError(28, "inotify watch limit reached")


def test_without_watches_the_files_are_looked_at_in_turn(
    folder: Path, changes: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    pace = WatchPace(SettleTimes(quiet=0.01, unfinished=0.01), patrol=1000, blind=0.02)
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=pace, observer=NoInotify)
    watch.start()
    try:
        for content in ("second", "third"):
            (folder / "rules.conf").write_text(content)
            changes.expect(content)
    finally:
        watch.stop()
    assert caplog.record_tuples == [
        (
            "carbonquota.service.watch",
            logging.WARNING,
            "files cannot be watched (inotify watch limit reached): looking every 0.02 s instead",
        )
    ]


def test_a_patrol_notices_what_no_event_tells(folder: Path, changes: Changes) -> None:
    pace = WatchPace(SettleTimes(quiet=0.02, unfinished=0.02), patrol=0.02)
    watch = FileWatch([str(folder / "rules.conf")], changes, pace=pace, observer=Deaf)
    watch.start()
    try:
        write(folder)
        changes.expect("second")
    finally:
        watch.stop()


def test_the_way_to_a_file_has_every_name_looked_up(tmp_path: Path) -> None:
    real = Path(os.path.realpath(tmp_path))
    (real / "a").mkdir()
    (real / "b").mkdir()
    (real / "link").symlink_to("a/../b")
    (real / "b" / "rules.conf").symlink_to(real / "a" / "target")
    names = [
        name for name in checkpoints(str(real / "link" / "rules.conf")) if name.is_relative_to(real) and name != real
    ]
    assert names == [real / "link", real / "a", real / "b", real / "b" / "rules.conf", real / "a" / "target"]


def test_links_that_go_round_end_the_way(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert tmp_path / "two" in checkpoints(str(tmp_path / "one" / "rules.conf"))
