"""The spool on disk: first in, first out, across processes, damage and bounds."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaError
from carbonquota.daemon.relay.queue import RelayBatch
from carbonquota.daemon.relay.spool import Spool

HEADER = 16


def batch(number: int, points: int = 1) -> RelayBatch:
    return RelayBatch(b"".join(b"metric.%06d %d 1700000000\n" % (number, i) for i in range(points)), points)


SIZE = HEADER + len(batch(0).lines)
"""What a batch of one point takes on disk."""


@contextmanager
def opened(directory: Path, max_size: int = 1 << 20, segment_size: int = 1 << 20) -> Iterator[Spool]:
    spool = Spool(directory, max_size, segment_size)
    spool.open()
    try:
        yield spool
    finally:
        spool.close()


def read_all(spool: Spool, size: int = 1 << 20) -> list[bytes]:
    found = []
    while spool.has_unread:
        found += [one.lines for one in spool.read(size).batches]
    return found


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Make the kernel refuse to let any file of this process grow past `size` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_what_was_appended_is_read_in_order(tmp_path: Path, block: int) -> None:
    batches = [batch(i, points=i + 1) for i in range(20)]
    with opened(tmp_path, segment_size=200) as spool:
        assert spool.append(batches).count == 20
        assert len(files(tmp_path)) > 5
        assert read_all(spool, block) == [one.lines for one in batches]
        assert spool.read(block).batches == []


def test_points_come_back_with_their_lines(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append([batch(1, points=7), batch(2, points=9)])
        assert [(one.points, one.segment) for one in spool.read(1 << 20).batches] == [(7, 1), (9, 1)]


def test_another_process_finds_what_was_not_read_and_what_was_not_released(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=1) as spool:
        spool.append(batch(i, points=2) for i in range(5))
        spool.read(1)
        spool.read(1)
        spool.release(2)
        assert [path.name for path in files(tmp_path)] == [f"{i:016d}.segment" for i in (2, 3, 4, 5)]
    again = Spool(tmp_path, 1 << 20, 1)
    assert again.open() == (8, 4 * len(batch(0, points=2).lines))
    assert again.append([batch(5, points=2)]).count == 1
    assert read_all(again) == [batch(i, points=2).lines for i in (1, 2, 3, 4, 5)]
    again.close()


def test_what_is_put_back_comes_first_and_what_was_read_does_not_come_again(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=100) as spool:
        spool.append(batch(i) for i in range(6))
        unsent = [one for _ in range(4) for one in spool.read(1).batches][2:]
        spool.put_back([*unsent, batch(99)])
        spool.append([batch(6)])
    with opened(tmp_path) as spool:
        assert read_all(spool) == [batch(i).lines for i in (2, 3, 99, 4, 5, 6)]


def test_what_is_put_back_into_an_empty_spool_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append([batch(0)])
        read_all(spool)
        spool.put_back([batch(1)])
        spool.append([batch(2)])
    with opened(tmp_path) as spool:
        assert read_all(spool) == [batch(1).lines, batch(2).lines]


def test_a_spool_that_was_sent_leaves_no_segment(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=100) as spool:
        spool.append(batch(i) for i in range(6))
        read_all(spool)
        spool.put_back([])
        assert files(tmp_path) == []
        assert spool.append([batch(7)]).error is None
        assert read_all(spool) == [batch(7).lines]


@given(st.integers(1, SIZE - 1))
def test_law_a_tail_cut_anywhere_costs_the_last_record_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    with opened(directory) as spool:
        spool.append(batch(i) for i in range(3))
    (path,) = files(directory)
    path.write_bytes(path.read_bytes()[:-cut])
    with opened(directory) as spool:
        spool.append([batch(3)])
        assert read_all(spool) == [batch(i).lines for i in (0, 1, 3)]


def test_a_half_written_tail_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as spool:
        spool.append(batch(i) for i in range(3))
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING), opened(tmp_path) as spool:
        assert spool.has_unread
    assert caplog.messages == [
        f"relay spool: {path}: half-written record at byte {2 * SIZE}, {SIZE - 5} bytes are skipped"
    ]


@given(st.integers(0, 3 * SIZE - 1), st.integers(1, 255))
def test_law_one_wrong_byte_costs_points_that_are_counted_and_no_line_changes(
    tmp_path_factory: pytest.TempPathFactory, place: int, difference: int
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    with opened(directory) as spool:
        spool.append(batch(i) for i in range(3))
        (path,) = files(directory)
        content = bytearray(path.read_bytes())
        content[place] ^= difference
        path.write_bytes(content)
        read, lost = [], 0
        while spool.has_unread:
            block = spool.read(1 << 20)
            read += [one.lines for one in block.batches]
            lost += block.lost_points
    assert set(read) < {batch(i).lines for i in range(3)}
    assert read[: place // SIZE] == [batch(i).lines for i in range(place // SIZE)]
    # Where the damage is in a header's own count of points, that count is not to be believed.
    assert lost >= 1 or HEADER // 2 <= place % SIZE < HEADER - 4


def test_a_segment_that_someone_removed_is_counted_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path, segment_size=1) as spool:
        spool.append([batch(0, points=3), batch(1)])
        files(tmp_path)[0].unlink()
        block = spool.read(100)
        assert (block.batches, block.lost_points) == ([], 3)
        assert read_all(spool) == [batch(1).lines]
    assert "unreadable: No such file or directory" in caplog.text


def test_past_its_bound_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    with opened(tmp_path, max_size=10 * SIZE, segment_size=SIZE) as spool:
        done = spool.append(batch(i) for i in range(25))
        assert (done.count, done.dropped_points, done.dropped_bytes) == (25, 15, 15 * (SIZE - HEADER))
        assert sum(path.stat().st_size for path in files(tmp_path)) == 10 * SIZE
        assert read_all(spool) == [batch(i).lines for i in range(15, 25)]


def test_what_was_read_already_is_dropped_at_no_cost(tmp_path: Path) -> None:
    with opened(tmp_path, max_size=10 * SIZE, segment_size=SIZE) as spool:
        spool.append(batch(i) for i in range(10))
        for _ in range(3):
            spool.read(1)
        assert spool.append(batch(i) for i in range(10, 14)).dropped_points == 1


def test_a_batch_past_the_whole_bound_is_dropped(tmp_path: Path) -> None:
    with opened(tmp_path, max_size=100) as spool:
        done = spool.append([batch(0, points=10)])
        assert (done.count, done.dropped_points, done.error) == (1, 10, None)
        assert not spool.has_unread


def test_a_disk_that_is_full_stops_the_append_between_two_records(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append([batch(0)])
        with files_limited_to(SIZE + 20):
            done = spool.append([batch(1), batch(2)])
        assert (done.count, done.error is None) == (0, False)
        assert spool.append([batch(1), batch(2)]).count == 2
        assert read_all(spool) == [batch(i).lines for i in range(3)]


def test_a_directory_has_one_user(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(QuotaError) as told:
        Spool(tmp_path, 1000, 1000).open()
    assert str(told.value) == (f"{tmp_path}: another process uses this spool; give each daemon a spool-dir of its own")
    with opened(tmp_path) as spool:
        assert not spool.has_unread


def test_a_directory_that_cannot_be_made_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QuotaError) as told:
        Spool(tmp_path / "file" / "spool", 1000, 1000).open()
    assert str(told.value) == (
        f"{tmp_path}/file/spool: cannot be used as spool-dir (Not a directory); "
        "give the daemon a directory that it may write to, or leave spool-dir empty"
    )


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.segment").write_text("mine")
    (tmp_path / "replacement").write_text("of a run that was killed")
    with opened(tmp_path) as spool:
        assert not spool.has_unread
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "notes.segment"]
