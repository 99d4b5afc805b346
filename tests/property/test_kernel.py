"""The kernels say of any bytes what `parse` says line by line, and know of any names what a list of them tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota.errors import MetricNameError
from carbonquota.kernel import UNKNOWN, JoinedNames, parse
from carbonquota.metric_name import normalize
from tests.support.example_counts import examples
from tests.support.kernels import KERNELS, PLAIN, Content, Kernel, on_each_kernel
from tests.support.names import split_lines

LONGEST = 16_384
DEEP = b".".join([b"d"] * 256)
ALPHABET = b"0123456789.-  \t\r\n\n\x00ab_e+;=\xff\xc3\xa9"
BITS = (
    b"a.b", b"a", b" ", b" ", b"  ", b"\t", b"\n", b"\n", b"\r\n", b"\r", b"\x0b", b"\x1c", b"1", b"-1", b"1.5", b"-.5",
    b".", b"-", b"+", b"e", b"1e3", b"1E-3", b"1e309", b"1e99999999999999999999", b"nan", b"-inf", b"Infinity", b"1_0",
    b"1700000000", b"\x00", b"\xff", b"a" * 255, b"a" * 256, b"a" * 257, b"1" * 16, b"1" * 17, b"1" * 38, b"1" * 41,
    b"9" * 310, DEEP, DEEP[2:], b"z" * LONGEST, b"z" * (LONGEST + 1), b"a.b 1 1\n", b"a.b 1 1\n",
    b"c.d -1.5 1700000000\n", b"c.d 2 2\r\n", b"a;b=c .5 1.\n", b" a.b 1 1\n", b"a.b 1 1e9\n",
)  # fmt: skip
METRICS = (
    b"a.b",
    b"a",
    b"c.d",
    b"a;b=c",
    b"a" * 255,
    b"a" * 257,
    DEEP[2:],
    b"z" * LONGEST,
    b"1",
    b"1_0",
    b"\xff",
    b"e",
)
"""Metrics that the tables hold while buffers made of the same bits are read."""

hostile = st.lists(st.sampled_from(ALPHABET), max_size=120).map(bytes) | st.binary(max_size=60)
pieced = st.lists(st.sampled_from(BITS), max_size=60).map(b"".join)
buffers = hostile | pieced | st.tuples(pieced, hostile, pieced).map(b"".join)
long_buffers = st.tuples(pieced, st.integers(1, 60), buffers).map(lambda drawn: drawn[0] * drawn[1] + drawn[2])


def contents(kernel: Kernel, buffer: bytes) -> list[Content]:
    """What each line of a buffer is."""
    return kernel.contents(kernel.table_of().read(buffer))


@on_each_kernel
@settings(max_examples=examples(300))
@given(buffer=buffers)
def test_a_reading_says_of_every_line_what_parse_says(kernel: Kernel, buffer: bytes) -> None:
    assert contents(kernel, buffer) == [parse(line) for line in split_lines(buffer)]


@on_each_kernel
@settings(max_examples=examples(15))
@given(buffer=long_buffers)
def test_a_long_reading_says_of_every_line_what_parse_says(kernel: Kernel, buffer: bytes) -> None:
    assert contents(kernel, buffer) == [parse(line) for line in split_lines(buffer)]


@on_each_kernel
@given(buffer=buffers)
def test_lines_cover_the_buffer_without_gap_or_overlap(kernel: Kernel, buffer: bytes) -> None:
    lines = kernel.table_of().read(buffer)
    assert [lines.line(at) for at in range(len(lines))] == split_lines(buffer)


@on_each_kernel
@given(first=buffers, second=buffers)
def test_reading_two_terminated_buffers_at_once_is_reading_them_apart(
    kernel: Kernel, first: bytes, second: bytes
) -> None:
    together = contents(kernel, first + b"\n" + second)
    assert together == contents(kernel, first + b"\n") + contents(kernel, second)


@on_each_kernel
@settings(max_examples=examples(15))
@given(buffer=hostile | st.lists(st.sampled_from(BITS), max_size=60).map(lambda bits: b"".join(bits)[:400]))
def test_a_buffer_split_anywhere_is_its_two_parts(kernel: Kernel, buffer: bytes) -> None:
    table = kernel.table_of(METRICS)
    for place in range(len(buffer) + 1):
        for part in (buffer[:place], buffer[place:]):
            assert kernel.contents(table.read(part)) == [parse(line) for line in split_lines(part)]


@on_each_kernel
@given(buffer=buffers, data=st.data())
def test_a_cut_is_the_kept_lines_joined_and_the_buffer_itself_if_all_are_kept(
    kernel: Kernel, buffer: bytes, data: st.DataObject
) -> None:
    lines = kernel.table_of().read(buffer)
    drawn = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    kept = [
        content is None or (isinstance(content, bytes) and keep)
        for content, keep in zip(kernel.contents(lines), drawn, strict=True)
    ]
    cut = kernel.cut(lines, kept)
    assert cut == b"".join(line for line, keep in zip(split_lines(buffer), kept, strict=True) if keep)
    assert not all(kept) or cut is buffer


@settings(max_examples=examples(150))
def _normal(name: bytes) -> bytes:
    """The normal form of a name, or itself where it has none."""
    try:
        return normalize(name).encode()
    except MetricNameError:
        return name


@given(buffer=buffers | long_buffers, held=st.sets(st.sampled_from(METRICS)))
def test_both_kernels_find_the_same(buffer: bytes, held: set[bytes]) -> None:
    """The plain one may leave a metric to its dict, and either a line to `parse`; a row that is given is right."""
    for kernel in KERNELS:
        table = kernel.table_of([*held])
        metrics = [parse(line) for line in split_lines(buffer)]
        rows = kernel.look_up(table, buffer)
        doubts = kernel.doubts(table.read(buffer))
        for metric, row, doubt in zip(metrics, rows, doubts, strict=True):
            own = table.find(_normal(metric)) if isinstance(metric, bytes) else UNKNOWN
            assert row == (UNKNOWN if doubt or (kernel is PLAIN and row == UNKNOWN) else own)


def test_every_byte_at_every_place_of_a_line_is_read_alike_by_both_kernels() -> None:
    lines = [b"ab.c 1.5 17.0\n", b"ab.c\t-1\t1e3\r\n"]
    for line in lines:
        for place in range(len(line)):
            buffer = b"".join(line[:place] + bytes([code]) + line[place + 1 :] for code in range(256)) + b"z 1 1"
            expected = [parse(one) for one in split_lines(buffer)]
            assert [contents(kernel, buffer) for kernel in KERNELS] == [expected] * len(KERNELS)


parts = st.sampled_from([b"a", b"b", b"", b"cpu", "é".encode(), b"\xff", b"x y", b"\x7f", b"n" * 300])
many = st.lists(parts, min_size=1, max_size=5).map(b".".join)
tagged = st.builds(bytes.__add__, many, st.sampled_from([b"", b"", b";t=a.b", b";"]))
odd = st.sampled_from([DEEP, DEEP[2:], b"p." * 3000 + b"q", b"z" * 5000, b"z" * LONGEST, b".", b";"])
names = tagged | tagged | odd


@on_each_kernel
@given(listed=st.lists(names, max_size=30))
def test_a_survey_tells_what_a_list_of_the_names_tells(kernel: Kernel, listed: list[bytes]) -> None:
    survey = kernel.survey(JoinedNames.of(listed))
    paths = [name.partition(b";")[0].rpartition(b".")[0] for name in listed]
    assert survey.namespaces == list(dict.fromkeys(paths))
    assert survey.groups.dtype == np.int64
    assert [survey.namespaces[group] for group in survey.groups.tolist()] == paths
    assert survey.twice == (len(set(listed)) < len(listed))
    assert survey.doubtful == sorted(set(survey.doubtful))
    for place in set(range(len(listed))) - set(survey.doubtful):
        assert is_normal(listed[place])


def is_normal(name: bytes) -> bool:
    """Whether a name is what the engine would call the metric."""
    try:
        return normalize(name).encode() == name
    except MetricNameError:
        return False


@on_each_kernel
def test_a_survey_of_plain_names_doubts_none(kernel: Kernel) -> None:
    listed = [b"app%d.host%d.load" % (number % 7, number) for number in range(10_000)]
    assert kernel.survey(JoinedNames.of(listed)).doubtful == []


free = st.lists(st.binary(max_size=6).filter(lambda name: b"\n" not in name), max_size=12)


@given(free, st.data())
def test_joined_names_are_a_sequence_like_their_list(listed: list[bytes], data: st.DataObject) -> None:
    joined = JoinedNames.of(listed)
    assert (list(joined), len(joined), joined == listed) == (listed, len(listed), True)
    assert [joined[place] for place in range(-len(listed), len(listed))] == listed * 2
    part = data.draw(st.slices(len(listed)))
    assert list(joined[part]) == listed[part]
    assert joined[part] == JoinedNames.of(listed[part])
    assert JoinedNames.of(joined) is joined
    assert JoinedNames(joined.text) == joined


@given(free, free, st.data())
def test_joined_names_leave_out_and_go_together_like_lists(
    listed: list[bytes], others: list[bytes], data: st.DataObject
) -> None:
    places = data.draw(st.sets(st.integers(0, len(listed) - 1))) if listed else set()
    left = [name for place, name in enumerate(listed) if place not in places]
    joined = JoinedNames.of(listed)
    assert list(joined.without(sorted(places))) == left
    assert list(joined.joined_with(others)) == listed + others
    assert list(joined.joined_with(JoinedNames.of(others))) == listed + others
    assert (joined == others) == (listed == others)


def test_thousands_of_joined_names_are_iterated_whole() -> None:
    for count in (4095, 4096, 4097, 8192, 10_000):
        listed = [b"%d" % number for number in range(count)]
        assert list(JoinedNames.of(listed)) == listed


@given(free, st.integers(0, 12), st.binary(max_size=5))
def test_a_name_with_a_line_feed_cannot_be_joined(listed: list[bytes], place: int, part: bytes) -> None:
    listed.insert(place, part + b"\n")
    with pytest.raises(ValueError, match=r"^a name has a line feed in it$"):
        JoinedNames.of(listed)


@given(free, st.binary(max_size=5).filter(lambda rest: b"\n" not in rest), free)
def test_what_stands_behind_the_last_line_feed_is_no_name(
    listed: list[bytes], rest: bytes, others: list[bytes]
) -> None:
    joined = JoinedNames(JoinedNames.of(listed).text + rest)
    assert list(joined) == listed
    assert joined == JoinedNames.of(listed)
    assert list(joined.joined_with(others)) == listed + others
    assert list(joined.without([])) == listed
