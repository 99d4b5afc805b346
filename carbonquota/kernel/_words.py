"""Text as 64-bit words: how numpy reads, checks and hashes many short strings at once.

Theory of operation. A string of a buffer is read as little-endian words of eight bytes, one row of words per
eight bytes and one column per string, so that every step below is a few numpy operations over all strings of
a batch rather than a Python step each. Inside a word the eight bytes are tested side by side ("SIMD within a
register"): adding or masking one constant acts on each byte, as long as no byte carries into its neighbour.

This file knows bytes and words; never lines, metrics or rows. Arrays are uint64 unless said otherwise.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

WORD: Final = 8
"""Bytes in a word."""

LONGEST: Final = 256
"""The longest string, in bytes, that is read as words here; longer ones are for the one-by-one path."""

LONGEST_NUMBERS: Final = 40
"""The most bytes that a value and a timestamp together may have to be checked as words."""


def _each_byte(value: int) -> np.uint64:
    """The word whose eight bytes all are `value`."""
    return np.uint64(int.from_bytes(bytes([value]) * WORD, "little"))


_ZEROS: Final = _each_byte(ord("0"))
_HIGH_NIBBLES: Final = _each_byte(0xF0)
_SIX: Final = _each_byte(6)
_DOTS: Final = _each_byte(ord("."))
_LOW_SEVEN: Final = _each_byte(0x7F)
_DOT_TO_ZERO: Final = np.uint64(ord(".") ^ ord("0"))
_SPACES: Final = _each_byte(ord(" "))
_SPACE_TO_ZERO: Final = np.uint64(ord(" ") ^ ord("0"))
_ONE: Final = np.uint64(1)
_SEVEN: Final = np.uint64(7)
_HALF: Final = np.uint64(32)
_BITS: Final = np.uint64(64)
_LOW_HALF: Final = np.uint64(2**32 - 1)
_FIRST_BYTES: Final = np.array([(1 << (8 * n)) - 1 for n in range(WORD + 1)], np.uint64)
"""By n: a mask of the first n bytes of a word."""
_TRAILING_ZEROS: Final = ~_FIRST_BYTES & _ZEROS
"""By n: the digit 0 in all but the first n bytes of a word."""


def aligned_words(padded: bytes) -> Words:
    """The words of `padded`, shape (len // 8,), each beginning at a multiple of eight; nothing is copied."""
    return np.frombuffer(padded, "<u8", len(padded) // WORD)


def read_words(text: Words, starts: Integers, lengths: Integers, count: int) -> Words:
    """The strings at byte offsets `starts` of `text` as words, shape (count, strings).

    A string that begins inside a word is put together from the two words it lies in, which is quicker than
    reading unaligned. Bytes past a string's length are zero. `text` must reach `count` + 1 words past every start.
    """
    bits = ((starts & (WORD - 1)) << 3).astype(np.uint64)
    halves: Words = text[(starts >> 3) + np.arange(count + 1)[:, None]]
    words = halves[:-1] >> bits
    # numpy defines a shift by all 64 bits as zero, which is what a string that begins with its word needs.
    halves[1:] <<= _BITS - bits
    words |= halves[1:]
    # The words that every string fills need no mask.
    whole = max(min(int(lengths.min(initial=LONGEST)) // WORD, count), 0)
    if whole < count:
        words[whole:] &= _FIRST_BYTES.take(_bytes_within(lengths - whole * WORD, count - whole), mode="clip")
    return words


def _bytes_within(lengths: Integers, count: int) -> Integers:
    """How many bytes strings of these lengths have in and after each of `count` words; shape (count, strings).

    Below 0 or above 8 where a string ends before or after the word: the tables below are read with `clip`.
    """
    if count == 1:
        return lengths[None, :]
    remaining: Integers = lengths - np.arange(0, count * WORD, WORD)[:, None]
    return remaining


def are_plain_numbers(text: Words, starts: Integers, lengths: Integers) -> Bools:
    """Whether the strings are all ASCII digits but for spaces and at most one dot; shape (strings,).

    Strings over `LONGEST_NUMBERS` bytes are said not to be.
    """
    count = min(int(lengths.max(initial=1)) + WORD - 1, LONGEST_NUMBERS) // WORD
    words = read_words(text, starts, lengths, count)
    dots = _equal_bytes(words, _DOTS)
    words ^= (dots >> _SEVEN) * _DOT_TO_ZERO
    words ^= (_equal_bytes(words, _SPACES) >> _SEVEN) * _SPACE_TO_ZERO
    words |= _TRAILING_ZEROS.take(_bytes_within(lengths, count), mode="clip")
    stray = ((words ^ _ZEROS) | ((words + _SIX) ^ _ZEROS)) & _HIGH_NIBBLES
    for index in range(1, count):
        stray[0] |= stray[index]
        # The marks of all words fit in one: each shifted by its own number of bits, they never meet.
        dots[0] |= dots[index] >> np.uint64(index)
    good: Bools = ((stray[0] | (dots[0] & (dots[0] - _ONE))) == 0) & (lengths <= LONGEST_NUMBERS)
    return good


def _equal_bytes(words: Words, pattern: np.uint64) -> Words:
    """The bit 0x80 in each byte that equals the pattern's: an exact test, no byte carries into the next."""
    other = words ^ pattern
    marks = other & _LOW_SEVEN
    marks += _LOW_SEVEN
    marks |= other
    marks |= _LOW_SEVEN
    np.invert(marks, out=marks)
    return marks


class WordHash:
    """A keyed hash of word columns to 32 bits, drawn anew for each table.

    Multilinear hashing (Thorup, "High Speed Hashing for Integers and Strings"): each half word times a random
    64-bit key, summed modulo 2^64, then mixed down to 32 bits. Two strings chosen without knowing the keys clash
    with a chance of about 2^-32, so names made up by a sender cannot pile up in one place.
    """

    def __init__(self) -> None:
        """Draw the keys."""
        keys = [secrets.randbits(64) for _ in range(2 * (LONGEST // WORD))]
        self._low_keys = np.array(keys[0::2], np.uint64)[:, None]
        self._high_keys = np.array(keys[1::2], np.uint64)[:, None]
        self._mixer = np.uint64(secrets.randbits(64) | 1)

    def __call__(self, words: Words) -> Words:
        """The hash of each column of `words`, below 2^32; zero words at a string's end change nothing."""
        count = len(words)
        products = (words & _LOW_HALF) * self._low_keys[:count]
        products += (words >> _HALF) * self._high_keys[:count]
        hashes: Words = np.add.reduce(products, axis=0)
        # Sums of similar names lie on a grid, which would fill some places twice over and others never.
        hashes ^= hashes >> _HALF
        hashes *= self._mixer
        hashes >>= _HALF
        return hashes
