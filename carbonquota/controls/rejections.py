"""The dropped lines of a batch as columns, grouped when somebody asks who dropped them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.table import KEYS
from carbonquota.model import MAXIMUM
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

    __slots__ = ("__weakref__", "_amounts", "_facts", "_quotas", "by", "controls", "points", "positions")

    def __init__(
        self,
        quotas: Quotas,
        positions: NDArray[np.int64],
        by: NDArray[np.int32],
        controls: NDArray[np.int8],
        amounts: NDArray[np.int64] | None = None,
    ) -> None:
        """Those of a batch just decided, with one point each or such amounts of them.

        Below the first row of quotas stands what is no rule's: it is the root's.
        """
        self._quotas = quotas
        self._facts: _Facts | None = None
        self.positions = positions
        self.by = by
        self.controls = controls
        self._amounts = amounts
        self.points = len(positions) if amounts is None else _sum(amounts)
        quotas.witnesses.add(self)

    @property
    def is_current(self) -> bool:
        """Whether the rows of quotas are still those of the batch; to be asked under the index's lock."""
        return self._facts is None

    def without(self, which: NDArray[np.bool_]) -> Rejections | None:
        """These but for `which`, None where no line is left; only while they are current."""
        if which.all():
            return None
        return Rejections(self._quotas, self.positions[~which], self.by[~which], self.controls[~which])

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
        """How many points each control dropped, by its name in answers."""
        if self._amounts is not None:
            amounts, controls = self._amounts, self.controls
            return {KEYS[control]: _sum(amounts[controls == control]) for control in np.unique(controls).tolist()}
        counts = np.bincount(self.controls, minlength=len(KEYS)).tolist()
        return {key: count for key, count in zip(KEYS, counts, strict=True) if count}

    def groups(self) -> Iterator[Group]:
        """The lines by namespace and control, the group of the first line first."""
        keys = self.by * np.int64(len(KEYS)) + self.controls
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=_NO_KEY))
        counts = np.diff(starts, append=len(keys))
        points = counts if self._amounts is None else _sums(self._amounts[order], starts)
        firsts = order[starts]
        # Sorting is stable, so a group's first line is the first in its stretch.
        turns = np.argsort(self.positions[firsts])
        namespaces, rules = self._settled()
        columns = (namespaces[firsts], rules[firsts], self.controls[firsts], points, starts, counts)
        positions = self.positions[order].tolist()
        by_group = (column[turns].tolist() for column in columns)
        for namespace, rule, control, group_points, start, count in zip(*by_group, strict=True):
            yield Group(namespace, rule, control, group_points, positions[start : start + min(count, LOOKED_AT)])


def _sum(amounts: NDArray[np.int64]) -> int:
    """A sum that stops at 2^63 - 1, as all counts do."""
    listed: list[int] = amounts.tolist()
    return min(sum(listed), MAXIMUM)


def _sums(amounts: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sums of stretches that begin there."""
    return np.array([_sum(part) for part in np.split(amounts, starts[1:])], np.int64)
