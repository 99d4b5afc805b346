"""Columns that grow: numpy arrays side by side, one entry a row, with quick access to single entries.

numpy is quick over whole columns and slow at single entries; a memoryview over the same memory is the other way
round. `Columns` keeps both, and renews them together when it grows.

Memory is only taken for the parts of a column that were ever written to, so a count that hardly any row has costs next
to nothing, as long as nobody writes zeros over zeros. Columns that have become large have room for more rows than there
will ever be, as copying them would hold up everybody; so what goes over whole columns has to stop at `size`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel import LARGE, Room, zeros

Column = NDArray[np.int64]
NarrowColumn = NDArray[np.int32]
Numbers = NDArray[np.integer[Any]]
"""Either of them."""

if TYPE_CHECKING:
    View = memoryview[int]
else:
    # Before Python 3.14 a memoryview says what it holds to type checkers only.
    View = memoryview

_FEW: Final = 64
"""So many rows there is room for at the start."""

_GIVEN, _FREE, OWN = range(3)
"""Places in a meter: how many rows were given out, how many of these are free, and one for a subclass to count in."""


class Columns:
    """Named columns of one length, int64 unless a subclass says otherwise, for a subclass to name.

    A subclass names its columns in `COLUMNS`, and those that are int32 in `NARROW`, blanks between; each is an
    attribute `name` (the numpy array, for many rows at once) and `name_at` (a memoryview over the same memory, for
    one row). Rows are given out by `take_row` and `take_rows` and may be given back. Do not keep an array or a view
    over these.

    Who has the memory's addresses can give out rows as well: `meter` (int64) has how many rows were ever given out and
    how many of these are free again, and `free` (int64) which, the one to be taken next last. Free rows are all zeros,
    but for what a subclass says of them.
    """

    COLUMNS: ClassVar[str]
    NARROW: ClassVar[str] = ""
    DTYPE: ClassVar[type[np.integer[Any]]] = np.int64

    def __init__(self) -> None:
        """Make room for a few rows, all zeros."""
        self.moved: Callable[[], None] = _nothing
        """Called whenever arrays were replaced, for who keeps addresses."""
        self.meter: Column = np.zeros(3, np.int64)
        self.free: Column = np.zeros(_FEW, np.int64)
        self._meter_at: View = self.meter.data
        self._store: NDArray[Any] = zeros((len(self.COLUMNS.split()), _FEW), self.DTYPE)
        self._narrow_store: NDArray[np.int32] = zeros((len(self.NARROW.split()), _FEW), np.int32)
        self._rooms: tuple[Room[Any], ...] = ()
        """Where the stores are large: whose they are."""
        self._expected = 0
        self._renew()

    def _renew(self) -> None:
        """Have everything point at the stores as they are now; called whenever these have moved."""
        self._bind()
        self.moved()

    def _bind(self) -> None:
        """Point every column's two attributes at the stores as they are now."""
        self._views: list[View] = []
        for names, store in ((self.COLUMNS, self._store), (self.NARROW, self._narrow_store)):
            for name, column in zip(names.split(), store, strict=True):
                self._views.append(memoryview(column))
                setattr(self, name, column)
                setattr(self, f"{name}_at", self._views[-1])

    @property
    def size(self) -> int:
        """One more than the highest row ever given out."""
        return self._meter_at[_GIVEN]

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return int(self._store.shape[1])

    def take_row(self) -> int:
        """A row that nobody uses, all zeros."""
        if free := self._meter_at[_FREE]:
            self._meter_at[_FREE] = free - 1
            return int(self.free[free - 1])
        row = self.size
        if row >= self._expected:
            self.reserve(row + 1)
        self._meter_at[_GIVEN] = row + 1
        return row

    def take_rows(self, count: int) -> Column:
        """So many rows, those that `take_row` would give one after the other."""
        free = self._meter_at[_FREE]
        kept = max(free - count, 0)
        reused = self.free[kept:free][::-1].copy()
        self._meter_at[_FREE] = kept
        first = self.size
        self.cover(first + count - len(reused))
        return np.concatenate((reused, np.arange(first, self.size)))

    def _wipe(self, row: int) -> None:
        """Make a used row all zeros."""
        for view in self._views:
            if view[row]:
                view[row] = 0

    def give_row(self, row: int) -> None:
        """Give a row back, to be taken again."""
        self._wipe(row)
        free = self._meter_at[_FREE]
        if free == len(self.free):
            self.free = np.concatenate((self.free, np.zeros_like(self.free)))
            self.moved()
        self.free[free] = row
        self._meter_at[_FREE] = free + 1

    def cover(self, size: int) -> None:
        """Have rows 0 to `size` - 1 in use, for a subclass whose rows are given out elsewhere."""
        self.reserve(size)
        self._meter_at[_GIVEN] = max(self.size, size)

    def reserve(self, size: int) -> None:
        """Make room for `size` rows, and for some more, so that growing is rare."""
        if size <= self._expected:
            return
        if size > self.capacity:
            self._grow(2 * size)
            self._renew()
        self._expected = min(size + size // 8, self.capacity)
        self._expect(self._expected)

    def _expect(self, rows: int) -> None:
        """Be ready for so many rows to be used."""
        for room in self._rooms:
            room.expect(rows)

    def _grow(self, capacity: int) -> None:
        """Move all that there is to where there is room for so many rows; `_renew` comes after it."""
        stores = self._store, self._narrow_store
        if capacity * len(self._store) * self._store.itemsize >= LARGE:
            self._rooms = tuple(Room(len(store), capacity, store.dtype.type) for store in stores if len(store))
            longer = [room.columns for room in self._rooms]
        else:
            longer = [zeros((len(store), capacity), store.dtype.type) for store in stores if len(store)]
        rows = min(len(store[0]) for store in longer)
        for store, held in zip(longer, stores, strict=False):
            _copy(held[:, : self.size], store)
        self._store = longer[0][:, :rows]
        if len(longer) > 1:
            self._narrow_store = longer[1][:, :rows]


def _nothing() -> None:
    """What is to be done where nobody keeps addresses."""


def _copy(held: NDArray[Any], longer: NDArray[Any]) -> None:
    """Put what columns have into longer ones, all zeros."""
    for column, values in zip(longer, held, strict=True):
        # Zeros are there already, and writing them would take memory.
        if values.any():
            column[: len(values)] = values
