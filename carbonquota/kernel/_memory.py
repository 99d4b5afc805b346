"""Memory for arrays that grow and are replaced: taken from the system, and given back to it in full."""

from __future__ import annotations

import mmap
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

_LARGE = 1 << 20
"""From so many bytes on, an array gets pages of its own."""


def zeros(shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
    """An array of zeros. A large one takes no memory before it is written to, and leaves none behind.

    An allocator would put it between others and keep the hole when it goes, which for columns that are replaced by
    longer ones adds up to a fifth of the whole.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < _LARGE:
        return np.zeros(shape, dtype)
    # Private, so that a forked child has columns of its own, as it has dicts and lists of its own.
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Look-ups at random would otherwise wait for page tables, too.
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype).reshape(shape)
