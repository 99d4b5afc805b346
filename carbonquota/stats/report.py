"""The report: usage against quota, copied from the index in one moment and then named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from carbonquota.model import CONTROL_FIELDS, MAXIMUM, Limits
from carbonquota.trie import Index
from carbonquota.trie.columns import Column, Numbers
from carbonquota.trie.quotas import TakenNames


@dataclass(frozen=True, slots=True)
class Standings:
    """How every quota stands at a report: parallel sequences, one entry a quota.

    `names` are the namespaces' names in stats. `usages` holds a sequence for each control, in their order;
    `throttle` and `dropped` are points over quota, and of these the ones really dropped.
    """

    names: Sequence[str]
    limits: Sequence[Limits]
    usages: Sequence[Sequence[int]]
    throttle: Sequence[int]
    dropped: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class StandingColumns:
    """The same as the index has it, quick to copy; what takes a step for each quota is left to `standings`."""

    names: TakenNames
    limits: Sequence[Limits]
    rules: Numbers
    usages: Sequence[Column]
    throttle: Column
    dropped: Column

    def standings(self) -> Standings:
        """As sequences; needs no lock."""
        return Standings(
            names=self.names.stat_names(),
            limits=[self.limits[rule] for rule in self.rules.tolist()],
            usages=[usage.tolist() for usage in self.usages],
            throttle=self.throttle.tolist(),
            dropped=self.dropped.tolist(),
        )


def take_columns(index: Index, limits: Sequence[Limits]) -> StandingColumns:
    """A copy of how every quota stands in the ended intervals, to be made under the index's lock.

    `limits` are those in force, by rule number.
    """
    quotas, namespaces = index.quotas, index.namespaces
    rows = quotas.in_use()
    held = quotas.namespace[rows]
    throttle = quotas.closed_throttle[rows]
    dropped = np.zeros(len(rows), np.int64)
    # What was dropped was over quota, too: elsewhere there is nothing to add up.
    counted = np.flatnonzero(throttle)
    for column in quotas.closed_counts[1:]:
        more = column[rows[counted]]
        dropped[counted] += np.minimum(more, MAXIMUM - dropped[counted])
    return StandingColumns(
        names=quotas.take_names(rows),
        limits=limits,
        rules=quotas.rule[rows],
        usages=[
            *(used[held] for used in namespaces.usage),
            quotas.closed_throughput[rows],
        ],
        throttle=throttle,
        dropped=dropped,
    )


def named_values(standings: Standings) -> dict[str, int]:
    """Each stat by its name, without the graph prefix; limits and usage only of the controls that are set.

    The names are those of go-carbon (`quota.<control>.<name>`, `usage.…`, `throttle.<name>`), and `dropped.<name>`.
    """
    values: dict[str, int] = {}
    for control, usage in zip(CONTROL_FIELDS, standings.usages, strict=True):
        limits = [getattr(limit, control) for limit in standings.limits]
        values |= _pairs(control, standings.names, limits, usage)
    for name, throttle, dropped in zip(standings.names, standings.throttle, standings.dropped, strict=True):
        values[f"throttle.{name}"] = throttle
        values[f"dropped.{name}"] = dropped
    return values


def _pairs(
    control: str, names: Sequence[str], limits: Sequence[int | None], usage: Sequence[int]
) -> Iterator[tuple[str, int]]:
    """Quota and usage of one control."""
    for name, limit, used in zip(names, limits, usage, strict=True):
        if limit is not None:
            yield f"quota.{control}.{name}", limit
            yield f"usage.{control}.{name}", used
