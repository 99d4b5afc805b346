"""The line scan: what a data point is, line by line, and that no kernel's reading of a buffer says otherwise."""

from __future__ import annotations

import pytest

from carbonquota.kernel import Malformed, parse
from tests.support.kernels import Content, Kernel, on_each_kernel
from tests.support.names import split_lines

pytestmark = on_each_kernel

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


LONG_NAMES = [16_383, 16_384, 16_385, 65_536]


def contents(kernel: Kernel, buffer: bytes) -> list[Content]:
    """What each line of a buffer is, to a table that is empty."""
    return kernel.contents(kernel.table_of().read(buffer))


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("line", REGULAR)
def test_a_usual_line_is_proven_good_by_the_kernel_itself(kernel: Kernel, line: bytes, end: bytes) -> None:
    lines = kernel.table_of().read(line + end)
    assert kernel.doubts(lines) == [False]
    assert kernel.contents(lines) == [parse(line + end)] == [line.split(b" ")[0]]


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize(("line", "content"), [*ODD, *MALFORMED, *((line, None) for line in BLANK_LINES if line)])
def test_an_unusual_line_is_what_its_text_says(kernel: Kernel, line: bytes, end: bytes, content: Content) -> None:
    assert parse(line + end) == content
    assert contents(kernel, line + end) == [content]


@pytest.mark.parametrize("line", [line for line, _ in MALFORMED])
def test_no_malformed_line_passes_among_good_ones(kernel: Kernel, line: bytes) -> None:
    lines = kernel.table_of().read(b"a.b 1 1\n" + line + b"\nc.d 2 2\n")
    assert kernel.doubts(lines)[::2] == [False, False]
    assert kernel.contents(lines) == [b"a.b", parse(line), b"c.d"]


@pytest.mark.parametrize("length", range(1, 46))
@pytest.mark.parametrize("kind", ["digits", "dotted", "negative"])
def test_a_number_of_any_length_is_read_as_parse_reads_it(kernel: Kernel, length: int, kind: str) -> None:
    digits = (b"1234567890" * 5)[:length]
    dotted = digits[: length // 2] + b"." + digits[length // 2 :]
    text = {"digits": digits, "dotted": dotted, "negative": b"-" + digits}[kind]
    buffer = b"a.b %s 1700000000\na.b %sx 1700000000\n" % (text, text)
    assert contents(kernel, buffer) == [b"a.b", Malformed.VALUE]
    for rest in (b"", b"\n", b"\nx 1 1\n"):
        lines = [b"a.b", b"x"] if len(rest) > 1 else [b"a.b"]
        assert contents(kernel, b"a.b 1 %s%s" % (text, rest)) == lines
        assert contents(kernel, b"a.b 1 %sx%s" % (text, rest)) == [Malformed.TIMESTAMP, *lines[1:]]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 254, 255, 256, 257, 258, 511, 512, *LONG_NAMES])
def test_a_name_of_any_length_is_read_whole(kernel: Kernel, length: int) -> None:
    name = (b"abc.def." * 8192)[:length]
    assert contents(kernel, b"x 1 1\n" + name + b" 1 1\n" + name + b"\n") == [b"x", name, Malformed.FIELDS]


@pytest.mark.parametrize("character", [bytes([code]) for code in range(256) if code not in b"0123456789"])
def test_any_other_character_in_a_number_is_judged_as_parse_judges_it(kernel: Kernel, character: bytes) -> None:
    for line in (b"a %s 1", b"a 1%s 1", b"a %s1 1", b"a 1%s1 1", b"a 1 %s", b"a 1 1%s", b"a 1 %s1", b"a 1 1%s1"):
        text = line % character
        for part in (text, b"b 1 1\n" + text + b"\nc 2 2\n"):
            assert contents(kernel, part) == [parse(one) for one in split_lines(part)]


@pytest.mark.parametrize(
    "exponent", [b"e300", b"e308", b"e309", b"E-400", b"e+9", b"e99999999999999999999", b"e", b"e-"]
)
@pytest.mark.parametrize("digits", [b"1", b"-17.9", b".5", b"0", b"9" * 299, b"9" * 308, b"9" * 309, b"." + b"9" * 400])
def test_a_number_of_any_size_is_judged_as_parse_judges_it(kernel: Kernel, digits: bytes, exponent: bytes) -> None:
    for line in (b"a %b%b 1\n", b"a 1 %b%b\n"):
        for buffer in (line % (digits, exponent), line % (digits, b"")):
            assert contents(kernel, buffer) == [parse(buffer)]


def test_a_line_of_a_megabyte_is_read_between_others(kernel: Kernel) -> None:
    huge = b"m" * (1 << 20)
    buffer = b"a 1 1\n" + huge + b" 1 1\n" + huge + b"\nb 1 1\nc " + b"9" * (1 << 20) + b" 1\nd 1 1\n"
    assert contents(kernel, buffer) == [b"a", huge, Malformed.FIELDS, b"b", b"c", b"d"]


def test_more_lines_than_bytes_foretell_are_all_read(kernel: Kernel) -> None:
    assert contents(kernel, b"\n" * 100_000 + b"a 1 1") == [None] * 100_000 + [b"a"]
    assert contents(kernel, b"a 1 1\n" * 20_000) == [b"a"] * 20_000


def test_a_buffer_cut_off_anywhere_is_what_its_bytes_say(kernel: Kernel) -> None:
    whole = b"a.b.c 1.5 1700000000\r\n\n" + DEEP + b" -1e3 17\n x\t1 1\n\x00\xff;t=1 .5 1.\nd " + b"1" * 70 + b" 1_0\n"
    table = kernel.table_of([b"a.b.c", b"d"])
    for place in range(len(whole) + 1):
        for part in (whole[:place], whole[place:]):
            assert kernel.contents(table.read(part)) == [parse(line) for line in split_lines(part)]


def test_an_empty_buffer_has_no_lines(kernel: Kernel) -> None:
    lines = kernel.table_of().read(b"")
    assert len(lines) == 0
    assert kernel.cut(lines, []) == b""


def test_lines_are_as_they_came(kernel: Kernel) -> None:
    buffer = b"a 1 1\nbb 2 2\r\n\n ccc 3 3\nd 4 4"
    lines = kernel.table_of().read(buffer)
    assert [lines.line(at) for at in range(len(lines))] == [b"a 1 1\n", b"bb 2 2\r\n", b"\n", b" ccc 3 3\n", b"d 4 4"]
    assert lines.buffer is buffer


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ([True, False, True, False], b"a 1 1\nc 3 3\n"),
        ([False, True, True, False], b"b 2 2\nc 3 3\n"),
        ([False, False, False, True], b"d 4 4"),
        ([True, True, True, False], b"a 1 1\nb 2 2\nc 3 3\n"),
        ([False, False, False, False], b""),
    ],
)
def test_a_cut_leaves_the_kept_lines_as_they_came(kernel: Kernel, kept: list[bool], left: bytes) -> None:
    assert kernel.cut(kernel.table_of().read(b"a 1 1\nb 2 2\nc 3 3\nd 4 4"), kept) == left


def test_a_cut_that_keeps_all_gives_the_very_buffer(kernel: Kernel) -> None:
    buffer = b"a 1 1\n\n b 2 2\n"
    assert kernel.cut(kernel.table_of().read(buffer), [True, True, True]) is buffer
