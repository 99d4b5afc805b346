"""Snapshots and journals are read back as they were written."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from carbonquota import Size
from carbonquota.service.state import journal, snapshot
from carbonquota.service.state.files import path_of
from carbonquota.trie.holdings import Change, Holdings
from tests.support.state import NOW, OTHER, SIZE, life, new_engine, restored, runs


def test_a_large_index_is_read_back_as_it_was(tmp_path: Path) -> None:
    count = 120_000
    sizes = [Size(number, 2 * number, 3 * number) for number in range(1000)]
    held = Holdings(
        [b"a.b%d" % number for number in range(count)],
        sizes,
        (np.arange(count) % 1000).astype(np.int32),
        np.arange(count, dtype=np.uint32),
        60.5,
        {"/": 2**62, "a": 5},
    )
    path = tmp_path / "snapshot"
    snapshot.write_snapshot(path, snapshot.Snapshot(held, NOW))
    read = snapshot.read_snapshot(path)
    assert read.time == NOW
    assert (read.holdings.names, read.holdings.sizes) == (held.names, held.sizes)
    assert np.array_equal(read.holdings.size_numbers, held.size_numbers)
    assert np.array_equal(read.holdings.seen, held.seen)
    assert (read.holdings.interval_start, read.holdings.rates) == (60.5, {"/": 2**62, "a": 5})


def test_a_journal_of_the_first_version_is_read_and_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    body = b"+ 10 4096 3 a.b;x=y\n- a.c\n+ 22 8192 4 a.d\n"
    record = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body
    path.write_bytes(b"cqjrnl1\n" + record)
    content = journal.read_journal(path)
    assert content.changes == [Change(b"a.b;x=y", SIZE), Change(b"a.c", None), Change(b"a.d", OTHER)]
    assert (content.length, content.rest, content.is_current) == (8 + len(record), b"", False)
    path.write_bytes(b"cqjrnl1\n" + record + record[:-1])
    assert journal.read_journal(path).rest == record[:-1]


def test_a_restart_goes_on_behind_a_journal_of_the_first_version(tmp_path: Path) -> None:
    body = b"+ 10 4096 3 a.b\n"
    record = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body
    path_of(tmp_path, "journal", 0).write_bytes(b"cqjrnl1\n" + record)
    engine = new_engine()
    with life(tmp_path, engine) as kept:
        engine.load("a.new", OTHER)
        kept.flush()
    assert restored(tmp_path) == {"a.b": SIZE, "a.new": OTHER}


def test_many_changes_are_journalled_in_order(tmp_path: Path) -> None:
    changes = [Change(b"a.m%d" % (number % 30_000), SIZE if number % 3 else None) for number in range(50_000)]
    written = journal.Journal(tmp_path / "journal")
    written.append(runs(changes))
    written.close()
    content = journal.read_journal(tmp_path / "journal")
    assert content.changes == changes
    assert (content.length, content.rest) == (written.size, b"")
