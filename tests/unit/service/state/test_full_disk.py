"""Disks that take nothing for a while: nothing is lost that memory can hold, and the rest is made up for."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carbonquota import QuotaEngine
from carbonquota.errors import QuotaError
from carbonquota.service.state import StateKeeper, files, journal, keeper, snapshot
from carbonquota.testing import ManualClock
from tests.support.daemon import wait_until
from tests.support.state import NOW, SIZE, life, new_engine, restored

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def troubles(kept: StateKeeper) -> list[str]:
    """What it says that cannot be written now."""
    return list(kept.troubles)


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> Iterator[None]:
    """A disk that takes so many bytes of a write, and then no more."""

    def write_all(descriptor: int, content: bytes) -> None:
        os.write(descriptor, content[:after])
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_all", write_all)
        patch.setattr("carbonquota.service.state.files.write_all", write_all)
        yield


@pytest.mark.parametrize("after", [0, 5])
def test_what_a_full_disk_does_not_take_is_written_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, after: int
) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.before", SIZE)
        kept.flush()
        with full_disk(monkeypatch, after=after):
            for name in ("a.b", "a.c"):
                engine.load(name, SIZE)
                kept.flush()
            kept.snapshot()
        assert [trouble.partition(" cannot be written to ")[0] for trouble in kept.troubles] == [
            "the journal",
            "the snapshot",
        ]
        assert {sample.stat: sample.value for sample in kept.health()}["state_errors"] >= 3
        engine.forget("a.b")
        kept.flush()
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in tmp_path.glob("*-*"):
            (copy / path.name).write_bytes(path.read_bytes())
        kept.snapshot()
        assert kept.troubles == ()
        engine.load("a.later", SIZE)
        kept.flush()
    assert set(restored(copy)) == {"a.before", "a.c"}
    assert set(restored(tmp_path)) == {"a.before", "a.c", "a.later"}
    # Each kind of failure is told once, however often it comes.
    assert [message.partition(":")[0] for message in caplog.messages] == [
        f"the journal cannot be written to {tmp_path}",
        f"the snapshot cannot be written to {tmp_path}",
    ]
    assert "no space left on device; new metrics since the last one would be forgotten by a restart" in caplog.text


def test_past_the_bound_of_what_waits_a_snapshot_makes_up_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_MOST_WAITING", 3)
    monkeypatch.setattr(keeper, "_RETRY", 0.0)
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        with full_disk(monkeypatch):
            for number in range(10):
                engine.load(f"a.m{number}", SIZE)
                kept.flush()
        kept.flush()
    assert len(restored(tmp_path)) == 10


def test_a_snapshot_that_fails_leaves_what_there_was_and_can_be_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine()

    def refuse(path: Path, content: snapshot.Snapshot) -> None:
        raise FULL

    with life(tmp_path, engine) as kept:
        for name in ("a.first", "a.second"):
            engine.load(name, SIZE)
            kept.snapshot()
        with monkeypatch.context() as patch:
            patch.setattr(keeper, "write_snapshot", refuse)
            for _ in range(5):
                kept.snapshot()
            engine.load("a.third", SIZE)
            kept.flush()
        # Five attempts made one generation without a snapshot, not five.
        assert {path.name[-3:] for path in tmp_path.glob("journal-*")} == {"001", "002", "003"}
        engine.load("a.fourth", SIZE)
        kept.snapshot()
        assert {path.name[-3:] for path in tmp_path.glob("snapshot-*")} == {"002", "004"}
    assert set(restored(tmp_path)) == {"a.first", "a.second", "a.third", "a.fourth"}


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_full_disk_at_the_start_forgets_nothing_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    monkeypatch.setattr(keeper, "_RETRY_OPEN", 0.0)
    for number in range(before):
        engine = new_engine()
        with life(tmp_path, engine) as kept:
            engine.load(f"a.before-{number}", SIZE)
            kept.snapshot()
    engine = new_engine()
    with life(tmp_path, engine, disk=full_disk(monkeypatch)) as kept:
        assert len(engine) == before
        with full_disk(monkeypatch):
            kept.go_live()
            engine.offer("a.meanwhile")
            kept.write_ahead()
            kept.flush()
        assert len(troubles(kept)) == 1
        kept.flush()
        assert troubles(kept) == []
        engine.offer("a.after")
        kept.write_ahead()
    assert set(restored(tmp_path)) == {"a.meanwhile", "a.after"} | {f"a.before-{number}" for number in range(before)}


def test_a_damaged_journal_on_a_full_disk_is_left_as_it_is_and_gone_on_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.good", SIZE)
        kept.flush()
    path = tmp_path / "journal-000000000000"
    content = path.read_bytes() + b"half a record"
    path.write_bytes(content)
    engine = new_engine()
    with life(tmp_path, engine, disk=full_disk(monkeypatch)):
        assert "a.good" in engine
    assert path.read_bytes() == content
    assert f"{path} is damaged: its last 13 bytes are no whole record; it is left as it is: no space" in caplog.text
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.later", SIZE)
        kept.flush()
    assert set(restored(tmp_path)) == {"a.good", "a.later"}


def test_a_directory_that_is_readable_at_last_is_added_to_what_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_RETRY_OPEN", 0.0)
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.kept", SIZE)
        kept.snapshot()

    def unreadable(directory: Path, now: float) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    after = new_engine()
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "read_state", unreadable)
        kept = StateKeeper(str(tmp_path), after, ManualClock(NOW))
        assert kept.restore().found is False
        kept.go_live()
        after.offer("a.new")
        kept.write_ahead()
        kept.flush()
        assert troubles(kept) == [f"the journal cannot be written to {tmp_path}: input/output error"]
    kept.flush()
    kept.flush()
    assert ("a.kept" in after, "a.new" in after, troubles(kept)) == (True, True, [])
    assert after.usage("a").metrics == 2
    kept.abandon()
    assert set(restored(tmp_path)) == {"a.kept", "a.new"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTDIR, errno.EPERM])
def test_what_only_a_setting_can_mend_is_one_clear_error_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "Journal", refusing(number))
        with pytest.raises(QuotaError) as error:
            StateKeeper(str(tmp_path), new_engine()).restore()
    assert str(error.value) == f"{tmp_path}: the state cannot be kept here: {os.strerror(number).lower()}"
    assert restored(tmp_path) == {}


def refusing(number: int) -> Callable[[Path], None]:
    """A journal that cannot be opened."""

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_sync_that_fails_is_made_up_for_by_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = new_engine()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with life(tmp_path, engine) as kept:
        engine.load("a.b", SIZE)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            kept.flush()
        assert troubles(kept) == [f"the journal cannot be written to {tmp_path}: input/output error"]
        kept.flush()
        assert troubles(kept) == []
        assert list(tmp_path.glob("snapshot-*"))
    assert set(restored(tmp_path)) == {"a.b"}


def test_a_disk_that_hangs_holds_up_the_data_path_once_and_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, may_end, write = new_engine(), threading.Event(), files.write_all
    calls = 0

    def hangs(descriptor: int, content: bytes) -> None:
        nonlocal calls
        calls += 1
        assert may_end.wait(30)
        write(descriptor, content)

    kept = StateKeeper(str(tmp_path), engine, ManualClock(NOW), timeout=0.2)
    kept.restore()
    kept.go_live()
    monkeypatch.setattr(journal, "write_all", hangs)
    began = time.monotonic()
    for number in range(100):
        engine.offer(f"a.m{number}")
        kept.write_ahead()
    assert 0.2 <= time.monotonic() - began < 10
    assert (calls, troubles(kept)) == (1, [f"the disk of {tmp_path} took no new metric within 0.2 s"])
    may_end.set()
    wait_until(lambda: calls_are_over(kept, engine), "the disk goes on")
    assert troubles(kept) == []
    kept.abandon()
    assert len([name for name in restored(tmp_path) if name.startswith("a.m")]) == 100
    assert "those that come meanwhile would be forgotten by a kill" in caplog.text


def calls_are_over(kept: StateKeeper, engine: QuotaEngine) -> bool:
    """Have it written what is left."""
    engine.offer(f"b.{time.monotonic_ns()}")
    kept.write_ahead()
    return not engine.has_changes
