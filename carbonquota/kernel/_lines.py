"""Lines of carbon's plaintext protocol: `parse` is the definition of the format.

This file knows bytes; it must not know series, namespaces or rules.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from math import isfinite, isnan
from typing import Final


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


class Lines:
    """The lines of a buffer, each with its end; a last line without one counts as one. Positions count from 0."""

    __slots__ = ("_lines", "buffer")

    def __init__(self, buffer: bytes) -> None:
        """Cut the buffer at its line feeds."""
        self.buffer = buffer
        *lines, rest = buffer.split(b"\n")
        self._lines = [line + b"\n" for line in lines] + ([rest] if rest else [])

    def __len__(self) -> int:
        """The number of lines, blank and malformed ones included."""
        return len(self._lines)

    def line(self, position: int) -> bytes:
        """One line as it came, with its line end."""
        return self._lines[position]

    def without(self, positions: Collection[int]) -> bytes:
        """The buffer without the lines at these positions; the buffer itself where there are none."""
        if not positions:
            return self.buffer
        return b"".join([line for position, line in enumerate(self._lines) if position not in positions])
