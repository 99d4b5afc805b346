"""Memory for arrays that grow and are replaced: taken from the system, and given back to it in full."""

from __future__ import annotations

import mmap
import sys
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

LARGE: Final = 1 << 20
"""From so many bytes on, an array gets pages of its own."""

_TO_COME: Final = 1 << 25
"""Rows that there is room for in columns that have become large: addresses alone, which cost nothing."""

_HUGE_PAGE: Final = 1 << 21

# Not named before Python 3.12. Without it, some systems refuse more memory than they have, whether it is used or not.
_NO_RESERVE: Final = 0x4000 if sys.platform == "linux" else 0


def zeros(shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
    """An array of zeros. A large one takes no memory before it is written to, and leaves none behind.

    An allocator would put it between others and keep the hole when it goes, which for columns that are replaced by
    longer ones adds up to a fifth of the whole.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.zeros(shape, dtype)
    # Private, so that a forked child has columns of its own, as it has dicts and lists of its own.
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Look-ups at random would otherwise wait for page tables, too.
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype).reshape(shape)


class Room(Generic[Scalar]):
    """Columns of zeros with room for far more rows than there are, so that they never have to be copied to grow.

    `columns` (shape (count, rows)) takes memory only where it is written to.
    """

    __slots__ = ("_expected", "_pages", "columns")

    def __init__(self, count: int, rows: int, dtype: type[Scalar]) -> None:
        """Have room for at least so many rows in each of `count` columns; MemoryError where there is none."""
        item = np.dtype(dtype).itemsize
        to_come = max(_TO_COME, 2 * rows)
        while True:
            try:
                self._pages = mmap.mmap(-1, count * to_come * item, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
                break
            except (OSError, ValueError, OverflowError):
                # The system, or a limit set to this process, has fewer addresses to give.
                if to_come <= rows:
                    raise MemoryError(f"no room for {rows:,} rows") from None
                to_come = max(to_come // 4, rows)
        self.columns: NDArray[Scalar] = np.frombuffer(self._pages, dtype).reshape(count, to_come)
        self._expected = 0

    def expect(self, rows: int) -> None:
        """Have so many rows lie on large pages: look-ups at random would otherwise wait for page tables, too."""
        count, to_come = self.columns.shape
        item = self.columns.itemsize
        # No page is begun of which most would stay unused.
        size = rows * item // _HUGE_PAGE * _HUGE_PAGE
        if hasattr(mmap, "MADV_HUGEPAGE") and size > self._expected:
            for column in range(count):
                start = (column * to_come * item + self._expected) // mmap.PAGESIZE * mmap.PAGESIZE
                self._pages.madvise(mmap.MADV_HUGEPAGE, start, size - self._expected)
            self._expected = size
