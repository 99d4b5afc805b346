"""The bound on new metrics in a second: what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.model import MAXIMUM
from carbonquota.trie.columns import View

HELD: Final = -1
"""What is left where new metrics are held back, unless a limit of what is held rejects them at once."""


class Creates:
    """How many metrics may still be created in this second of the clock; `remaining` counts down.

    Seconds are aligned. A clock that steps back by up to a second does not begin a second anew, or its limit would
    be given twice; one that was set back further does. Where new metrics are held back, `remaining` is `HELD`
    but inside of `opened`.
    """

    __slots__ = ("_cell_at", "_is_open", "_limit", "_next", "_second", "cell")

    def __init__(self, limit: int | None, *, hold_new: bool = False) -> None:
        """Allow so many a second; None is no bound."""
        self._limit = limit
        self._second = 0
        self._next = MAXIMUM if limit is None else limit
        """What is left as soon as it is opened."""
        self._is_open = not hold_new
        self.cell: NDArray[np.int64] = np.array([self._next if self._is_open else HELD], np.int64)
        """Where `remaining` stands, for who counts it down by address."""
        self._cell_at: View = self.cell.data

    @property
    def remaining(self) -> int:
        """How many metrics may still be created in this second."""
        return self._cell_at[0]

    @remaining.setter
    def remaining(self, remaining: int) -> None:
        """Note how many are left."""
        self._cell_at[0] = remaining

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let metrics be created, also where new ones are held back; only one thread may be in here at a time."""
        if self._is_open:
            yield
            return
        self._is_open, self.remaining = True, self._next
        try:
            yield
        finally:
            self._is_open, self._next, self.remaining = False, self.remaining, HELD

    def keep_time(self, now: float) -> None:
        """Begin the second of `now`, in seconds since the epoch, unless it is the running one."""
        if self._limit is not None and not self._second - 1 <= now < self._second + 1:
            self._second = floor(now)
            if self._is_open:
                self.remaining = self._limit
            else:
                self._next = self._limit
