"""The kernel says of any bytes what `parse` says line by line, and its table is a dict from name to row."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from carbonquota.kernel import UNKNOWN, Lines, Malformed, SeriesTable, parse, scan
from tests.support.names import split_lines

ALPHABET = b"0123456789.-  \t\r\n\n\x00ab_e+;=\xff\xc3\xa9"
BITS = (
    b"a.b", b"a", b" ", b" ", b"  ", b"\t", b"\n", b"\n", b"\r\n", b"\r", b"1", b"-1", b"1.5", b"-.5", b".", b"-",
    b"1e3", b"nan", b"inf", b"1_0", b"1700000000", b"\x00", b"\xff", b"a" * 255, b"a" * 256, b"a" * 257, b"1" * 38,
    b"1" * 41, b"a.b 1 1\n", b"a.b 1 1\n", b"c.d -1.5 1700000000\n", b"c.d 2 2\r\n", b"a;b=c .5 1.\n",
)  # fmt: skip

hostile = st.lists(st.sampled_from(ALPHABET), max_size=120).map(bytes) | st.binary(max_size=60)
pieced = st.lists(st.sampled_from(BITS), max_size=60).map(b"".join)
buffers = hostile | pieced | st.tuples(pieced, hostile, pieced).map(b"".join)

STEMS = (b"", b"a", b"abcdefg", b"abcdefgh", b"abcdefgh" * 2, b"x" * 250, b"x" * 254, b"x" * 300)
names = st.builds(
    bytes.__add__, st.sampled_from(STEMS), st.sampled_from([b"a", b"b", b"c", b"0", b".a", b".ab", b"ab", b"\xff"])
)


def what_lines_are(lines: Lines) -> list[bytes | Malformed | None]:
    """What each line is, as a reader of the scan finds out."""
    return [lines.name(i) if lines.regular[i] else parse(lines.line(i)) for i in range(len(lines))]


@settings(max_examples=400)
@given(buffers)
def test_a_scan_says_of_every_line_what_parse_says(buffer: bytes) -> None:
    assert what_lines_are(scan(buffer)) == [parse(line) for line in split_lines(buffer)]


@settings(max_examples=15)
@given(pieced, st.integers(1, 60), buffers)
def test_a_long_scan_says_of_every_line_what_parse_says(part: bytes, times: int, rest: bytes) -> None:
    buffer = part * times + rest
    assert what_lines_are(scan(buffer)) == [parse(line) for line in split_lines(buffer)]


@given(buffers)
def test_lines_cover_the_buffer_without_gap_or_overlap(buffer: bytes) -> None:
    lines = scan(buffer)
    assert [lines.line(i) for i in range(len(lines))] == split_lines(buffer)
    edges = [0, *lines.ends.tolist()]
    assert [*lines.starts.tolist(), len(buffer)] == edges


@given(buffers, buffers)
def test_scanning_two_terminated_buffers_at_once_is_scanning_them_apart(first: bytes, second: bytes) -> None:
    together, apart = scan(first + b"\n" + second), [scan(first + b"\n"), scan(second)]
    assert what_lines_are(together) == [name for lines in apart for name in what_lines_are(lines)]
    assert together.regular.tolist() == [flag for lines in apart for flag in lines.regular.tolist()]


@given(buffers, st.data())
def test_a_cut_is_the_kept_lines_joined_and_the_buffer_itself_if_all_are_kept(
    buffer: bytes, data: st.DataObject
) -> None:
    lines = scan(buffer)
    keep = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    cut = lines.cut(np.array(keep, np.bool_))
    assert cut == b"".join(line for line, kept in zip(split_lines(buffer), keep, strict=True) if kept)
    assert not all(keep) or cut is buffer


class TableIsADict(RuleBasedStateMachine):
    """Inserts, removals and look-ups in any order, beside a dict that keeps the rows the table gave."""

    def __init__(self) -> None:
        super().__init__()
        self.table = SeriesTable()
        self.held: dict[bytes, int] = {}

    @initialize(number=st.sampled_from([0, 70, 1500]))
    def fill(self, number: int) -> None:
        for count in range(number):
            self.insert(b"filler.%d" % count)

    @rule(name=names)
    def insert(self, name: bytes) -> None:
        if name not in self.held:
            self.held[name] = self.table.insert(name)

    @rule(name=names)
    def remove(self, name: bytes) -> None:
        if name in self.held:
            assert self.table.remove(name) == self.held.pop(name)

    @rule(batch=st.lists(names, max_size=30), times=st.sampled_from([0, 2, 80]))
    def find_lines(self, batch: list[bytes], times: int) -> None:
        lines = scan(b"".join(name + b" 1 1\n" for name in batch))
        for _ in range(times):
            self.table.find_lines(lines)
        for name, row in zip(batch, self.table.find_lines(lines), strict=True):
            assert row in {self.held.get(name, UNKNOWN), UNKNOWN}

    @rule(name=names)
    def find(self, name: bytes) -> None:
        assert self.table.find(name) == self.held.get(name, UNKNOWN)
        assert self.table.get(name) == self.held.get(name)

    @invariant()
    def rows_are_distinct_and_below_the_size(self) -> None:
        rows = set(self.held.values())
        assert len(rows) == len(self.held) == len(self.table)
        assert max(rows, default=-1) < self.table.size

    def teardown(self) -> None:
        assert dict(self.table) == self.held


test_the_table_is_a_dict_from_name_to_row = TableIsADict.TestCase
