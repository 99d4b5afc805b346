"""The report: usage against quota, copied from the index in one moment and then named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np

from carbonquota.model import CONTROL_FIELDS, MAXIMUM, Limits
from carbonquota.trie import TakenCounts, TakenQuotas
from carbonquota.trie.columns import Column

_PIECE: Final = 500
"""Namespaces whose values are made at a time."""


@dataclass(frozen=True, slots=True)
class ReportedQuotas:
    """How every quota stands at a report: parallel sequences, one entry a quota.

    `names` are the namespaces' names in stats. `usages` holds a sequence for each control, in their order, or is None
    where that cannot be told; `throttle` and `dropped` are points over quota, and of these the ones really dropped.
    """

    names: Sequence[str]
    limits: Sequence[Limits]
    usages: Sequence[Sequence[int]] | None
    throttle: Sequence[int]
    dropped: Sequence[int]


UsageOverAll = Callable[[Sequence[str], Sequence[Column]], Sequence[Column] | None]
"""The usage of namespaces over all nodes that share limits, in the place of this one's; None where it is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class ReportColumns:
    """The same as the index has it, quick to copy; what takes a step for each quota is left to `at`.

    With `over_all`, the usage is that of all nodes.
    """

    taken: TakenQuotas
    limits: Sequence[Limits]
    throttle: Column
    dropped: Column
    over_all: UsageOverAll | None = None

    def __len__(self) -> int:
        """How many quotas there are."""
        return len(self.taken)

    def at(self, places: slice | Column) -> ReportedQuotas:
        """Those at these places as sequences; needs no lock."""
        taken = self.taken
        usages: Sequence[Column] | None = [usage[places] for usage in (*taken.usages[:-1], taken.ended)]
        if self.over_all is not None and usages is not None:
            usages = self.over_all(taken.namespaces[places].tolist(), usages)
        return ReportedQuotas(
            names=taken.stat_names(places),
            limits=[self.limits[rule] for rule in taken.rules[places].tolist()],
            usages=None if usages is None else [usage.tolist() for usage in usages],
            throttle=self.throttle[places].tolist(),
            dropped=self.dropped[places].tolist(),
        )

    def pieces(self) -> Iterator[dict[str, int]]:
        """All of them as `named_values`, as many at a time as take some milliseconds."""
        for start in range(0, len(self), _PIECE):
            yield named_values(self.at(slice(start, start + _PIECE)))


def ended_intervals(taken: TakenQuotas, counts: TakenCounts, limits: Sequence[Limits]) -> ReportColumns:
    """How quotas that were taken at one moment stand, with the counts of ended intervals.

    `limits` are those in force, by rule number.
    """
    counted = np.searchsorted(taken.rows, counts.rows)
    throttle, dropped = np.zeros((2, len(taken)), np.int64)
    throttle[counted] = counts.over
    for more in counts.dropped:
        dropped[counted] += np.minimum(more.astype(np.int64), MAXIMUM - dropped[counted])
    return ReportColumns(taken, limits, throttle, dropped)


def named_values(quotas: ReportedQuotas) -> dict[str, int]:
    """Each stat by its name, without the graph prefix; limits and usage only of the controls that are set.

    Where the usage cannot be told, there is none.

    The names are those of go-carbon (`quota.<control>.<name>`, `usage.…`, `throttle.<name>`), and `dropped.<name>`.
    """
    values: dict[str, int] = {}
    for control, usage in zip(CONTROL_FIELDS, quotas.usages or repeat(None, len(CONTROL_FIELDS)), strict=True):
        limits = [getattr(limit, control) for limit in quotas.limits]
        values |= _pairs(control, quotas.names, limits, usage)
    for name, throttle, dropped in zip(quotas.names, quotas.throttle, quotas.dropped, strict=True):
        values[f"throttle.{name}"] = throttle
        values[f"dropped.{name}"] = dropped
    return values


def _pairs(
    control: str, names: Sequence[str], limits: Sequence[int | None], usage: Sequence[int] | None
) -> Iterator[tuple[str, int]]:
    """Quota and usage of one control."""
    for place, (name, limit) in enumerate(zip(names, limits, strict=True)):
        if limit is not None:
            yield f"quota.{control}.{name}", limit
            if usage is not None:
                yield f"usage.{control}.{name}", usage[place]
