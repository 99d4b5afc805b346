"""Laws of snapshots: they are read as they were written, and with the changes since they are what was held."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import Size
from carbonquota.model import MAXIMUM
from carbonquota.service.state.journal import Journal, read_journal
from carbonquota.service.state.merge import later, merged
from carbonquota.service.state.snapshot import Snapshot, read_snapshot, write_snapshot
from carbonquota.trie.holdings import Change, Holdings
from tests.support.state import runs

UINT32 = 2**32 - 1
AMOUNTS = st.integers(0, MAXIMUM) | st.integers(0, 2)
SIZES = st.builds(Size, AMOUNTS, AMOUNTS, AMOUNTS)
# Control characters are in no name.
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8).map(str.encode)
FEW_NAMES = st.sampled_from([b"a", b"b.c", b"b.d e", "ö;k=v".encode(), b"+ 1 2 3 x"])
SIZE_PER_NAME = st.dictionaries(FEW_NAMES, SIZES)


@st.composite
def holdings(draw: st.DrawFn, names: st.SearchStrategy[bytes] = NAMES) -> Holdings:
    """Any holdings, also with sizes that are there twice or that no series has."""
    sizes = draw(st.lists(SIZES, min_size=1, max_size=5))
    held = draw(st.lists(names, unique=True, max_size=12))
    numbers = draw(st.lists(st.integers(0, len(sizes) - 1), min_size=len(held), max_size=len(held)))
    seen = draw(st.lists(st.integers(0, UINT32), min_size=len(held), max_size=len(held)))
    start = draw(st.floats(0, 2**33))
    rates = draw(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(0, MAXIMUM), max_size=4))
    return Holdings(held, sizes, np.array(numbers, np.int32), np.array(seen, np.uint32), start, rates)


def rows(held: Holdings) -> dict[bytes, tuple[Size, int]]:
    """Each series with its size, and when it was seen."""
    numbers, seen = held.size_numbers.tolist(), held.seen.tolist()
    return {name: (held.sizes[numbers[place]], seen[place]) for place, name in enumerate(held.names)}


@given(holdings(), st.floats(-1e12, 1e12))
def test_a_snapshot_is_read_as_it_was_written(held: Holdings, time: float) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "snapshot")
        write_snapshot(path, Snapshot(held, time))
        read = read_snapshot(path)
        assert [entry.name for entry in Path(directory).iterdir()] == ["snapshot"]
    assert read.time == time
    assert list(read.holdings.names) == held.names
    assert rows(read.holdings) == rows(held)
    assert (read.holdings.interval_start, read.holdings.rates) == (held.interval_start, held.rates)
    assert (str(read.holdings.size_numbers.dtype), str(read.holdings.seen.dtype)) == ("int32", "uint32")


@given(st.lists(st.lists(st.builds(Change, NAMES, SIZES | st.none()), max_size=5), max_size=5))
def test_a_journal_is_read_as_it_was_written(batches: list[list[Change]]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "journal")
        for batch in batches:
            journal = Journal(path)
            journal.append(runs(batch))
            journal.close()
        if batches:
            content = read_journal(path)
            assert content.changes == [change for batch in batches for change in batch]
            assert (content.length, content.rest) == (path.stat().st_size, b"")


@given(holdings(FEW_NAMES), st.lists(st.builds(Change, FEW_NAMES, SIZES | st.none())), st.integers(0, 50))
def test_holdings_and_changes_are_what_a_dictionary_would_hold(
    held: Holdings, changes: list[Change], again: int
) -> None:
    wanted = rows(held)
    for change in changes:
        wanted.pop(change.name, None)
        if change.size is not None:
            # It is not known when it was seen.
            wanted[change.name] = change.size, 0
    got = merged(held, changes)
    assert rows(got) == wanted
    assert len(got.names) == len(wanted)
    assert (got.interval_start, got.rates) == (held.interval_start, held.rates)
    # Doing the last ones once more changes nothing but what is known of when they were seen.
    once_more = merged(got, changes[-again:] if again else [])
    assert {name: size for name, (size, _) in rows(once_more).items()} == {
        name: size for name, (size, _) in wanted.items()
    }


@given(holdings(), st.floats(-1e18, 1e18))
def test_a_time_in_which_nobody_could_be_seen_makes_nobody_older(held: Holdings, seconds: float) -> None:
    got = later(held, seconds)
    shift = max(int(seconds), 0)
    assert got.seen.tolist() == [min(seen + shift, UINT32) if seen else 0 for seen in held.seen.tolist()]
    assert list(got.names) == held.names
