"""What is known of each series, as columns by its row in the series table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.model import Size, size_fields
from carbonquota.trie.columns import Column, Columns, View

_NEVER: Final = 2**32 - 1
"""Stands where no series is: later than any time that is asked for."""


class Series(Columns):
    """Each series' size by number; its name and namespace are in the kernel's table.

    Few sizes are held by many series, so each is kept once, as long as a series has it.
    """

    COLUMNS = "size_number"
    DTYPE = np.int32

    size_number: NDArray[np.int32]
    size_number_at: View

    def __init__(self) -> None:
        """Start without series."""
        super().__init__()
        self.sizes: list[Size] = []
        """By number; those without a holder stand there until the number is given again."""
        self._holders: list[int] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._unused: list[int] = []

    def put(self, row: int, size: Size) -> None:
        """Note a series' size."""
        self.cover(row + 1)
        self.size_number_at[row] = self.number(size, 1)

    def put_many(self, rows: Column, sizes: Sequence[Size], numbers: NDArray[np.int32]) -> None:
        """`put` for many series, of which each has the size at its number in `sizes`; these go pairwise."""
        self.cover(int(rows.max(initial=-1)) + 1)
        holders = np.bincount(numbers, minlength=len(sizes)).tolist()
        own = [self.number(size, count) if count else 0 for size, count in zip(sizes, holders, strict=True)]
        self.size_number[rows] = np.array(own, np.int32)[numbers]

    def number(self, size: Size, holders: int) -> int:
        """The number of a size, for so many more series that have it."""
        key = size_fields(size)
        number = self._numbers.get(key)
        if number is None:
            number = self._unused.pop() if self._unused else len(self.sizes)
            self.sizes[number : number + 1] = [size]
            self._holders[number : number + 1] = [0]
            self._numbers[key] = number
        self._holders[number] += holders
        return number

    def release(self, row: int) -> Size:
        """The size of a series that is about to have it no longer."""
        number = self.size_number_at[row]
        self.have_holders(number, -1)
        return self.sizes[number]

    def have_holders(self, number: int, more: int) -> None:
        """Note that so many more series have a size, or fewer; that of none is forgotten."""
        self._holders[number] += more
        if not self._holders[number]:
            size = self.sizes[number]
            del self._numbers[size_fields(size)]
            self._unused.append(number)

    def size_of(self, row: int) -> Size:
        """The size that a series is counted with."""
        return self.sizes[self.size_number_at[row]]


class Seen(Columns):
    """When the last accepted point of each series came, in whole seconds since the epoch, rounded down."""

    COLUMNS = "time"
    DTYPE = np.uint32

    time: NDArray[np.uint32]
    time_at: View

    def __init__(self) -> None:
        """Start without series, at the epoch."""
        super().__init__()
        self.now = 0

    def keep_time(self, now: float) -> None:
        """Have what is noted from here on be seen at `now`, which a uint32 can tell until the year 2106."""
        self.now = min(max(int(now), 0), _NEVER - 1)

    def note(self, row: int) -> None:
        """The series at this row was seen now; it may be a new one."""
        self.cover(row + 1)
        self.time_at[row] = self.now

    def put_many(self, rows: Column, times: NDArray[np.uint32]) -> None:
        """Note when new series were seen; where that is not known (0), it is now."""
        self.cover(int(rows.max(initial=-1)) + 1)
        self.time[rows] = np.where(times == 0, self.now, np.minimum(times, _NEVER - 1))

    def drop(self, row: int) -> None:
        """There is no series at this row any more."""
        self.time_at[row] = _NEVER

    def rows_before(self, time: int, most: int) -> Column:
        """Up to `most` rows of series that were last seen before that second."""
        return (self.time[: self.size] < min(max(time, 0), _NEVER)).nonzero()[0][:most]
