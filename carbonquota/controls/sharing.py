"""Throughput limits that several nodes share: what was accepted here, told to others, and what they leave of a limit.

A namespace is named by its row and its number of birth, which no other namespace of this index ever has. So what comes
back from others later can do no harm where the row was given to another namespace meanwhile, and new rules need no new
names. Namespaces that are gone, or have no throughput limit any more, are passed over. Columns are int64 and go
together, an entry a namespace.

Two ways. Either each node begins an interval with the whole limit, and leaves to others what they accepted
(`leave_to_others`). Or limits are prepaid: a node begins with nothing, and accepts what it was granted (`grant`), of
which it may give back what is left (`take_back`). What came before more was granted may be held back (holding.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonquota.model import MAXIMUM
from carbonquota.trie import Index
from carbonquota.trie.columns import Column


@dataclass(frozen=True, slots=True, eq=False)
class NamespaceRows:
    """Some namespaces: `rows`, and when each was `generation`, as numbers."""

    rows: Column
    generation: Column


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The namespaces of which points were offered under a throughput limit in the interval that began at `start`.

    `accepted` is how many were accepted and `over` how many were over a limit or are held back; `allowed` is what may
    be accepted by now, `limits` what the rules allow, and `enforcing` is 1 where what is over is rejected.
    """

    start: float
    namespaces: NamespaceRows
    accepted: Column
    over: Column
    allowed: Column
    limits: Column
    enforcing: Column


def counted(index: Index, start: float) -> Counted:
    """What was accepted so far in the running interval, which began at `start`, in seconds since the epoch."""
    quotas = index.quotas
    used = quotas.limit[: quotas.size] != quotas.remaining[: quotas.size]
    over = quotas.throttle[: quotas.size] + quotas.waiting[: quotas.size]
    rows = np.flatnonzero(used | (over != 0))
    limits = quotas.throughputs(rows)
    rows, limits = rows[limits < MAXIMUM], limits[limits < MAXIMUM]
    held = quotas.namespace[rows].astype(np.int64)
    return Counted(
        start=start,
        namespaces=NamespaceRows(held, index.namespaces.generations(held)),
        accepted=quotas.limit[rows] - quotas.remaining[rows],
        over=over[rows],
        allowed=quotas.limit[rows],
        limits=limits,
        enforcing=quotas.are_enforcing(rows).astype(np.int64),
    )


def are_there(index: Index, namespaces: NamespaceRows) -> NDArray[np.bool_]:
    """Which of these namespaces still exist."""
    inside = namespaces.rows < index.namespaces.size
    there = np.zeros(len(namespaces.rows), np.bool_)
    there[inside] = index.namespaces.generations(namespaces.rows[inside]) == namespaces.generation[inside]
    return there


def names(index: Index, namespaces: NamespaceRows) -> list[str]:
    """The full names of namespaces, the root's being "/"; empty for one that is gone."""
    there = index.namespaces.generations(namespaces.rows) == namespaces.generation
    found = index.namespaces.names_at(namespaces.rows)
    return [name if is_there else "" for name, is_there in zip(found, there.tolist(), strict=True)]


def leave_to_others(index: Index, namespaces: NamespaceRows, points: Column) -> None:
    """Let no more be accepted in this interval than the limits less these `points`, which others accepted."""
    places, rows = _quotas_of(index, namespaces)
    limits = index.quotas.throughputs(rows)
    index.quotas.allow(rows, limits - np.minimum(points[places], limits))


def grant(index: Index, namespaces: NamespaceRows, points: Column, *, ahead: bool) -> None:
    """Let so many more points be accepted in this interval or, `ahead`, in the next."""
    places, rows = _quotas_of(index, namespaces)
    (index.quotas.grant_ahead if ahead else index.quotas.grant)(rows, points[places])


def take_back(index: Index, namespaces: NamespaceRows, points: Column) -> Column:
    """Let so many points fewer be accepted in this interval, as far as they are left; how many of each."""
    places, rows = _quotas_of(index, namespaces)
    taken = np.zeros(len(points), np.int64)
    taken[places] = index.quotas.take_back(rows, points[places])
    return taken


def _quotas_of(index: Index, namespaces: NamespaceRows) -> tuple[Column, Column]:
    """The quotas of those namespaces that are there and have a throughput limit: which of them, and their rows."""
    places = np.flatnonzero(are_there(index, namespaces))
    quotas = index.quotas
    rows = index.namespaces.quota[namespaces.rows[places]].astype(np.int64)
    own = (quotas.namespace[rows] == namespaces.rows[places]) & (quotas.throughputs(rows) < MAXIMUM)
    return places[own], rows[own]
