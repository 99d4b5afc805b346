"""A process killed between any two steps on disk, and one whose disk is too small for half of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from carbonquota import QuotaEngine, Size
from carbonquota.service.state import files, journal
from tests.support.state import OTHER, SIZE, life, new_engine, restored


class Stages:
    """Copies of a directory, taken before and after each step that is done there on disk."""

    def __init__(self, directory: Path, copies: Path, patch: pytest.MonkeyPatch) -> None:
        self.taken: list[Path] = []
        self._directory = directory
        self._copies = copies
        patch.setattr(os, "fsync", self._around(os.fsync))
        patch.setattr(os, "ftruncate", self._around(os.ftruncate))
        patch.setattr(Path, "rename", self._around(Path.rename))
        patch.setattr(Path, "unlink", self._around(Path.unlink))
        written = self._around(files.write_all)
        patch.setattr(files, "write_all", written)
        patch.setattr(journal, "write_all", written)

    def _around(self, step: Callable[..., object]) -> Callable[..., object]:
        def done(*arguments: object, **options: object) -> object:
            self._copy()
            result = step(*arguments, **options)
            self._copy()
            return result

        return done

    def _copy(self) -> None:
        copy = self._copies / str(len(self.taken))
        shutil.copytree(self._directory, copy)
        self.taken.append(copy)


def prepare(engine: QuotaEngine, snapshots: int, flush: Callable[[], None], snapshot: Callable[[], None]) -> None:
    """What is safe already when the steps begin to be watched."""
    for number in range(snapshots):
        engine.load(f"a.m{number}", SIZE)
        snapshot()
    engine.load("a.went", SIZE)
    engine.load("a.grew", SIZE)
    flush()


@pytest.mark.parametrize("snapshots", [0, 1, 2])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_kill_between_any_two_steps_of_a_snapshot_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshots: int, damaged: bool
) -> None:
    directory, copies, engine = tmp_path / "state", tmp_path / "copies", new_engine()
    copies.mkdir()
    with life(directory, engine) as kept:
        prepare(engine, snapshots, kept.flush, kept.snapshot)
        before = restored_copy(directory, tmp_path / "before")
        engine.forget("a.went")
        engine.load("a.grew", OTHER)
        engine.load("a.came", SIZE)
        with monkeypatch.context() as patch:
            stages = Stages(directory, copies, patch)
            kept.snapshot()
    after = {f"a.m{number}": SIZE for number in range(snapshots)} | {"a.grew": OTHER, "a.came": SIZE}
    assert len(stages.taken) > 10
    found = []
    for copy in stages.taken:
        if damaged and (newest := sorted(copy.glob("snapshot-????????????"))):
            os.truncate(newest[-1], 5)
        found.append(restored(copy))
        goes_on(copy, found[-1])
    assert all(state in (before, after) for state in found)
    # Once it lasts, it lasts.
    assert found == sorted(found, key=lambda state: state == after)
    assert found[-1] == after


def restored_copy(directory: Path, copy: Path) -> dict[str, Size]:
    """What a kill at this moment would leave."""
    shutil.copytree(directory, copy)
    return restored(copy)


def goes_on(directory: Path, held: dict[str, Size]) -> None:
    """A second life after the kill keeps what the first one left, with two snapshots at most, and nothing half."""
    engine = new_engine()
    with life(directory, engine) as kept:
        engine.load("b.second", SIZE)
        kept.flush()
        kept.snapshot()
        engine.load("b.third", SIZE)
        kept.snapshot()
    assert restored(directory) == held | {"b.second": SIZE, "b.third": SIZE}
    assert len(list(directory.glob("snapshot-????????????"))) == 2
    assert not list(directory.glob("*.partial"))
    os.truncate(max(directory.glob("snapshot-????????????")), 5)
    assert restored(directory) == held | {"b.second": SIZE, "b.third": SIZE}


CHILD = """
import os, resource, sys
from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.service.state import StateKeeper

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def disk(length):
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))

def errors():
    return next(sample.value for sample in keeper.health() if sample.stat == "state_errors")

engine = QuotaEngine(RuleSet.from_text(""), size_of=lambda _: Size(10, 4096, 3), record_changes=True)
keeper = StateKeeper(sys.argv[1], engine)
disk(int(sys.argv[2]))
keeper.restore()
for number in range(40):
    engine.offer(f"full.m{number}")
    keeper.flush()
    if number % 8 == 0:
        keeper.snapshot()
print(errors() > 0, flush=True)
if sys.argv[3] == "grows":
    disk(hard)
    engine.offer("full.last")
    keeper.flush()
os._exit(0)
"""


@pytest.mark.parametrize("length", [8, 100, 300, 500])
@pytest.mark.parametrize("then", ["grows", "stays"])
def test_a_file_that_cannot_grow_leaves_no_half_record_before_whole_ones(
    tmp_path: Path, length: int, then: str
) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(length), then]
    child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout == "True\n"
    held = restored(tmp_path)
    names = [f"full.m{number}" for number in range(40)]
    assert [name for name in names if name in held] == names[: len(held) - ("full.last" in held)]
    if then == "grows":
        assert set(held) == {*names, "full.last"}


def test_a_disk_without_room_for_even_the_process_number_is_locked_all_the_same(tmp_path: Path) -> None:
    with life(tmp_path):
        pass
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), "0", "stays"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert child.stdout == "True\n"
