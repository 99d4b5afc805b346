"""Columns that grow: numpy arrays side by side, one entry a row, with quick access to single entries.

numpy is quick over whole columns and slow at single entries; a memoryview over the same memory is the other way
round. `Columns` keeps both, and renews them together when it grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel import zeros

Column = NDArray[np.int64]
if TYPE_CHECKING:
    View = memoryview[int]
else:
    # Before Python 3.14 a memoryview says what it holds to type checkers only.
    View = memoryview


class Columns:
    """Named columns of one length, int64 unless a subclass says otherwise, for a subclass to name.

    A subclass names its columns in `COLUMNS`, blanks between; each is an attribute `name` (the numpy array, for
    many rows at once) and `name_at` (a memoryview over the same memory, for one row). Rows are given out by
    `take_row` and may be given back. Do not keep an array or a view over a `take_row`.
    """

    COLUMNS: ClassVar[str]
    DTYPE: ClassVar[type[np.integer[Any]]] = np.int64

    def __init__(self) -> None:
        """Make room for a few rows, all zeros."""
        self.size = 0
        self._free: list[int] = []
        self._store: NDArray[Any] = zeros((len(self.COLUMNS.split()), 64), self.DTYPE)
        self._bind()

    def _bind(self) -> None:
        """Point every column's two attributes at the store as it is now."""
        for name, column in zip(self.COLUMNS.split(), self._store, strict=True):
            setattr(self, name, column)
            setattr(self, f"{name}_at", memoryview(column))

    def take_row(self) -> int:
        """A row that nobody uses, all zeros."""
        if self._free:
            row = self._free.pop()
            self._store[:, row] = 0
            return row
        row = self.size
        if row == self._store.shape[1]:
            self.reserve(row + 1)
        self.size += 1
        return row

    def give_row(self, row: int) -> None:
        """Give a row back, to be taken again."""
        self._free.append(row)

    def cover(self, size: int) -> None:
        """Have rows 0 to `size` - 1 in use, for a subclass whose rows are given out elsewhere."""
        self.reserve(size)
        self.size = max(self.size, size)

    def reserve(self, size: int) -> None:
        """Make room for `size` rows, and for some more, so that growing is rare."""
        if size > self._store.shape[1]:
            wider: NDArray[Any] = zeros((len(self.COLUMNS.split()), size + size // 8), self.DTYPE)
            wider[:, : self.size] = self._store[:, : self.size]
            self._store = wider
            self._bind()
