"""State kept and restored by the real engine: restarts, generations, locks, health."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from carbonquota.errors import QuotaError
from carbonquota.service.state import StateKeeper, keeper, snapshot
from carbonquota.testing import ManualClock
from tests.support.state import NOW, OTHER, SIZE, life, new_engine, restored


def files(directory: Path) -> list[str]:
    return sorted(re.sub("0{9}", "", path.name) for path in directory.iterdir() if path.name != "lock")


def samples(kept: StateKeeper) -> dict[str, float]:
    return {sample.stat: sample.value for sample in kept.health()}


def test_what_was_flushed_outlives_the_process(tmp_path: Path) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        for name in ("a.came", "a.went", "a.grew", "größe.x;k=v"):
            engine.load(name, SIZE)
        kept.flush()
        engine.forget("a.went")
        engine.load("a.grew", OTHER)
        kept.flush()
        engine.load("a.unflushed", SIZE)
    assert restored(tmp_path) == {"a.came": SIZE, "a.grew": OTHER, "größe.x;k=v": SIZE}


@pytest.mark.parametrize("snapshots", [0, 1, 2, 5])
def test_snapshots_and_journals_together_are_the_whole(tmp_path: Path, snapshots: int) -> None:
    engine, wanted = new_engine(), {}
    with life(tmp_path, engine) as kept:
        for number in range(snapshots):
            engine.load(f"a.m{number}", SIZE)
            kept.snapshot()
        engine.load("a.m0", OTHER)
        engine.load("a.late", SIZE)
        kept.flush()
        wanted = {f"a.m{number}": SIZE for number in range(snapshots)} | {"a.m0": OTHER, "a.late": SIZE}
    assert restored(tmp_path) == wanted
    assert restored(tmp_path) == wanted


def test_a_restart_knows_which_metrics_came_a_short_while_ago(tmp_path: Path) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.old", SIZE)
        kept.snapshot()
        for name in ("a.new", "a.went"):
            engine.load(name, SIZE)
        engine.forget("a.went")
        kept.flush()
    assert journaled(tmp_path) == {b"a.old", b"a.new", b"a.went"}


def test_the_journal_before_the_snapshot_counts_as_well(tmp_path: Path) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.older", SIZE)
        kept.snapshot()
        engine.load("a.old", SIZE)
        kept.flush()
        kept.snapshot()
        engine.load("a.new", SIZE)
        kept.flush()
    assert journaled(tmp_path) == {b"a.old", b"a.new"}


def journaled(directory: Path) -> set[bytes]:
    """What a restart is told of metrics that may have no file."""
    again = StateKeeper(str(directory), new_engine(), ManualClock(NOW))
    told = again.restore().journaled
    again.abandon()
    return set(told)


def test_closing_keeps_everything_and_lets_go(tmp_path: Path) -> None:
    engine = new_engine()
    kept = StateKeeper(str(tmp_path), engine, ManualClock(NOW))
    assert kept.restore().found is False
    engine.load("a.b", SIZE)
    kept.close()
    kept.close()
    kept.flush()
    again = StateKeeper(str(tmp_path), new_engine(), ManualClock(NOW))
    report = again.restore()
    again.close()
    assert (report.found, report.series, report.set_aside) == (True, 1, ())


def test_points_of_the_running_interval_and_usage_are_kept(tmp_path: Path) -> None:
    engine, after = new_engine(), new_engine()
    with life(tmp_path, engine) as kept:
        assert engine.offer("a.b", 7)
        kept.snapshot()
    with life(tmp_path, after):
        assert after.usage("/") == engine.usage("/")
        assert after.usage("/").throughput == 7
        assert after.usage("a").physical_size == 4096


def test_the_time_in_which_the_program_was_down_makes_no_metric_older(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    engine = new_engine(clock, keep_seen=True)
    with life(tmp_path, engine, clock) as kept:
        engine.load("a.b", SIZE)
        clock.advance(60)
        kept.snapshot()
    clock.advance(86_400)
    after = new_engine(clock, keep_seen=True)
    with life(tmp_path, after, clock):
        assert after.expire(clock() - 61) == []
        assert after.expire(clock() - 59) == ["a.b"]


def test_two_snapshots_stay_with_all_that_came_since_the_older_one(tmp_path: Path) -> None:
    with life(tmp_path) as kept:
        for _ in range(4):
            kept.snapshot()
        assert files(tmp_path) == ["journal-003", "journal-004", "snapshot-003", "snapshot-004"]
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} <= {0o640}


def test_changes_reach_the_journal_while_a_snapshot_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, begun, may_end = new_engine(), threading.Event(), threading.Event()
    write = snapshot.write_snapshot

    def slowly(path: Path, content: snapshot.Snapshot) -> None:
        begun.set()
        assert may_end.wait(30)
        write(path, content)

    monkeypatch.setattr(keeper, "write_snapshot", slowly)
    with life(tmp_path, engine) as kept:
        engine.load("a.before", SIZE)
        thread = threading.Thread(target=kept.snapshot)
        thread.start()
        assert begun.wait(30)
        engine.load("a.meanwhile", SIZE)
        engine.forget("a.before")
        kept.flush()
        copy = tmp_path / "killed now"
        copy.mkdir()
        for path in tmp_path.glob("*-*"):
            (copy / path.name).write_bytes(path.read_bytes())
        may_end.set()
        thread.join(30)
    assert restored(copy) == restored(tmp_path) == {"a.meanwhile": SIZE}


def test_a_directory_serves_one_process_at_a_time(tmp_path: Path) -> None:
    with life(tmp_path), pytest.raises(QuotaError) as error:
        StateKeeper(str(tmp_path), new_engine()).restore()
    assert str(error.value) == (
        f"{tmp_path}: another carbonquota with the process number {os.getpid()} keeps its state here; "
        "end it, or give this one a directory of its own"
    )
    assert restored(tmp_path) == {}


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "state"
    with pytest.raises(QuotaError) as error:
        StateKeeper(str(directory), new_engine()).restore()
    assert str(error.value) == (
        f"{directory}: no directory to keep the state in: not a directory; "
        "set directory in [state] to one that the user this program runs as can write to"
    )


def test_its_health_tells_of_snapshots_journal_and_failures(tmp_path: Path) -> None:
    clock, engine = ManualClock(NOW), new_engine()
    with life(tmp_path, engine, clock) as kept:
        assert samples(kept) == {"snapshot_time": 0, "snapshot_seconds": 0, "journal_bytes": 8, "state_errors": 0}
        engine.load("a.b", SIZE)
        clock.advance(5)
        kept.snapshot()
        engine.load("a.c", SIZE)
        kept.flush()
        now = samples(kept)
        assert now["snapshot_time"] == NOW + 5
        assert now["snapshot_seconds"] > 0
        assert now["journal_bytes"] == (tmp_path / "journal-000000000001").stat().st_size > 8
    with life(tmp_path) as kept:
        assert samples(kept)["snapshot_time"] == NOW + 5
