"""Lines come out whole, however the stream is cut; what is too long or cut off is refused, and not kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.ingest import LineAssembler, without_long_lines

LONGEST = 8


def assemble(chunks: list[bytes]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """All lines of a stream, and all that was refused."""
    refused: list[tuple[str, bytes]] = []
    assembler = LineAssembler(lambda reason, sample: refused.append((reason, sample)), LONGEST)
    lines = []
    for chunk in chunks:
        lines.append(assembler.feed(chunk))
        assert assembler.held <= LONGEST
    assembler.close()
    assert not assembler.unfinished
    return b"".join(lines), refused


@pytest.mark.parametrize(
    ("stream", "lines", "refused"),
    [
        (b"", b"", []),
        (b"a 1 1\n", b"a 1 1\n", []),
        (b"a 1 1\r\nb 2 2\n", b"a 1 1\r\nb 2 2\n", []),
        (b"\n\n", b"\n\n", []),
        (b"\x00\xff\n", b"\x00\xff\n", []),
        (b"12345678\n", b"12345678\n", []),
        (b"123456789\na\n", b"a\n", [("long_line", b"123456789")]),
        (
            b"a\n123456789\nb\n1234567890\nc\n",
            b"a\nb\nc\n",
            [("long_line", b"123456789"), ("long_line", b"1234567890")],
        ),
        (b"a\nhalf", b"a\n", [("unfinished", b"half")]),
        (b"a\n \r", b"a\n", []),
        (b"a\n123456789", b"a\n", [("long_line", b"123456789")]),
    ],
)
def test_a_stream_gives_its_lines_in_every_cut(stream: bytes, lines: bytes, refused: list[tuple[str, bytes]]) -> None:
    reasons = [reason for reason, _ in refused]
    assert assemble([stream]) == (lines, refused)
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            got, told = assemble([stream[:first], stream[first:second], stream[second:]])
            assert (got, [reason for reason, _ in told]) == (lines, reasons)
            # How much of a long line is there to show may depend on the cut, not what it shows.
            assert all(full.startswith(shown) for (_, full), (_, shown) in zip(refused, told, strict=True))


@given(st.lists(st.text("a\n", max_size=30), max_size=8))
def test_cutting_a_stream_changes_nothing(texts: list[str]) -> None:
    chunks = [text.encode() for text in texts]
    stream = b"".join(chunks)
    lines, refused = assemble(chunks)
    *whole, rest = stream.split(b"\n")
    assert lines == b"".join(line + b"\n" for line in whole if len(line) <= LONGEST)
    long = sum(len(line) > LONGEST for line in (*whole, rest))
    assert sorted(reason for reason, _ in refused) == ["long_line"] * long + ["unfinished"] * (0 < len(rest) <= LONGEST)


def test_of_a_line_without_end_only_the_start_is_kept() -> None:
    refused: list[tuple[str, bytes]] = []
    assembler = LineAssembler(lambda reason, sample: refused.append((reason, sample)))
    for _ in range(1000):
        assert assembler.feed(b"x" * 1000) == b""
        assert assembler.held <= 8192
        assert assembler.unfinished
    assert refused == [("long_line", b"x" * 100)]
    assert assembler.feed(b"the end\na 1 1\n") == b"a 1 1\n"
    assert not assembler.unfinished


def test_lines_that_are_short_enough_are_passed_on_as_the_object_that_came() -> None:
    lines = b"a 1 1\n" * 10_000
    assert without_long_lines(lines, lambda _reason, _sample: None) is lines
