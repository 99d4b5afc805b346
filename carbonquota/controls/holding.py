"""Points that a prepaid limit rejected of which more may be granted in a moment: held back instead of dropped.

Where limits are prepaid (sharing.py), a namespace that was idle begins with nothing, and its first points are rejected
though the limit is not reached. Such points are taken out of the batch's answer, and counted as `waiting` instead of as
rejected, so that who takes slices sees them. Soon after they are offered again, and then are accepted or rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from carbonquota.controls.admission import BatchDecision, Positions
from carbonquota.controls.rejections import Rejections
from carbonquota.controls.sharing import NamespaceRows
from carbonquota.controls.table import THROUGHPUT
from carbonquota.model import MAXIMUM
from carbonquota.trie import NO_QUOTA, Index, Quotas
from carbonquota.trie.columns import Column

AnyDecision = TypeVar("AnyDecision", bound=BatchDecision)


@dataclass(frozen=True, slots=True, eq=False)
class HeldBack:
    """The points at `positions` of a batch, and of which namespaces' limits they wait: `counts` (int64) go with each.

    `size` is in bytes, that of the names or lines.
    """

    positions: Positions
    size: int
    namespaces: NamespaceRows
    counts: Column


def hold_back(index: Index, decision: AnyDecision, spent: Column, most: int) -> tuple[AnyDecision, HeldBack | None]:
    """Hold back what more may be granted for, up to `most` bytes of names or lines; the answer without it.

    Of the limits of the namespaces of the generations `spent`, nothing remains to be granted.
    """
    rejections = decision.rejections
    if rejections is None or not rejections.is_current:
        return decision, None
    rows = _hopeful(index, rejections, spent)
    which = np.isin(rejections.by, rows) & (rejections.controls == THROUGHPUT)
    sizes = np.cumsum(decision.sizes_at(rejections.positions[which]))
    fitting = int(np.searchsorted(sizes, most, side="right"))
    which[np.flatnonzero(which)[fitting:]] = False
    if not fitting:
        return decision, None
    counts = np.bincount(rejections.by[which], minlength=index.quotas.size)[rows]
    _move(index.quotas, rows, counts)
    held = index.quotas.namespace[rows].astype(np.int64)
    namespaces = NamespaceRows(held, index.namespaces.generations(held))
    held_back = HeldBack(rejections.positions[which], int(sizes[fitting - 1]), namespaces, counts)
    return decision.holding_back(which), held_back


def _hopeful(index: Index, rejections: Rejections, spent: Column) -> Column:
    """The quotas that rejected something for their throughput, and of which more may be granted."""
    quotas = index.quotas
    by = rejections.by[(rejections.controls == THROUGHPUT) & (rejections.by > NO_QUOTA)]
    rows = np.unique(by).astype(np.int64)
    counts = np.bincount(by, minlength=quotas.size)[rows]
    limits = quotas.throughputs(rows)
    # Where the interval ended meanwhile, what was rejected is counted in the one before.
    may_be = (quotas.limit[rows] < limits) & (limits < MAXIMUM) & (quotas.throttle[rows] >= counts)
    may_be &= ~np.isin(index.namespaces.generations(quotas.namespace[rows]), spent)
    return np.array([row for row in rows[may_be].tolist() if not _is_over_above(quotas, row)], np.int64)


def _is_over_above(quotas: Quotas, row: int) -> bool:
    """Whether a limit above that does not reject may have counted the lines: it would count them once more."""
    return any(quotas.remaining_at[above] < 1 and not quotas.is_enforcing(above) for above in quotas.rate_chain(row))


def _move(quotas: Quotas, rows: Column, counts: Column) -> None:
    """Have so many points wait that were counted as rejected."""
    quotas.throttle[rows] -= counts
    quotas.dropped[THROUGHPUT][rows] -= counts
    quotas.waiting[rows] += counts


def let_go(index: Index, held: HeldBack) -> None:
    """Have them wait no more, where their namespaces are still there."""
    quotas, namespaces = index.quotas, held.namespaces
    there = np.flatnonzero(namespaces.rows < index.namespaces.size)
    there = there[index.namespaces.generations(namespaces.rows[there]) == namespaces.generation[there]]
    rows = index.namespaces.quota[namespaces.rows[there]]
    own = quotas.namespace[rows] == namespaces.rows[there]
    quotas.waiting[rows[own]] = np.maximum(quotas.waiting[rows[own]] - held.counts[there[own]], 0)
