"""Throughput limits that several nodes share: what was accepted here, told to others, and what they leave of a limit.

A namespace is named by its row and its number of birth, which no other namespace of this index ever has. So what comes
back from others later can do no harm where the row was given to another namespace meanwhile, and new rules need no new
names. Columns are int64 and go together, an entry a namespace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbonquota.model import MAXIMUM
from carbonquota.trie import Index
from carbonquota.trie.columns import Column


@dataclass(frozen=True, slots=True, eq=False)
class Namespaces:
    """Some namespaces: `rows`, and when each was `born`, as numbers."""

    rows: Column
    born: Column


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The namespaces of which points were accepted under a throughput limit in the interval that began at `start`.

    `accepted` is how many, `limits` what the rules allow.
    """

    start: float
    namespaces: Namespaces
    accepted: Column
    limits: Column


def counted(index: Index, start: float) -> Counted:
    """What was accepted so far in the running interval, which began at `start`, in seconds since the epoch."""
    quotas, born = index.quotas, index.namespaces.born
    rows = np.flatnonzero(quotas.limit[: quotas.size] != quotas.left[: quotas.size])
    accepted = quotas.limit[rows] - quotas.left[rows]
    held = quotas.namespace[rows]
    return Counted(start, Namespaces(held, born[held]), accepted, quotas.throughputs(rows))


def names(index: Index, namespaces: Namespaces) -> list[str]:
    """The full names of namespaces, the root's being "/"; empty for one that is gone."""
    there = index.namespaces.born[namespaces.rows] == namespaces.born
    found = index.namespaces.names_at(namespaces.rows)
    return [name if is_there else "" for name, is_there in zip(found, there.tolist(), strict=True)]


def leave_to_others(index: Index, namespaces: Namespaces, points: Column) -> None:
    """Let no more be accepted in this interval than the limits less these `points`, which others accepted.

    Namespaces that are gone, or have no throughput limit any more, are passed over.
    """
    there = namespaces.rows < index.namespaces.size
    rows, points = namespaces.rows[there], points[there]
    there = index.namespaces.born[rows] == namespaces.born[there]
    rows, points = rows[there], points[there]
    quotas = index.quotas
    held = index.namespaces.quota[rows]
    limits = quotas.throughputs(held)
    own = (quotas.namespace[held] == rows) & (limits < MAXIMUM)
    quotas.allow(held[own], limits[own] - np.minimum(points[own], limits[own]))
