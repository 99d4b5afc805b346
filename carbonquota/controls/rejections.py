"""The dropped lines of a batch as columns, grouped when somebody asks who dropped them.

A quota's row stands for who dropped a line, and less than 0 for what has none: `NO_RULES_QUOTA` where no rule did, and
`of_absent` of a rule where a namespace did that does not exist. The rule's pattern says how deep that lies, so
the metric's name tells which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.table import KEYS, CompiledRule
from carbonquota.metric_name import dotted_part
from carbonquota.model import MAXIMUM
from carbonquota.trie import NO_QUOTA, Quotas

NO_RULES_QUOTA: Final = -1
"""Stands for a quota where not a rule rejects but the bound on new metrics."""

_FIRST_ABSENT: Final = -2

_Facts = tuple[NDArray[np.object_], NDArray[np.int32]]

LOOKED_AT: Final = 32
"""So many lines of a group are looked at for samples: enough to find a few metrics, and no step for each line."""


def of_absent(rule: int) -> int:
    """What stands for the quota that a rule sets a namespace which does not exist."""
    return _FIRST_ABSENT - rule


def absent_by(quota: int, metric: str, compiled: Sequence[CompiledRule]) -> tuple[str, int]:
    """The namespace above a metric that does not exist, and its rule, of a number that `of_absent` gave."""
    rule = _FIRST_ABSENT - quota
    parts = dotted_part(metric).split(".")
    return ".".join(parts[: compiled[rule].depth]), rule


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
        quotas.references.add(self)

    @property
    def is_current(self) -> bool:
        """Whether the rows of quotas are still those of the batch; to be asked under the index's lock."""
        return self._facts is None

    def without(self, which: NDArray[np.bool_]) -> Rejections | None:
        """These but for `which`, None where no line is left; only while they are current."""
        if which.all():
            return None
        amounts = None if self._amounts is None else self._amounts[~which]
        return Rejections(self._quotas, self.positions[~which], self.by[~which], self.controls[~which], amounts)

    def resolve(self) -> None:
        """Look up the namespaces and rules of the quotas as they are now."""
        if self._facts is None:
            self._facts = self._look_up()

    def _look_up(self) -> _Facts:
        """The namespaces, by name, and the rules."""
        quotas = self._quotas
        return quotas.names(np.maximum(self.by, NO_QUOTA)), quotas.rule.take(self.by, mode="clip")

    def _resolved(self) -> _Facts:
        """The same as they were when the batch was decided."""
        facts = self._look_up() if self._facts is None else self._facts
        # Where a quota went meanwhile, `resolve` was called before it did.
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

    def groups(self, metric: Callable[[int], str], compiled: Sequence[CompiledRule]) -> Iterator[Group]:
        """The lines by namespace and control, the group of the first line first.

        `metric` gives the normal name on a line, `compiled` are those that the batch was decided by.
        """
        groups: dict[tuple[str, int], Group] = {}
        for group in (*self._by_quotas(), *self._by_absent(metric, compiled)):
            # A namespace that some lines did not find may have come before others.
            key = group.namespace, group.control
            groups[key] = group if key not in groups else _merged(groups[key], group)
        return iter(sorted(groups.values(), key=lambda group: group.positions[0]))

    def _by_quotas(self) -> Iterator[Group]:
        """The groups of lines that quotas dropped, or no rule."""
        chosen = np.flatnonzero(self.by > _FIRST_ABSENT)
        by, controls, positions = self.by[chosen], self.controls[chosen], self.positions[chosen]
        keys = by * np.int64(len(KEYS)) + controls
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=_FIRST_ABSENT * len(KEYS)))
        counts = np.diff(starts, append=len(keys))
        points = counts if self._amounts is None else _sums(self._amounts[chosen][order], starts)
        # Sorting is stable, so a group's first line is the first in its stretch.
        firsts = order[starts]
        namespaces, rules = self._resolved()
        columns = (namespaces[chosen[firsts]], rules[chosen[firsts]], controls[firsts], points, starts, counts)
        ordered = positions[order].tolist()
        by_group = (column.tolist() for column in columns)
        for namespace, rule, control, group_points, start, count in zip(*by_group, strict=True):
            yield Group(namespace, rule, control, group_points, ordered[start : start + min(count, LOOKED_AT)])

    def _by_absent(self, metric: Callable[[int], str], compiled: Sequence[CompiledRule]) -> Iterator[Group]:
        """The groups of lines that were dropped by namespaces which do not exist."""
        places: dict[tuple[str, int, int], list[int]] = {}
        for at in np.flatnonzero(self.by <= _FIRST_ABSENT).tolist():
            namespace, rule = absent_by(int(self.by[at]), metric(int(self.positions[at])), compiled)
            places.setdefault((namespace, rule, int(self.controls[at])), []).append(at)
        for (namespace, rule, control), group in places.items():
            points = len(group) if self._amounts is None else _sum(self._amounts[group])
            yield Group(namespace, rule, control, points, self.positions[group[:LOOKED_AT]].tolist())


def _merged(one: Group, other: Group) -> Group:
    """Two groups that are of the same."""
    positions = sorted(one.positions + other.positions)[:LOOKED_AT]
    return one._replace(points=min(one.points + other.points, MAXIMUM), positions=positions)


def _sum(amounts: NDArray[np.int64]) -> int:
    """A sum that stops at 2^63 - 1, as all counts do."""
    listed: list[int] = amounts.tolist()
    return min(sum(listed), MAXIMUM)


def _sums(amounts: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sums of stretches that begin there; there may be none."""
    stretches = np.split(amounts, starts[1:]) if len(starts) else []
    return np.array([_sum(part) for part in stretches], np.int64)
