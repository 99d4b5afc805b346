"""The dropped lines of a batch as columns, grouped when somebody asks who dropped them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.table import KEYS
from carbonquota.trie import Quotas

_NO_KEY: Final = -2
"""Less than any quota, the one that stands for none included, makes of a control."""

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


@dataclass(frozen=True, slots=True)
class Rejections:
    """The dropped lines of a batch: their positions, and whose rule, by number, dropped each by which control.

    All columns go pairwise. `quotas` are rows at the time of the batch, which may be others' by now.
    """

    positions: NDArray[np.int64]
    quotas: NDArray[np.int32]
    namespaces: NDArray[np.object_]
    rules: NDArray[np.int64]
    controls: NDArray[np.int8]

    @classmethod
    def of(
        cls, quotas: Quotas, positions: NDArray[np.int64], by: NDArray[np.int32], controls: NDArray[np.int8]
    ) -> Rejections:
        """Those of a batch just decided. Below the first row stands what is no rule's: it is the root's."""
        return cls(
            positions, by, quotas.namespace_names.take(by, mode="clip"), quotas.rule.take(by, mode="clip"), controls
        )

    def __len__(self) -> int:
        """How many lines were dropped."""
        return len(self.positions)

    def by_control(self) -> dict[str, int]:
        """How many lines each control dropped, by its name in answers."""
        counts = np.bincount(self.controls, minlength=len(KEYS)).tolist()
        return {key: count for key, count in zip(KEYS, counts, strict=True) if count}

    def groups(self) -> Iterator[Group]:
        """The lines by namespace and control, the group of the first line first."""
        keys = self.quotas * np.int64(len(KEYS)) + self.controls
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=_NO_KEY))
        points = np.diff(starts, append=len(keys))
        firsts = order[starts]
        # Sorting is stable, so a group's first line is the first in its stretch.
        turns = np.argsort(self.positions[firsts])
        columns = (self.namespaces[firsts], self.rules[firsts], self.controls[firsts], points, starts)
        positions = self.positions[order].tolist()
        by_group = (column[turns].tolist() for column in columns)
        for namespace, rule, control, count, start in zip(*by_group, strict=True):
            yield Group(namespace, rule, control, count, positions[start : start + min(count, LOOKED_AT)])


NO_REJECTIONS: Final = Rejections(
    np.zeros(0, np.int64),
    np.zeros(0, np.int32),
    np.zeros(0, np.object_),
    np.zeros(0, np.int64),
    np.zeros(0, np.int8),
)
"""What a batch has of which nothing is dropped."""
