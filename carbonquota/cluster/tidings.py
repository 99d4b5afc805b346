"""Which counts are worth telling the other nodes now, and which can wait.

Theory of operation. What a node let in and did not tell does no harm as long as the limit is far: if each of N nodes
keeps back no more than one in 4 N of what it sees to be left, all of them together keep back a third of what is really
left, and never the last points. The nearer the limit, the less is kept back, and within some ticks of it everything is
told at once: the *pace*, what came in on all nodes in the last ticks, says how near that is. So a namespace that stays
far below its limit costs hardly any traffic, and one that reaches it is counted as if all had been told.

Columns are int64 and go by namespace. This file must not know messages, clocks or the engine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.trie.columns import Column

_NEAR: Final = 4
"""Ticks of the pace before a limit in which everything is told; and which part of its own a node keeps back."""

_FADE: Final = 0.8
"""What is left of the pace from one tick to the next, where nothing comes in."""


_MOST: Final = 2**62


class Tidings:
    """What was told, heard and seen in the running interval, by namespace: all begin at 0."""

    def __init__(self, size: int) -> None:
        """For so many namespaces."""
        self._columns = np.zeros((6, size), np.int64)
        self._bind()

    def _bind(self) -> None:
        """Give the columns their names."""
        self.told: Column
        """What was told of what was accepted here."""
        self.others: Column
        """What the others accepted, as far as it was heard."""
        self.over: Column
        """The most that was seen over the limit."""
        self.left: Column
        """What was left of the limit at the last look."""
        self.accepted: Column
        """What was accepted here until the last look."""
        self.pace: Column
        """What came in on all nodes in a tick, lately."""
        self.told, self.others, self.over, self.left, self.accepted, self.pace = self._columns
        self._others_before = self.others.copy()

    def __len__(self) -> int:
        """How many namespaces there are."""
        return self._columns.shape[1]

    def grow(self, more: int) -> None:
        """Have so many more namespaces, of which nothing was told or heard yet."""
        before = self._others_before
        self._columns = np.concatenate((self._columns, np.zeros((6, more), np.int64)), axis=1)
        self._bind()
        self._others_before = np.concatenate((before, np.zeros(more, np.int64)))

    def look(self, at: NDArray[np.intp], accepted: Column, limits: Column) -> None:
        """Note what was accepted here by now, once a tick, of those namespaces of which anything was offered."""
        growth = self.others - self._others_before
        growth[at] += accepted - self.accepted[at]
        self._others_before = self.others.copy()
        self.pace[:] = np.maximum(growth, (self.pace * _FADE).astype(np.int64))
        self.accepted[at] = accepted
        self.left[at] = limits - accepted - self.others[at]

    def hear(self, at: NDArray[np.intp], growth: Column) -> None:
        """Note that the others accepted so many more; sums end at 2^62."""
        self.others[at] += np.minimum(growth, _MOST - self.others[at])

    def are_worth_telling(self, at: NDArray[np.intp], nodes: int) -> NDArray[np.bool_]:
        """Which of these changed by too much to be kept back, in a cluster of so many nodes."""
        kept_back: Column = np.maximum(self.left[at] - _NEAR * self.pace[at], 0) // (_NEAR * nodes)
        worth: NDArray[np.bool_] = self.accepted[at] - self.told[at] > kept_back
        return worth

    def near(self, at: NDArray[np.intp], growth: Column) -> Column:
        """Of what was just heard, what is of limits that as much again would pass."""
        return np.where(self.left[at] < 2 * growth, growth, 0)
