"""The report: usage against quota, copied from the index in one moment and then named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from carbonquota.model import CONTROL_FIELDS, MAXIMUM, Limits
from carbonquota.trie import Index


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


def take_standings(index: Index, limits: Sequence[Limits]) -> Standings:
    """A copy of how every quota stands in the ended intervals; `limits` are those in force, by rule number."""
    quotas, namespaces = index.quotas, index.namespaces
    rows = quotas.in_use()
    held = quotas.namespace[rows]
    stocks = [getattr(namespaces, control)[held].tolist() for control in CONTROL_FIELDS[:-1]]
    _, *dropped = quotas.closed_counts
    return Standings(
        names=quotas.stat_names(rows),
        limits=[limits[rule] for rule in quotas.rule[rows].tolist()],
        usages=[*stocks, quotas.closed_throughput[rows].tolist()],
        throttle=quotas.closed_throttle[rows].tolist(),
        dropped=[
            min(sum(points), MAXIMUM) for points in zip(*(column[rows].tolist() for column in dropped), strict=True)
        ],
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
