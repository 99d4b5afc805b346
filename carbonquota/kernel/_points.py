"""Points that come as names and numbers: decided by their names, and lines only where a relay asks for these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np

from carbonquota.kernel._columns import PointColumns
from carbonquota.kernel._lines import Malformed, Times, wrong_time

_NUMBERS: Final = 24
"""Bytes that the numbers of a point take as text, with the blanks and the line end, about."""

Number = int | float | str
"""A number, or a text that is one as it came."""


@dataclass(frozen=True, slots=True)
class PointList:
    """Points by names and numbers, which may be offered as a batch of lines is. Positions count from 0.

    `names` are what a line can hold as its name, without blanks and control characters.
    """

    names: list[str]
    timestamps: list[Number]
    values: list[Number]

    def __len__(self) -> int:
        """How many they are."""
        return len(self.names)

    @property
    def size(self) -> int:
        """How many bytes they would be as lines, about."""
        return sum(map(len, self.names)) + _NUMBERS * len(self)

    @classmethod
    def joined(cls, lists: Sequence[PointList]) -> PointList:
        """All of these, one behind the other."""
        if len(lists) == 1:
            return lists[0]
        return cls(
            [name for one in lists for name in one.names],
            [timestamp for one in lists for timestamp in one.timestamps],
            [value for one in lists for value in one.values],
        )

    def wrong(self, times: Times | None) -> dict[int, Malformed]:
        """Why points are none for what their numbers are, by position: see `parse`."""
        values, seconds = (
            np.fromiter(map(float, numbers), np.float64, len(self)) for numbers in (self.values, self.timestamps)
        )
        found = dict.fromkeys(np.flatnonzero(np.isnan(values)).tolist(), Malformed.VALUE)
        usual = np.isfinite(seconds) if times is None else (seconds >= times[0]) & (seconds <= times[1])
        for position in np.flatnonzero(~usual).tolist():
            if position not in found and (why := _wrong_second(seconds[position].item(), times)) is not None:
                found[position] = why
        return found

    @property
    def lines(self) -> bytes:
        """The lines that mean the same."""
        return self.lines_at(range(len(self)))

    def lines_at(self, positions: Sequence[int]) -> bytes:
        """The lines that mean those at these positions, each with its end."""
        names, timestamps, values = self.names, self.timestamps, self.values
        return "".join([f"{names[at]} {values[at]} {timestamps[at]}\n" for at in positions]).encode()

    def columns_at(self, positions: Sequence[int]) -> PointColumns:
        """Those at these positions as columns; none of them may be wrong."""
        names, timestamps, values = self.names, self.timestamps, self.values
        return PointColumns(
            [names[at].encode() for at in positions],
            [int(float(timestamps[at])) for at in positions],
            [float(values[at]) for at in positions],
        )


def _wrong_second(second: float, times: Times | None) -> Malformed | None:
    """Why a timestamp is none; None where it is one."""
    if not isfinite(second):
        return Malformed.TIMESTAMP
    return None if times is None else wrong_time(int(second), times)
