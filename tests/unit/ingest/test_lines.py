"""Chunks of text to batches of plaintext lines: names become points, points stay as they are."""

from __future__ import annotations

import bz2
import lzma
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import InputError
from carbonquota.ingest import LineReader, SourceBatch


def read(chunks: list[bytes]) -> list[SourceBatch]:
    reader = LineReader("names.txt")
    return [batch for batch in [*map(reader.feed, chunks), reader.close()] if batch]


def plaintext(text: bytes) -> bytes:
    return b"".join(batch.plaintext for batch in read([text]))


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (b"a.b\nc\n", b"a.b 1 0\nc 1 0\n"),
        (b"a.b\nc", b"a.b 1 0\nc 1 0"),
        (b"a.b\r\nc\r\n", b"a.b 1 0\nc 1 0\n"),
        (b"\n\na.b\n\n\nc\n\n", b"\n\na.b 1 0\n\n\nc 1 0\n\n"),
        (b"a.b \n\tc\t\n", b"a.b 1 0\nc 1 0\n"),
        (b"\xef\xbb\xbfa.b\n", b"a.b 1 0\n"),
        (b"a.b 5 1700000000\n", b"a.b 5 1700000000\n"),
        (b"a.b 5 1700000000\nc\n", b"a.b 5 1700000000\nc 1 0\n"),
        (b"c\na.b 5 1700000000", b"c 1 0\na.b 5 1700000000"),
        (b"two fields\nfour fields of one\n", b"two fields\nfour fields of one\n"),
        ("größe.é\n".encode(), "größe.é 1 0\n".encode()),
        (b"", b""),
    ],
)
def test_a_bare_name_becomes_a_point_and_all_else_stays(text: bytes, points: bytes) -> None:
    assert plaintext(text) == points


LINES = st.sampled_from([b"a.b", b"c 1 2", b"", b"x y", b"caf\xc3\xa9", b"q\r"])


@given(st.lists(LINES, min_size=1), st.integers(1, 12))
def test_any_cut_into_chunks_gives_the_same_lines(lines: list[bytes], size: int) -> None:
    text = b"\n".join(lines) + b"\n"
    batches = read([text[at : at + size] for at in range(0, len(text), size)])
    assert b"".join(batch.plaintext for batch in batches) == plaintext(text)
    assert b"".join(batch.raw for batch in batches) == text


def test_lines_know_their_numbers_across_batches() -> None:
    batches = read([b"a\n\nb c\n", b"d\r\ne", b"f"])
    found = [(line.number, line.text, line.plaintext) for batch in batches for line in batch.lines()]
    assert found == [
        (1, b"a", b"a 1 0"),
        (3, b"b c", b"b c"),
        (4, b"d", b"d 1 0"),
        (5, b"ef", b"ef 1 0"),
    ]


NAMES = b"".join(b"servers.host%d.cpu.idle\n" % number for number in range(2000))


PACKED = "packed with {0}, and only gzip is undone here; unpack it into a pipe: {0} -dc FILE | carbonquota ... -"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a.b\n\0\0\n", "a binary file, neither metric names nor plaintext lines"),
        (bytes(range(256)) * 4, "a binary file, neither metric names nor plaintext lines"),
        (b"\xff\xfe\xfd\n\xaa\xbb\n", "a binary file, neither metric names nor plaintext lines"),
        ("a.b.c\n".encode("utf-16"), "a binary file, neither metric names nor plaintext lines"),
        (
            lzma.compress(NAMES),
            PACKED.format("xz"),
        ),
        (
            bz2.compress(NAMES),
            PACKED.format("bzip2"),
        ),
        (b"a" * 1_048_577, "neither metric names nor plaintext lines: there is no line end in 1,048,576 bytes"),
    ],
    ids=["NUL bytes", "all bytes", "no text", "UTF-16", "xz", "bzip2", "one long line"],
)
def test_what_is_no_text_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape('names.txt: ' + message)}$"):
        read([text])


def test_a_nul_byte_further_on_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match=r"^names\.txt: a binary file: line 4 holds a NUL byte$"):
        read([b"a\nb\n", b"c\nd\0\n"])


def test_a_few_undecodable_names_do_not_make_a_file_binary() -> None:
    assert plaintext(b"a\nb\ncaf\xe9\n") == b"a 1 0\nb 1 0\ncaf\xe9 1 0\n"
