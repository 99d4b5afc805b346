"""The line scan: what a data point is, line by line, and that the scan of a buffer never says otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from carbonquota.kernel import Lines, Malformed, parse, scan
from tests.support.names import split_lines

DEEP = b".".join([b"d"] * 255)
REGULAR = [
    b"a 1 1",
    b"a.b.c 1 1700000000",
    b"a.b.c -1 1700000000",
    b"a.b.c 1.5 1700000000",
    b"a.b.c -1.5 1700000000",
    b"a.b.c .5 1700000000",
    b"a.b.c 5. 1700000000",
    b"a.b.c 1 1700000000.5",
    b"cpu.idle;host=a;dc=x 1 1700000000",
    "größe.é 1 1700000000".encode(),
    b"a\xff 1 1700000000",
    b"a" * 256 + b" 1 1700000000",
    b"0123456789 0123456789 0123456789",
    b"a 1234567.8901234567 1700000000",
]
"""Lines that senders write every day: the scan must prove them by itself, as it is what makes a batch quick."""

ODD = [
    (b"a.b\t1\t1", b"a.b"),
    (b"  a.b   1  1  ", b"a.b"),
    (b"a.b 1e3 1", b"a.b"),
    (b"a.b +1 +1", b"a.b"),
    (b"a.b inf 1", b"a.b"),
    (b"a.b -infinity 1", b"a.b"),
    (b"a.b 1e400 1", b"a.b"),
    (b"a.b 1 -1", b"a.b"),
    (b"a.b 1 1e9", b"a.b"),
    (b"a.b 1.5 1.5", b"a.b"),
    (b"a.b 1\x0b1", b"a.b"),
    (b"a\x00b 1 1", b"a\x00b"),
    (DEEP + b" 1 1", DEEP),
    (b"b" * 257 + b" 1 1", b"b" * 257),
    (b"b" * 100_000 + b" 1 1", b"b" * 100_000),
    (b"a.b " + b"1" * 45 + b" 1", b"a.b"),
]
MALFORMED = [
    (b"a.b", Malformed.FIELDS),
    (b"a.b 1", Malformed.FIELDS),
    (b"a.b 1 1 1", Malformed.FIELDS),
    (b" 1 1", Malformed.FIELDS),
    (b"a.b x 1", Malformed.VALUE),
    (b"a.b - 1", Malformed.VALUE),
    (b"a.b . 1", Malformed.VALUE),
    (b"a.b -. 1", Malformed.VALUE),
    (b"a.b 1.2.3 1", Malformed.VALUE),
    (b"a.b --1 1", Malformed.VALUE),
    (b"a.b 1-1 1", Malformed.VALUE),
    (b"a.b nan 1", Malformed.VALUE),
    (b"a.b -NaN 1", Malformed.VALUE),
    (b"a.b 1_0 1", Malformed.VALUE),
    (b"a.b 0x1 1", Malformed.VALUE),
    (b"a.b 1\x00 1", Malformed.VALUE),
    (b"a.b \xd9\xa1 1", Malformed.VALUE),
    (b"a.b 1e 1", Malformed.VALUE),
    (b"a.b : 1", Malformed.VALUE),
    (b"a.b / 1", Malformed.VALUE),
    (b"a.b 1 x", Malformed.TIMESTAMP),
    (b"a.b 1 .", Malformed.TIMESTAMP),
    (b"a.b 1 nan", Malformed.TIMESTAMP),
    (b"a.b 1 inf", Malformed.TIMESTAMP),
    (b"a.b 1 1e400", Malformed.TIMESTAMP),
    (b"a.b 1 " + b"9" * 400, Malformed.TIMESTAMP),
    (b"a.b 1 1_0", Malformed.TIMESTAMP),
    (b"a.b 1 1-", Malformed.TIMESTAMP),
]
BLANK_LINES = [b"", b" ", b"\t", b"\r", b" \r"]
ENDINGS = [b"", b"\n", b"\r\n"]


def names_of(lines: Lines) -> list[bytes | Malformed | None]:
    """What each line is, as a reader of the scan finds out: the regular ones at once, the others through `parse`."""
    return [lines.name(i) if lines.regular[i] else parse(lines.line(i)) for i in range(len(lines))]


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("line", REGULAR)
def test_a_usual_line_is_proven_good_by_the_scan_itself(line: bytes, end: bytes) -> None:
    lines = scan(line + end)
    assert lines.regular.tolist() == [True]
    assert lines.name(0) == parse(line + end) == line.split(b" ")[0]


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize(("line", "name"), [*ODD, *MALFORMED, *((line, None) for line in BLANK_LINES if line)])
def test_an_unusual_line_is_what_its_text_says(line: bytes, end: bytes, name: bytes | Malformed | None) -> None:
    assert parse(line + end) == name
    assert names_of(scan(line + end)) == [name]


@pytest.mark.parametrize("line", [line for line, _ in MALFORMED])
def test_no_malformed_line_passes_among_good_ones(line: bytes) -> None:
    lines = scan(b"a.b 1 1\n" + line + b"\nc.d 2 2\n")
    assert lines.regular.tolist() == [True, False, True]
    assert names_of(lines) == [b"a.b", parse(line), b"c.d"]


@pytest.mark.parametrize("length", range(1, 46))
@pytest.mark.parametrize("value", ["digits", "dotted", "negative"])
def test_a_value_of_any_length_is_read_as_parse_reads_it(length: int, value: str) -> None:
    digits = (b"1234567890" * 5)[:length]
    text = {"digits": digits, "dotted": digits[: length // 2] + b"." + digits[length // 2 :], "negative": b"-" + digits}
    buffer = b"a.b %s 1700000000\na.b %sx 1700000000\n" % (text[value], text[value])
    assert names_of(scan(buffer)) == [b"a.b", Malformed.VALUE]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 254, 255, 256, 257, 258, 511, 512])
def test_a_name_of_any_length_is_read_whole(length: int) -> None:
    name = (b"abc.def." * 64)[:length]
    assert names_of(scan(b"x 1 1\n" + name + b" 1 1\n" + name + b"\n")) == [b"x", name, Malformed.FIELDS]


@pytest.mark.parametrize("character", [bytes([code]) for code in range(256) if code not in b"0123456789"])
def test_any_other_character_in_a_number_is_judged_as_parse_judges_it(character: bytes) -> None:
    for line in (b"a %s 1", b"a 1%s 1", b"a %s1 1", b"a 1%s1 1", b"a 1 %s", b"a 1 1%s", b"a 1 %s1", b"a 1 1%s1"):
        text = line % character
        for part in (text, b"b 1 1\n" + text + b"\nc 2 2\n"):
            assert names_of(scan(part)) == [parse(one) for one in split_lines(part)]


def test_a_line_of_a_megabyte_is_read_between_others() -> None:
    huge = b"m" * (1 << 20)
    lines = scan(b"a 1 1\n" + huge + b" 1 1\n" + huge + b"\nb 1 1\n")
    assert names_of(lines) == [b"a", huge, Malformed.FIELDS, b"b"]


def test_an_empty_buffer_has_no_lines() -> None:
    lines = scan(b"")
    assert len(lines) == 0
    assert lines.cut(np.zeros(0, np.bool_)) == b""


def test_lines_and_their_ends_are_where_the_buffer_has_them() -> None:
    lines = scan(b"a 1 1\nbb 2 2\r\n\n ccc 3 3\nd 4 4")
    assert [lines.line(i) for i in range(len(lines))] == [b"a 1 1\n", b"bb 2 2\r\n", b"\n", b" ccc 3 3\n", b"d 4 4"]
    assert lines.starts.tolist() == [0, 6, 14, 15, 24]
    assert lines.ends.tolist() == [6, 14, 15, 24, 29]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ([True, False, True, False], b"a 1 1\nc 3 3\n"),
        ([False, True, True, False], b"b 2 2\nc 3 3\n"),
        ([False, False, False, True], b"d 4 4"),
        ([True, True, True, False], b"a 1 1\nb 2 2\nc 3 3\n"),
        ([False, False, False, False], b""),
    ],
)
def test_a_cut_leaves_the_kept_lines_as_they_came(keep: list[bool], left: bytes) -> None:
    assert scan(b"a 1 1\nb 2 2\nc 3 3\nd 4 4").cut(np.array(keep)) == left


def test_a_cut_that_keeps_all_gives_the_very_buffer() -> None:
    buffer = b"a 1 1\nb 2 2\n"
    assert scan(buffer).cut(np.array([True, True])) is buffer
