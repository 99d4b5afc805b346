"""However the state's files are cut or damaged: a restart never fails, and begins with a moment that there was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.service.state import StateKeeper
from carbonquota.testing import ManualClock

SIZES = [Size(10, 4096, 3), Size(22, 8192, 4)]
NAMES = ["a.b", "a.c", "b", "größe.x;k=v", "m" * 30]

Held = dict[str, Size]

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES), st.sampled_from([*SIZES, None])),
        st.sampled_from(["flush", "snapshot", "restart"]),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def anywhere() -> Iterator[Path]:
    with TemporaryDirectory() as directory:
        yield Path(directory)


def new_engine() -> QuotaEngine:
    return QuotaEngine(RuleSet.from_text(""), clock=ManualClock(0.0), record_changes=True)


@contextmanager
def life(directory: Path, engine: QuotaEngine) -> Iterator[StateKeeper]:
    kept = StateKeeper(str(directory), engine, ManualClock(1e9))
    kept.restore()
    try:
        yield kept
    finally:
        kept.abandon()


def held_by(engine: QuotaEngine) -> Held:
    holdings = engine.holdings()
    numbers = holdings.size_numbers.tolist()
    return {name.decode(): holdings.sizes[number] for name, number in zip(holdings.names, numbers, strict=True)}


def restored(directory: Path) -> Held:
    engine = new_engine()
    with life(directory, engine):
        return held_by(engine)


def change(engine: QuotaEngine, name: str, size: Size | None) -> None:
    if size is None:
        engine.forget(name)
    else:
        engine.load(name, size)


@given(steps)
def test_a_restart_begins_with_the_last_flush(script: list[tuple[str, Size | None] | str]) -> None:
    with TemporaryDirectory() as name:
        directory, engine, kept_then = Path(name), new_engine(), Held()
        keeper = StateKeeper(name, engine, ManualClock(1e9))
        keeper.restore()
        for step in script:
            if step == "restart":
                keeper.abandon()
                engine = new_engine()
                keeper = StateKeeper(name, engine, ManualClock(1e9))
                keeper.restore()
                assert held_by(engine) == kept_then
            elif isinstance(step, str):
                keeper.flush() if step == "flush" else keeper.snapshot()
                kept_then = held_by(engine)
            else:
                change(engine, *step)
        keeper.abandon()
        assert restored(directory) == kept_then


def write_moments(directory: Path) -> list[Held]:
    """A state of one snapshot and some flushes; every moment that a restart may begin with, in order."""
    engine = new_engine()
    moments: list[Held] = [{}]
    with life(directory, engine) as keeper:
        for number, name in enumerate(NAMES):
            change(engine, name, SIZES[number % 2])
            keeper.flush()
            moments.append(held_by(engine))
        change(engine, NAMES[0], None)
        keeper.flush()
        moments.append(held_by(engine))
    return moments


def test_a_journal_cut_anywhere_gives_the_moment_before_the_cut(tmp_path: Path) -> None:
    moments = write_moments(tmp_path)
    journal = tmp_path / "journal-000000000000"
    whole = journal.read_bytes()
    reached = 0
    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        held = restored(tmp_path)
        assert held in moments
        assert moments.index(held) >= reached
        reached = moments.index(held)
    assert reached == len(moments) - 1


def test_a_journal_with_any_byte_flipped_gives_a_moment_that_there_was(tmp_path: Path) -> None:
    moments = write_moments(tmp_path)
    journal = tmp_path / "journal-000000000000"
    whole = journal.read_bytes()
    for place in range(len(whole)):
        journal.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        held = restored(tmp_path)
        assert held in moments[:-1]
        for damaged in tmp_path.glob("*.damaged-*"):
            damaged.unlink()


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_snapshot_damaged_anywhere_gives_way_to_what_was_before_it(tmp_path: Path, how: str) -> None:
    engine = new_engine()
    with life(tmp_path, engine) as keeper:
        for number, name in enumerate(NAMES):
            change(engine, name, SIZES[number % 2])
            if number in {1, 3}:
                keeper.snapshot()
        keeper.flush()
    wanted = held_by(engine)
    files = {path: path.read_bytes() for path in tmp_path.glob("*-*")}
    newest = tmp_path / "snapshot-000000000002"
    whole = files[newest]
    for place in range(len(whole)):
        for path, content in files.items():
            path.write_bytes(content)
        rest = b"" if how == "cut" else bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        newest.write_bytes(whole[:place] + rest)
        assert restored(tmp_path) == wanted
        assert not newest.exists()
        for damaged in tmp_path.glob("*.damaged-*"):
            damaged.unlink()


@given(content=st.binary(max_size=200), name=st.sampled_from(["snapshot-000000000003", "journal-000000000003"]))
def test_any_bytes_in_place_of_a_file_are_survived(anywhere: Path, content: bytes, name: str) -> None:
    for path in anywhere.iterdir():
        path.unlink()
    (anywhere / name).write_bytes(content)
    assert restored(anywhere) == {}
