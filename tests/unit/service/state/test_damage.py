"""Files of the state that are damaged: told, set aside, and the rest goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.state import SIZE, life, new_engine, restored


def damage_of(path: Path, kind: str) -> str:
    """Damage a snapshot; what the log says of it."""
    content = bytearray(path.read_bytes())
    if kind == "flipped":
        content[-1] ^= 1
    elif kind == "cut":
        del content[-1]
    elif kind == "version":
        content[8] = 9
    else:
        del content[0 if kind == "empty" else 10 :]
    path.write_bytes(content)
    return {
        "flipped": "its checksum is wrong",
        "cut": f"{len(content) - 24:,} bytes long instead of {len(content) - 23:,}",
        "version": "of version 9, and this program reads version 1",
    }.get(kind, "cut short")


@pytest.mark.parametrize("kind", ["flipped", "cut", "version", "empty", "a head only"])
def test_a_damaged_snapshot_is_set_aside_and_the_one_before_goes_on_with_its_journals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        for step, name in enumerate(("a.first", "a.second", "a.third")):
            engine.load(name, SIZE)
            if step < 2:
                kept.snapshot()
        kept.flush()
    path = tmp_path / "snapshot-000000000002"
    why = damage_of(path, kind)
    damaged = path.read_bytes()
    assert set(restored(tmp_path)) == {"a.first", "a.second", "a.third"}
    assert caplog.messages == [f"{path} is damaged: {why}; set aside as {path.name}.damaged-2000000000"]
    assert Path(f"{path}.damaged-2000000000").read_bytes() == damaged
    assert set(restored(tmp_path)) == {"a.first", "a.second", "a.third"}


def test_a_damaged_tail_of_a_journal_is_cut_off_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.good", SIZE)
        kept.flush()
    path = tmp_path / "journal-000000000000"
    good = path.read_bytes()
    path.write_bytes(good + b"half a record")
    after = new_engine()
    with life(tmp_path, after) as kept:
        assert len(after) == 1
        assert path.read_bytes() == good
        after.load("a.later", SIZE)
        kept.flush()
    aside = f"{path.name}.damaged-2000000000"
    assert caplog.messages == [f"{path} is damaged: its last 13 bytes are no whole record; set aside as {aside}"]
    assert (tmp_path / aside).read_bytes() == b"half a record"
    assert (tmp_path / aside).stat().st_mode & 0o777 == 0o640
    assert set(restored(tmp_path)) == {"a.good", "a.later"}


def test_a_journal_of_another_kind_is_set_aside_as_a_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with life(tmp_path):
        pass
    path = tmp_path / "journal-000000000000"
    path.write_bytes(b"cqjrnl3\nsomething newer")
    assert restored(tmp_path) == {}
    assert f"{path} is damaged: it is no journal that this program reads" in caplog.text
    assert Path(f"{path}.damaged-2000000000").read_bytes() == b"cqjrnl3\nsomething newer"


def test_zeros_at_the_end_of_a_journal_are_no_records(tmp_path: Path) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.good", SIZE)
        kept.flush()
    path = tmp_path / "journal-000000000000"
    length = path.stat().st_size
    os.truncate(path, length + 4096)
    assert set(restored(tmp_path)) == {"a.good"}
    assert path.stat().st_size == length


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "snapshot-000000000007.partial").write_bytes(b"half")
    with life(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["journal-000000000000", "lock"]


def test_of_damaged_files_the_newest_four_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    names = [f"snapshot-{number:012d}.damaged-{1_700_000_000 + number}" for number in range(6)]
    for age, name in enumerate(reversed(names)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (2_000_000_000 - age, 2_000_000_000 - age))
    with life(tmp_path):
        assert sorted(path.name for path in tmp_path.glob("*.damaged-*")) == names[2:]
    assert f"only the newest damaged files are kept, removed: {', '.join(names[:2])}" in caplog.text
