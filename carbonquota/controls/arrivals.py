"""The new metrics of a batch: which of them can be taken in at once, as no limit on what is held is near enough.

Theory of operation. Suppose a namespace got all the new metrics of a batch, whatever their names: if that still passes
none of its limits, then no order of events in the batch can make it reject one. So a new metric below such namespaces
only needs throughput's consent, which `flow.settle` gives for whole batches, and can be put into the index in bulk.
The others, and those whose namespace is new as well, are decided one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.decision import Decider
from carbonquota.controls.stocks import STOCK_CONTROLS
from carbonquota.model import MAXIMUM, Size
from carbonquota.trie import NO_QUOTA, ROOT_ROW, Index

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class New:
    """A new metric: its normal name, the nearest namespace above it, and the names still missing below that."""

    metric: str
    namespace: int
    missing: Sequence[str]


def sizes_of(decider: Decider, news: Sequence[New]) -> list[Size]:
    """What each new metric would hold; [] where the index cannot hold all of them."""
    sizes = [decider.size_of(new.metric) for new in news]
    total = Size(
        sum(size.logical for size in sizes),
        sum(size.physical for size in sizes),
        sum(size.data_points for size in sizes),
    )
    return sizes if decider.index.namespaces.can_hold(total) else []


def at_ease(decider: Decider, news: Sequence[New], sizes: Sequence[Size]) -> Bools:
    """Which of the new metrics of a batch no limit on what is held can reject; only the first of each name."""
    index = decider.index
    rows = np.array([new.namespace for new in news], np.int64)
    first = {new.metric: place for place, new in reversed(list(enumerate(news)))}
    easy = np.zeros(len(news), np.bool_)
    easy[list(first.values())] = True
    easy &= np.array([not new.missing for new in news])
    easy &= (index.namespaces.metrics[rows] > 0) | (rows == ROOT_ROW)
    chains = index.quotas.stocks.take(index.namespaces.quota[rows], axis=0)
    easy &= ~_tight(decider, np.unique(chains), news, sizes)[chains].any(axis=1)
    return easy


def _tight(decider: Decider, quotas: NDArray[np.int32], news: Sequence[New], sizes: Sequence[Size]) -> Bools:
    """By quota row: which of these quotas have no room for all of the new metrics."""
    index = decider.index
    quotas = quotas[quotas != NO_QUOTA]
    totals = (
        sum(len(new.missing) for new in news),
        len(news),
        sum(size.logical for size in sizes),
        sum(size.physical for size in sizes),
        sum(size.data_points for size in sizes),
    )
    tight = np.zeros(len(quotas), np.bool_)
    rules, held = index.quotas.rule[quotas], index.quotas.namespace[quotas]
    for control, total in zip(STOCK_CONTROLS, totals, strict=True):
        room = [MAXIMUM if limit is None else limit - total for limit in _limits(decider, control)]
        usage = getattr(index.namespaces, control)
        tight |= usage[held] > np.array(room, np.int64)[rules]
    mark = np.zeros(index.quotas.size, np.bool_)
    mark[quotas] = tight
    return mark


def _limits(decider: Decider, control: str) -> list[int | None]:
    """The limits of one control, by rule number."""
    return [getattr(grant.limits, control) for grant in decider.grants]


def take_in(index: Index, news: Sequence[New], sizes: Sequence[Size]) -> None:
    """Put accepted new metrics, which are at ease, into the index."""
    index.add_many([new.metric.encode() for new in news], [new.namespace for new in news], sizes)
