"""Files that prove to be whole and yet hold what no index can: set aside, never a daemon that does not start."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carbonquota import Size
from carbonquota.service.state import StateKeeper
from carbonquota.service.state.journal import Journal
from carbonquota.service.state.snapshot import Snapshot, write_snapshot
from carbonquota.testing import ManualClock
from carbonquota.trie.holdings import Change, Holdings
from tests.support.state import NOW, SIZE, life, new_engine, restored, runs

TABLE: dict[str, Any] = {"time": NOW, "series": 2, "sizes": [[1, 2, 3]], "interval_start": 0.0, "flows": {"a": 1}}
COLUMNS = struct.pack("<4i", 0, 0, 7, 7)


def held(*names: bytes, size: Size = SIZE) -> Holdings:
    return Holdings(names, [size], np.zeros(len(names), np.int32), np.zeros(len(names), np.uint32))


def snapshot_of(holdings: Holdings, directory: Path, generation: int = 1) -> None:
    write_snapshot(directory / f"snapshot-{generation:012d}", Snapshot(holdings, NOW))


def journal_of(directory: Path, generation: int, *changes: Change) -> None:
    journal = Journal(directory / f"journal-{generation:012d}")
    journal.append(runs(changes))
    journal.close()


@pytest.mark.parametrize(
    ("holdings", "why"),
    [
        (held(b"a.good", b"a..bad"), "metric name b'a..bad' is not in normal form"),
        (held(b"a", b"a"), "the same metric is in the holdings twice"),
        (held(b"\xff"), "metric name b'\\xff' is not in normal form"),
        (
            held(b"a", b"b", size=Size(2**62)),
            "the sizes of all metrics would pass 2^63 - 1 with the 3 to restore",
        ),
    ],
)
def test_what_the_engine_refuses_is_set_aside_as_a_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, holdings: Holdings, why: str
) -> None:
    snapshot_of(holdings, tmp_path)
    journal_of(tmp_path, 1, Change(b"z.later", Size(2**62)))
    engine = new_engine()
    kept = StateKeeper(str(tmp_path), engine, ManualClock(NOW))
    report = kept.restore()
    asides = [f"{name}-000000000001.damaged-2000000000" for name in ("snapshot", "journal")]
    assert (report.found, report.series, len(engine)) == (False, 0, 0)
    assert report.set_aside == tuple(str(tmp_path / name) for name in asides)
    assert caplog.messages == [
        f"{tmp_path / name.partition('.')[0]} is damaged: {why}; set aside as {name}" for name in asides
    ]
    engine.load("a.new", SIZE)
    kept.close()
    assert restored(tmp_path) == {"a.new": SIZE}
    assert all((tmp_path / name).stat().st_size for name in asides)


def test_a_name_that_is_none_in_a_journal_is_no_reason_not_to_start(tmp_path: Path) -> None:
    journal_of(tmp_path, 0, Change(b"a.good", SIZE), Change(b".bad", SIZE))
    assert restored(tmp_path) == {}
    assert restored(tmp_path) == {}


def write_raw(path: Path, body: bytes) -> None:
    """A snapshot with a right checksum over anything."""
    path.write_bytes(struct.pack("<8sIQI", b"cqsnap\r\n", 1, len(body), zlib.crc32(body)) + body)


def body_of(table: object, rest: bytes = b"a\nb\n" + COLUMNS) -> bytes:
    text = json.dumps(table).encode()
    return struct.pack("<I", len(text)) + text + rest


BAD_BODIES = {
    "nothing": b"",
    "no JSON": struct.pack("<I", 3) + b"{{{",
    "a length past the end": struct.pack("<I", 10**6) + b"{}",
    "no table": body_of([1, 2]),
    "an empty table": body_of({}),
    "no names": body_of(TABLE, COLUMNS),
    "too few columns": body_of(TABLE, b"a\nb\n"),
    "a negative number of series": body_of(TABLE | {"series": -1}),
    "a number of series that is none": body_of(TABLE | {"series": "2"}),
    "a size number past the sizes": body_of(TABLE, b"a\nb\n" + struct.pack("<4i", 0, 1, 7, 7)),
    "a size number below 0": body_of(TABLE, b"a\nb\n" + struct.pack("<4i", 0, -1, 7, 7)),
    "a negative size": body_of(TABLE | {"sizes": [[1, -2, 3]]}),
    "half a point": body_of(TABLE | {"sizes": [[1, 2, 3.5]]}),
    "four sizes": body_of(TABLE | {"sizes": [[1, 2, 3, 4]]}),
    "no time": body_of(TABLE | {"time": None}),
    "a time that never ends": body_of(TABLE | {"time": float("inf")}),
    "a time that is none": body_of(TABLE | {"time": float("nan")}),
    "flows that are a list": body_of(TABLE | {"flows": [1]}),
    "points that are text": body_of(TABLE | {"flows": {"a": "1"}}),
}


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_snapshot_of_other_contents_is_set_aside_and_the_one_before_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    snapshot_of(held(b"a.old"), tmp_path, 1)
    journal_of(tmp_path, 1, Change(b"a.since", SIZE))
    write_raw(tmp_path / "snapshot-000000000002", BAD_BODIES[kind])
    assert restored(tmp_path) == {"a.old": SIZE, "a.since": SIZE}
    path = tmp_path / "snapshot-000000000002"
    assert caplog.messages == [
        f"{path} is damaged: its parts do not fit together; set aside as {path.name}.damaged-2000000000"
    ]


def test_the_body_that_the_bad_ones_are_made_from_is_good(tmp_path: Path) -> None:
    write_raw(tmp_path / "snapshot-000000000001", body_of(TABLE))
    assert restored(tmp_path) == {"a": Size(1, 2, 3), "b": Size(1, 2, 3)}


@pytest.mark.parametrize("taken", [-1e300, -1.0, NOW + 1e9])
def test_a_clock_that_was_far_off_does_no_harm(tmp_path: Path, taken: float) -> None:
    clock = ManualClock(NOW)
    holdings = Holdings([b"a"], [SIZE], np.zeros(1, np.int32), np.full(1, 7, np.uint32))
    write_snapshot(tmp_path / "snapshot-000000000001", Snapshot(holdings, taken))
    engine = new_engine(clock, keep_seen=True)
    with life(tmp_path, engine, clock):
        assert "a" in engine


@pytest.mark.parametrize(
    ("first", "snapshots", "found"), [(0, [], True), (0, [1], True), (1, [1], True), (1, [], False), (7, [], False)]
)
def test_journals_whose_beginning_is_gone_are_restored_but_no_whole_index(
    tmp_path: Path, first: int, snapshots: list[int], found: bool
) -> None:
    for generation in range(first, first + 2):
        journal_of(tmp_path, generation, Change(b"a.m%d" % (generation - first), SIZE))
    for generation in snapshots:
        snapshot_of(held(b"a.m0"), tmp_path, generation)
    kept = StateKeeper(str(tmp_path), new_engine(), ManualClock(NOW))
    report = kept.restore()
    kept.abandon()
    assert (report.found, report.series) == (found, 2)
