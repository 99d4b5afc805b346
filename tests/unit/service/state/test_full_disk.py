"""Disks that take nothing for a while: nothing is lost that memory can hold, and the rest is made up for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carbonquota.errors import QuotaError
from carbonquota.service.state import StateKeeper, journal, keeper, snapshot
from tests.support.state import SIZE, life, new_engine, restored

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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


def test_a_directory_that_takes_nothing_is_one_clear_error_and_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_disk(monkeypatch), pytest.raises(QuotaError) as error:
        StateKeeper(str(tmp_path), new_engine()).restore()
    assert str(error.value) == f"{tmp_path}: the state cannot be kept here: no space left on device"
    assert restored(tmp_path) == {}
