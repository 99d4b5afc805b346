"""How namespaces stand: usage beside limits, read from the index."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonquota.control import CONTROLS
from carbonquota.controls.explanation import NamespaceQuota
from carbonquota.controls.table import CompiledRule
from carbonquota.kernel import UNKNOWN
from carbonquota.model import ROOT, Usage
from carbonquota.trie import NO_QUOTA, Index, TakenCounts, TakenQuotas
from carbonquota.trie.columns import Column, Numbers
from carbonquota.trie.taken import Counts, Names, NamesOnDemand, UnnamedQuotas


def usage_of(index: Index, row: int) -> Usage:
    """What the namespace at `row` holds, UNKNOWN standing for one that does not exist."""
    if row == UNKNOWN:
        return Usage()
    namespaces, quota = index.namespaces, index.own_quota(row)
    held = [used[row] for used in namespaces.usage_at]
    return Usage(*held, *[0 if quota == NO_QUOTA else index.quotas.used(quota)])


@dataclass(frozen=True, slots=True, eq=False)
class QuotaColumns:
    """How every quota stood at one moment, as columns; a quota is known by its position in them.

    `usages` has a column for each control. `throttle` are the points over quota, and `dropped` what each control
    dropped at the positions `counted` alone, which are those with points over quota, in ascending order: the counts of
    ended intervals that no report gave yet are in. Counts are uint64, all else is int64.
    """

    names: Names
    rules: Numbers
    usages: Sequence[Column]
    throttle: Counts
    counted: Column
    dropped: Sequence[Counts]
    compiled: Sequence[CompiledRule]

    def __len__(self) -> int:
        """How many quotas there are."""
        return len(self.rules)

    def names_at(self, positions: slice | Column) -> list[str]:
        """The names of those at these positions; an empty one is of a namespace that is gone by now."""
        names: list[str] = self.names[positions].tolist()
        return names

    def values(self) -> list[NamespaceQuota]:
        """All of them as values, the root first, then by name."""
        quotas = map(self.value, range(len(self)))
        return sorted(quotas, key=lambda quota: "" if quota.namespace == ROOT else quota.namespace)

    def value(self, position: int) -> NamespaceQuota:
        """One quota as a value."""
        each = self.compiled[self.rules[position]]
        throttle = int(self.throttle[position])
        return NamespaceQuota(
            namespace=self.names_at(slice(position, position + 1))[0],
            rule=each.rule,
            limits=each.limits,
            usage=Usage(*(int(usage[position]) for usage in self.usages)),
            throttle=throttle,
            dropped=self._dropped(position) if throttle else {},
        )

    def _dropped(self, position: int) -> dict[str, int]:
        """What each control dropped, where any did."""
        place = int(np.searchsorted(self.counted, position))
        points = ((control.key, int(column[place])) for control, column in zip(CONTROLS, self.dropped, strict=True))
        return {key: count for key, count in points if count}

    def positions(self, namespaces: AbstractSet[str]) -> list[int]:
        """Where quotas have points over quota, or are those of these namespaces."""
        counted: list[int] = self.counted.tolist()
        rest = namespaces - {self.names[position] for position in counted}
        if not rest:
            return counted
        return counted + [position for position, name in enumerate(self.names) if name in rest]

    def limits(self, control: str) -> NDArray[np.float64]:
        """The limits on one control, spelled as in stats; NaN where there is none."""
        by_rule = [getattr(each.limits, control) for each in self.compiled]
        return np.array([np.nan if limit is None else limit for limit in by_rule], np.float64)[self.rules]

    def pressures(self) -> NDArray[np.float64]:
        """The usage of the most pressing limit as a part of it: infinite for a limit of 0, -1 where there is none."""
        most = np.full(len(self), -1.0)
        for control, usage in zip(CONTROLS, self.usages, strict=True):
            limits = self.limits(control.stat)
            parts = np.divide(usage, limits, out=np.full(len(self), np.inf), where=limits != 0)
            np.fmax(most, parts, out=most)
        return most

    def are_over(self) -> NDArray[np.bool_]:
        """Whether each had points over quota, or uses more than a limit allows."""
        over = self.throttle > 0
        for control, usage in zip(CONTROLS, self.usages, strict=True):
            over |= usage > self.limits(control.stat)
        return over


@dataclass(frozen=True, slots=True, eq=False)
class UnnamedColumns(QuotaColumns):
    """The same with names that are looked up when one asks: those of very many new namespaces take longest to make."""

    on_demand: NamesOnDemand

    def names_at(self, positions: slice | Column) -> list[str]:
        """The names of those at these positions; an empty one is of a namespace that is gone by now."""
        return self.on_demand.at(positions)


def unnamed_quota_columns(taken: UnnamedQuotas, counts: TakenCounts, compiled: Sequence[CompiledRule]) -> QuotaColumns:
    """How all quotas stand that were taken without names; `names` has none of them."""
    counted, over = _counted(taken.rows, counts)
    none = np.empty(0, np.object_)
    return UnnamedColumns(none, taken.rules, taken.usages, over, counted, counts.dropped, compiled, taken.names)


def quota_columns(taken: TakenQuotas, counts: TakenCounts, compiled: Sequence[CompiledRule]) -> QuotaColumns:
    """How all quotas stand that were taken at one moment, with these counts; `compiled` are those in force then."""
    counted, over = _counted(taken.rows, counts)
    return QuotaColumns(taken.namespaces, taken.rules, taken.usages, over, counted, counts.dropped, compiled)


def _counted(rows: Column, counts: TakenCounts) -> tuple[Column, Counts]:
    """The positions among `rows` that counts are of, and the points over quota at each position."""
    counted = np.searchsorted(rows, counts.rows)
    over = np.zeros(len(rows), np.uint64)
    over[counted] = counts.over
    return counted, over
