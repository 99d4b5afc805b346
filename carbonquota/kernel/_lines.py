"""The line scan: a buffer of carbon's plaintext protocol as columns, one entry a line.

Theory of operation. `scan` finds every byte up to the space, the only ones that can separate fields, and
reads each line's shape from them: `name value timestamp`, one space between, LF or CR LF at the end. Lines of
that shape whose numbers are plain decimals are *regular*: proven good without making a Python object of them.
Everything else (tabs, exponents, empty lines, garbage) is left to `parse`, one line at a time, which is the
definition of the format. So the scan may doubt a good line, but never passes a bad one.

This file knows bytes and offsets; it must not know series, namespaces or rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import isfinite, isnan
from typing import Final

import numpy as np

from carbonquota.kernel._words import LONGEST, WORD, Bools, Bytes, Integers, Words, aligned_words, are_plain_numbers

_TAIL: Final = bytes(LONGEST + 2 * WORD)
"""Put behind a buffer, so that the longest string's words can be read from any start."""

_SPACE: Final = 32
_NEWLINE: Final = 10
_RETURN: Final = 13
_MINUS: Final = 45
_DOT: Final = 46


class Malformed(IntEnum):
    """Why a line is no data point; the values are negative so that they fit where a row number stands."""

    FIELDS = -3
    VALUE = -4
    TIMESTAMP = -5
    NAME = -6


BLANK: Final = -2
"""Stands for a row where a line is empty: neither a data point nor an error."""

UNKNOWN: Final = -1
"""Stands for a row where a line's metric is not in the table."""


def parse(line: bytes) -> bytes | Malformed | None:
    """The metric name of one plaintext line, why it is malformed, or None where it is blank.

    Three fields with white space between (carbon's `line.split()`); a value that `float` takes, but neither NaN
    nor with underscores; a timestamp likewise and finite. The name is returned as it came.
    """
    fields = line.split()
    if len(fields) != 3:
        return Malformed.FIELDS if fields else None
    name, value, timestamp = fields
    if not _is_number(value) or isnan(float(value)):
        return Malformed.VALUE
    if not _is_number(timestamp) or not isfinite(float(timestamp)):
        return Malformed.TIMESTAMP
    return name


def _is_number(text: bytes) -> bool:
    """Whether `float` takes it, leaving out what only Python writes so: underscores."""
    if b"_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Lines:
    """A scanned buffer. Offsets are int64, a line an entry, and count from the start of `buffer`.

    A line runs from `starts[i]` to `ends[i]`, its line end included. `regular` marks the lines whose name, the
    `lengths[i]` bytes at its start, needs no further check of the line; `words` gives the word at each offset.
    """

    buffer: bytes
    starts: Integers
    ends: Integers
    lengths: Integers
    regular: Bools
    words: Words

    def __len__(self) -> int:
        """The number of lines, blank and malformed ones included."""
        return len(self.starts)

    def line(self, index: int) -> bytes:
        """One line as it came, with its line end."""
        return self.buffer[self.starts[index] : self.ends[index]]

    def name(self, index: int) -> bytes:
        """The first field of a regular line."""
        start = int(self.starts[index])
        return self.buffer[start : start + int(self.lengths[index])]

    def cut(self, keep: Bools) -> bytes:
        """The buffer down to the lines to keep, in order; the buffer itself where that is all of them."""
        if keep.all():
            return self.buffer
        if not keep.any():
            return b""
        # Stretches of kept lines begin and end where the mask changes.
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        begins, stops = self.starts[edges[0::2]].tolist(), self.ends[edges[1::2] - 1].tolist()
        return b"".join([self.buffer[begin:stop] for begin, stop in zip(begins, stops, strict=True)])


def scan(buffer: bytes) -> Lines:
    """The lines of a buffer; a last line without its line end counts as one."""
    terminated = not buffer or buffer.endswith(b"\n")
    padded = b"".join((buffer, b"" if terminated else b"\n", _TAIL))
    characters = np.frombuffer(padded, np.uint8)
    separators = (characters[: len(buffer) + (not terminated)] <= _SPACE).nonzero()[0]
    shape = _shape(characters, separators)
    starts = np.empty_like(shape.line_end)
    starts[:1] = 0
    np.add(shape.newline[:-1], 1, out=starts[1:])
    lengths = shape.name_end - starts

    value_start, timestamp_start = shape.name_end + 1, shape.value_end + 1
    value_start += characters[value_start] == _MINUS
    text = aligned_words(padded)
    regular = are_plain_numbers(text, value_start, shape.line_end - value_start)
    # Of two fields with one dot at most between them, each has a digit if it is more than a dot.
    regular &= shape.value_end - value_start > (characters[value_start] == _DOT)
    regular &= shape.line_end - timestamp_start > (characters[timestamp_start] == _DOT)
    regular &= (lengths > 0) & (lengths <= LONGEST)
    if shape.shaped is not None:
        regular &= shape.shaped

    ends = shape.newline + 1
    if not terminated:
        ends[-1] -= 1
    return Lines(buffer, starts, ends, lengths, regular, text)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where each line's separators are. `line_end` is where its CR or LF stands, `newline` where its LF.

    `shaped` tells which lines are fields with single spaces between, None standing for all; of the others only
    `newline` means anything.
    """

    name_end: Integers
    value_end: Integers
    line_end: Integers
    newline: Integers
    shaped: Bools | None


def _shape(characters: Bytes, separators: Integers) -> _Shape:
    """The shape of the lines that these separators, up to the last newline, delimit."""
    kinds = characters[separators]
    count, rest = divmod(len(separators), 3)
    if not rest and kinds.tobytes() == b"  \n" * count:
        name_end, value_end, newline = np.ascontiguousarray(separators.reshape(-1, 3).T)
        return _Shape(name_end, value_end, newline, newline, None)
    closing = (kinds == _NEWLINE).nonzero()[0]
    opening = np.empty_like(closing)
    opening[:1] = 0
    np.add(closing[:-1], 1, out=opening[1:])
    newline = separators[closing]
    returned = characters[newline - 1] == _RETURN
    # A line has two separators before its end; of one that has fewer, the second is looked for past it.
    second = np.minimum(opening + 1, len(separators) - 1)
    shaped = closing - opening - returned == 2
    shaped &= (kinds[opening] == _SPACE) & (kinds[second] == _SPACE)
    return _Shape(separators[opening], separators[second], newline - returned, newline, shaped)
