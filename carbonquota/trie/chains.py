"""Chains: for each quota, the throughput limits that an offer below it has to pass, root first, as a matrix."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel import LARGE, Room, zeros
from carbonquota.trie.columns import Column, Numbers

Matrix = NDArray[np.int32]

PADDING: Final = 0
"""Stands after the end of a chain that is shorter than the matrix is wide."""


class Chains:
    """The chains of all quotas. `matrix` is int32, C-contiguous, and another one once it has grown.

    A chain is that of the quota above, with one more where the quota itself is one to be passed.
    """

    __slots__ = ("_memory", "_room", "_row", "_size", "_stride", "_width", "matrix")

    def __init__(self, size: Callable[[], int]) -> None:
        """Start without chains; `size` tells how many rows are in use, at most."""
        self._size = size
        self._room: Room[np.int32] | None = None
        self._have(np.zeros((0, 1), np.int32))

    def _have(self, matrix: NDArray[Any]) -> None:
        """Go on with this matrix."""
        self.matrix: Matrix = matrix
        self._memory: Any = matrix.data
        self._width = matrix.shape[1]
        self._row = Struct(f"={self._width}i")
        self._stride = self._row.size

    def of(self, row: int) -> tuple[int, ...]:
        """The chain of the quota at a row."""
        # Half of the time that slicing takes, and every single offer needs a chain.
        chain: tuple[int, ...] = self._row.unpack_from(self._memory, row * self._stride)
        return chain if chain[-1] != PADDING else chain[: chain.index(PADDING)]

    def put(self, row: int, above: int, *, own: bool) -> None:
        """Note the chain of a new quota; `above` is the one above it, `own` tells whether it is to be passed itself."""
        chain = self.of(above)
        if own:
            chain = (*chain, row)
        if len(chain) != self._width:
            self._widen(len(chain))
            chain += (PADDING,) * (self._width - len(chain))
        self._row.pack_into(self._memory, row * self._stride, *chain)

    def put_many(self, rows: Column, above: Numbers, own: NDArray[np.bool_]) -> None:
        """`put` for many, pairwise and none above another of them."""
        chains = self.matrix[above]
        lengths = np.count_nonzero(chains, axis=1)
        # What it becomes wider by is padding.
        self._widen(int((lengths + own).max(initial=0)))
        self.matrix[rows, : chains.shape[1]] = chains
        self.matrix[rows[own], lengths[own]] = rows[own]

    def _widen(self, width: int) -> None:
        """Have room for chains of this length."""
        if width > self._width:
            self._resize(len(self.matrix), width)

    def lengthen(self, capacity: int) -> None:
        """Have room for so many chains."""
        if capacity > len(self.matrix):
            self._resize(capacity, self._width)

    def expect(self, rows: int) -> None:
        """Be ready for so many chains to be put."""
        if self._room is not None:
            self._room.expect(rows * self._width)

    def _resize(self, length: int, width: int) -> None:
        """Go on with a larger matrix."""
        rows, columns = min(self._size(), len(self.matrix)), self.matrix.shape[1]
        larger: Matrix
        if length * width * self.matrix.itemsize >= LARGE:
            self._room = Room(1, length * width, np.int32)
            larger = self._room.columns[0]
            larger = larger[: len(larger) // width * width].reshape(-1, width)
        else:
            larger = zeros((length, width), np.int32)
        larger[:rows, :columns] = self.matrix[:rows]
        self._have(larger)
