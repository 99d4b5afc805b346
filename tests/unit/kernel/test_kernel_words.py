"""Text as words: reading, checking and hashing many strings side by side equals doing it one by one."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from carbonquota.kernel._words import (
    LONGEST,
    LONGEST_NUMBERS,
    WORD,
    Integers,
    WordHash,
    Words,
    aligned_words,
    are_plain_numbers,
    read_words,
)


def laid_out(strings: list[bytes], between: bytes = b"|") -> tuple[Words, Integers, Integers]:
    """Strings in one text, one behind the other: the text's words, and each string's start and length."""
    text = b"".join(between + string for string in strings) + b"~" * (LONGEST + 2 * WORD)
    lengths = np.array([len(string) for string in strings], np.int64)
    starts = np.cumsum(lengths + len(between)) - lengths
    return aligned_words(text), starts, lengths


def words_of(strings: list[bytes], count: int, between: bytes = b"|") -> list[bytes]:
    """The strings as `read_words` gives them, put together again: `count` words each."""
    columns = read_words(*laid_out(strings, between), count).T
    return [np.ascontiguousarray(column).astype("<u8").tobytes() for column in columns]


@pytest.mark.parametrize("between", [b"", b"-", b"--", b"123", b"1234567"])
def test_strings_of_all_lengths_at_all_offsets_are_read_with_zeros_behind(between: bytes) -> None:
    strings = [bytes(range(1, length + 1)) for length in range(1, 42)]
    assert words_of(strings, 6, between) == [string.ljust(48, b"\0") for string in strings]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 255, 256])
def test_strings_of_one_length_are_read_whole(length: int) -> None:
    strings = [bytes([65 + number]) * length for number in range(9)]
    count = -(-length // WORD)
    assert words_of(strings, count) == [string.ljust(count * WORD, b"\0") for string in strings]


def test_no_strings_are_no_words() -> None:
    nothing = np.zeros(0, np.int64)
    assert read_words(aligned_words(bytes(512)), nothing, nothing, 1).shape == (1, 0)


def plain(strings: list[bytes]) -> list[bool]:
    """The answers of `are_plain_numbers`."""
    return list(are_plain_numbers(*laid_out(strings)))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"0123456789", True),
        (b"1", True),
        (b"1.5", True),
        (b".", True),
        (b"1 2", True),
        (b"1.5 1700000000", True),
        (b"1 1700000000.5", True),
        (b"1.5 17.5", False),
        (b"..", False),
        (b"1234567.1234567.", False),
        (b"-1", False),
        (b"1e5", False),
        (b"1/5", False),
        (b"1:5", False),
        (b"\xb0\xb1", False),
        (b"1\n", False),
        (b"1\x00", False),
        (b"1" * LONGEST_NUMBERS, True),
        (b"1" * (LONGEST_NUMBERS - 1) + b"x", False),
        (b"1" * (LONGEST_NUMBERS + 1), False),
    ],
)
def test_plain_numbers_are_digits_spaces_and_one_dot(text: bytes, answer: bool) -> None:
    assert plain([text]) == [answer]
    assert plain([b"1 1", text, b"7" * 40]) == [True, answer, True]


@pytest.mark.parametrize("position", range(20))
def test_every_byte_is_told_from_a_digit_wherever_it_stands(position: int) -> None:
    strings = [b"5" * position + bytes([code]) + b"5" * (19 - position) for code in range(256)]
    assert plain(strings) == [code in b"0123456789. " for code in range(256)]


@pytest.mark.parametrize("length", [17, 24, 40])
def test_two_dots_are_found_wherever_they_stand(length: int) -> None:
    pairs = list(combinations(range(length), 2))
    strings = [bytes(ord(".") if i in pair else ord("1") for i in range(length)) for pair in pairs]
    assert not any(plain(strings))


def hashes_of(hashed: WordHash, strings: list[bytes], count: int) -> list[int]:
    """The hash of each string, read as `count` words."""
    return [int(value) for value in hashed(read_words(*laid_out(strings), count))]


def test_a_hash_depends_on_the_string_alone() -> None:
    hashed = WordHash()
    strings = [b"a.b.c", b"a.b.c" * 20, b"12345678", b"a.b.c"]
    first, second = hashes_of(hashed, strings, 13), hashes_of(hashed, strings[::-1], 32)
    assert first == second[::-1]
    assert all(0 <= value < 2**32 for value in first)
    assert hashes_of(hashed, [b"12345678"], 1) == [first[2]]


def test_similar_strings_hardly_ever_share_a_hash_nor_crowd_in_its_upper_bits() -> None:
    strings = [
        b"app.host%d.%s%d" % (host, kind, number) for host, kind, number in product(range(99), (b"x", b"yy"), range(99))
    ]
    hashes = np.array(hashes_of(WordHash(), strings, 2))
    assert len(np.unique(hashes)) > len(strings) - 10
    _, buckets = np.unique(hashes >> 20, return_counts=True)
    assert buckets.max() < 40, "19,602 strings in 4,096 places: about 5 in each"


def test_each_table_draws_its_own_keys() -> None:
    strings = [b"metric%d" % number for number in range(50)]
    assert hashes_of(WordHash(), strings, 2) != hashes_of(WordHash(), strings, 2)
