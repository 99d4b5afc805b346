"""Lines of carbon's plaintext protocol: `parse` is the definition of the format.

This file knows bytes; it must not know series, namespaces or rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from math import isfinite, isnan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel._columns import PointColumns, point_of


class Malformed(IntEnum):
    """Why a line is no data point; the values are negative so that they fit where a row number stands."""

    FIELDS = -3
    VALUE = -4
    TIMESTAMP = -5
    NAME = -6
    MILLISECONDS = -7
    """A timestamp that no store has room for, and that looks like milliseconds."""
    TIME = -8
    """Any other timestamp that the store in question has no room for."""
    NO_FILE = -9
    """A name that the store in question can have no file of."""


BLANK: Final = -2
"""Stands for a row where a line is empty: neither a data point nor an error."""

UNKNOWN: Final = -1
"""Stands for a row where a line's metric is not in the table."""

NOW: Final = -1
"""Asks as a timestamp for the time of arrival, as in carbon."""

_EARLIEST_MILLISECONDS: Final = 10**11
"""From here on (1973; as seconds, some 3,000 years from now) a timestamp may be meant in milliseconds."""

Times = tuple[int, int]
"""The first and the last second that a store has room for."""


def parse(line: bytes, times: Times | None = None) -> bytes | Malformed | None:
    """The metric name of one plaintext line, why it is malformed, or None where it is blank.

    Three fields with white space between (carbon's `line.split()`); a value that `float` takes, but neither NaN
    nor with underscores; a timestamp likewise and finite, and within `times` where they are given, or NOW. The name is
    returned as it came.
    """
    fields = line.split()
    if len(fields) != 3:
        return Malformed.FIELDS if fields else None
    name, value, timestamp = fields
    if not _is_number(value) or isnan(float(value)):
        return Malformed.VALUE
    if not _is_number(timestamp) or not isfinite(float(timestamp)):
        return Malformed.TIMESTAMP
    if times is not None and (wrong := wrong_time(int(float(timestamp)), times)) is not None:
        return wrong
    return name


def wrong_time(second: int, times: Times) -> Malformed | None:
    """Why a timestamp, cut to its whole seconds, is none that a store has room for; None where it is."""
    earliest, latest = times
    if earliest <= second <= latest or second == NOW:
        return None
    if _EARLIEST_MILLISECONDS <= second <= latest * 1000 + 999:
        return Malformed.MILLISECONDS
    return Malformed.TIME


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
    are_names: Final = False

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

    def without(self, positions: NDArray[np.int64]) -> bytes:
        """The buffer without the lines at these positions; the buffer itself where there are none."""
        gone = set(positions.tolist())
        if not gone:
            return self.buffer
        return b"".join([line for position, line in enumerate(self._lines) if position not in gone])

    def columns(self, positions: NDArray[np.int64]) -> PointColumns:
        """The points of all lines but those at these positions, among which all malformed ones must be."""
        gone = set(positions.tolist())
        return PointColumns.of(
            point_of(line) for position, line in enumerate(self._lines) if position not in gone and line.strip()
        )

    def odd_places(self, positions: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Where in what `without` gives the lines begin and end that may have to go on otherwise than they came."""
        gone, place, places = set(positions.tolist()), 0, []
        for position, line in enumerate(self._lines):
            if position not in gone:
                if line.strip():
                    places.append((place, place + len(line)))
                place += len(line)
        return places


class Names:
    """Names, text or bytes, as lines that have nothing else; `contents` has each as bytes, or that it is none."""

    __slots__ = ("_lines", "contents")
    are_names: Final = True

    def __init__(self, names: Iterable[object]) -> None:
        """Take these; what is neither, or no UTF-8, is malformed."""
        self._lines: list[bytes] = []
        self.contents: list[bytes | Malformed | None] = []
        for name in names:
            encoded = encoded_name(name)
            self._lines.append(str(name).encode(errors="backslashreplace") if encoded is None else encoded)
            self.contents.append(Malformed.NAME if encoded is None else encoded)

    def __len__(self) -> int:
        """The number of names."""
        return len(self._lines)

    def odd_at(self) -> Sequence[int]:
        """The positions of those that may have to go on otherwise than they came."""
        return range(len(self))

    def line(self, position: int) -> bytes:
        """One name as it came."""
        return self._lines[position]


def encoded_name(name: object) -> bytes | None:
    """A name as UTF-8; None where it is neither text nor bytes of any kind, or has no UTF-8."""
    if isinstance(name, bytes | bytearray | memoryview):
        return bytes(name)
    try:
        return name.encode() if isinstance(name, str) else None
    except UnicodeError:
        return None
