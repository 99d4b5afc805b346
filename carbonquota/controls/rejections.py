"""The dropped lines of a batch as columns, grouped when somebody asks who dropped them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.table import KEYS
from carbonquota.trie import Quotas

_NO_KEY: Final = -2
"""Less than any quota, the one that stands for none included, makes of a control."""

_Facts = tuple[NDArray[np.object_], NDArray[np.int64]]

LOOKED_AT: Final = 32
"""So many lines of a group are looked at for samples: enough to find a few metrics, and no step for each line."""


class Group(NamedTuple):
    """The points that one namespace's rule dropped by one control.

    `rule` is its number, or NO_RULE; `control` the index; `positions` those of the group's first few lines.
    """

    namespace: str
    rule: int
    control: int
    points: int
    positions: list[int]


class Rejections:
    """The dropped lines of a batch: their positions, and whose rule, by number, dropped each by which control.

    All columns go pairwise. `by` are rows of quotas at the time of the batch, which may be others' by now. What is to
    be told of these is looked up when it is asked for, or just before one of them goes.
    """

    __slots__ = ("__weakref__", "_facts", "_quotas", "by", "controls", "positions")

    def __init__(
        self, quotas: Quotas, positions: NDArray[np.int64], by: NDArray[np.int32], controls: NDArray[np.int8]
    ) -> None:
        """Those of a batch just decided. Below the first row stands what is no rule's: it is the root's."""
        self._quotas = quotas
        self._facts: _Facts | None = None
        self.positions = positions
        self.by = by
        self.controls = controls
        quotas.witnesses.add(self)

    def settle(self) -> None:
        """Look up the namespaces and rules of the quotas as they are now."""
        if self._facts is None:
            self._facts = self._look_up()

    def _look_up(self) -> _Facts:
        """The namespaces, by name, and the rules."""
        quotas = self._quotas
        return quotas.namespace_names.take(self.by, mode="clip"), quotas.rule.take(self.by, mode="clip")

    def _settled(self) -> _Facts:
        """The same as they were when the batch was decided."""
        facts = self._look_up() if self._facts is None else self._facts
        # Where a quota went meanwhile, `settle` was called before it did.
        self._facts = facts = facts if self._facts is None else self._facts
        return facts

    def __len__(self) -> int:
        """How many lines were dropped."""
        return len(self.positions)

    def by_control(self) -> dict[str, int]:
        """How many lines each control dropped, by its name in answers."""
        counts = np.bincount(self.controls, minlength=len(KEYS)).tolist()
        return {key: count for key, count in zip(KEYS, counts, strict=True) if count}

    def groups(self) -> Iterator[Group]:
        """The lines by namespace and control, the group of the first line first."""
        keys = self.by * np.int64(len(KEYS)) + self.controls
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=_NO_KEY))
        points = np.diff(starts, append=len(keys))
        firsts = order[starts]
        # Sorting is stable, so a group's first line is the first in its stretch.
        turns = np.argsort(self.positions[firsts])
        namespaces, rules = self._settled()
        columns = (namespaces[firsts], rules[firsts], self.controls[firsts], points, starts)
        positions = self.positions[order].tolist()
        by_group = (column[turns].tolist() for column in columns)
        for namespace, rule, control, count, start in zip(*by_group, strict=True):
            yield Group(namespace, rule, control, count, positions[start : start + min(count, LOOKED_AT)])
