"""The new metrics of a batch: which can be taken in, or turned away, at once, as what is held leaves no doubt.

Theory of operation. Suppose a namespace took all the new metrics of the batch that lie below it: if that still passes
none of its limits, it is *roomy*, and no order of events in the batch can make it reject one. A namespace is
*full* if it has as many metrics as its rule allows, and the rule enforces: it rejects each that gets down to it. So a
new metric is *at ease* if all namespaces above it are roomy, and *turned away* if those above a full one are. Both only
wait for throughput's word, which `flow.settle` gives for whole batches. Any other, and one whose own namespace is new
as well, is decided one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.decision import Decider
from carbonquota.controls.stocks import STOCK_CONTROLS
from carbonquota.controls.table import METRICS
from carbonquota.model import MAXIMUM, Size
from carbonquota.trie import NO_QUOTA, ROOT_ROW

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class New:
    """A new metric: its normal name, the nearest namespace above it, and the names still missing below that."""

    metric: str
    namespace: int
    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The new metrics of a batch, by what is sure about them; `at_ease` and `turned_away` are places in `news`.

    `sizes` has the size of each that is at ease, pairwise with `at_ease`. `turned_away_by` has the quota, pairwise.
    """

    news: Sequence[New]
    at_ease: Integers
    sizes: Sequence[Size]
    turned_away: Integers
    turned_away_by: Rows

    def may_come(self) -> int:
        """How many of them may be created at the most."""
        return len(self.news) - len(self.turned_away)


def look_at(decider: Decider, news: Sequence[New]) -> Arrivals:
    """Find out what is sure about the new metrics of a batch."""
    index = decider.index
    namespaces = np.array([new.namespace for new in news], np.int64)
    chains = index.quotas.stocks.take(index.namespaces.quota[namespaces], axis=0)
    quotas, places = np.unique(chains, return_inverse=True)
    sizes = [decider.size_of(new.metric) for new in news]
    full = _are_full(decider, quotas)[places]
    if _can_hold_all(decider, sizes):
        roomy = _have_room(decider, quotas, _sums(decider, news, sizes, places))[places]
    else:
        roomy = np.zeros(chains.shape, np.bool_)

    easy = roomy.all(axis=1) & _are_first(news)
    easy &= (index.namespaces.metrics[namespaces] > 0) | (namespaces == ROOT_ROW)
    easy &= np.array([not new.missing for new in news])
    at_ease = easy.nonzero()[0]
    first = (~roomy).argmax(axis=1)
    away = full[np.arange(len(news)), first].nonzero()[0]
    sizes = [sizes[place] for place in at_ease.tolist()]
    return Arrivals(news, at_ease, sizes, away, chains[away, first[away]])


def _can_hold_all(decider: Decider, sizes: Sequence[Size]) -> bool:
    """Whether no sum in the index can pass 2^63 - 1 by all of these."""
    totals = [sum(amounts) for amounts in zip(*((s.logical, s.physical, s.data_points) for s in sizes), strict=True)]
    return max(totals) <= MAXIMUM and decider.index.namespaces.can_hold(Size(*totals))


def _sums(decider: Decider, news: Sequence[New], sizes: Sequence[Size], places: Integers) -> Integers:
    """What the new metrics below each quota add up to, by control and quota; `places` has a row a metric."""
    held = decider.index.namespaces.metrics_at
    # An empty namespace counts as one more for its parent, as a missing one does.
    gains = [int(bool(new.missing) or held[new.namespace] == 0) for new in news]
    amounts = [(gain, 1, s.logical, s.physical, s.data_points) for gain, s in zip(gains, sizes, strict=True)]
    sums = np.zeros((len(STOCK_CONTROLS), int(places.max()) + 1), np.int64)
    for column, amount in zip(sums, np.array(amounts, np.int64).T, strict=True):
        np.add.at(column, places, amount[:, None])
    return sums


def _limits(decider: Decider, quotas: Rows, control: str) -> Integers:
    """The limits of one control; 2^63 - 1 where there is none."""
    limits = (getattr(grant.limits, control) for grant in decider.grants)
    by_rule = np.array([MAXIMUM if limit is None else limit for limit in limits] or [MAXIMUM], np.int64)
    by_quota = by_rule[decider.index.quotas.rule[quotas]]
    by_quota[quotas == NO_QUOTA] = MAXIMUM
    return by_quota


def _are_full(decider: Decider, quotas: Rows) -> Bools:
    """Which quotas enforce a limit of metrics that leaves none."""
    columns = decider.index.quotas
    used = decider.index.namespaces.metrics[columns.namespace[quotas]]
    full: Bools = (used >= _limits(decider, quotas, STOCK_CONTROLS[METRICS])) & (columns.enforcing[quotas] != 0)
    return full


def _have_room(decider: Decider, quotas: Rows, sums: Integers) -> Bools:
    """Which quotas could take all of the new metrics below them, by what those add up to."""
    index = decider.index
    room = np.ones(len(quotas), np.bool_)
    held = index.quotas.namespace[quotas]
    for control, added in zip(STOCK_CONTROLS, sums, strict=True):
        # Subtracted from the limit, as the sum might pass 2^63 - 1.
        room &= getattr(index.namespaces, control)[held] <= _limits(decider, quotas, control) - added
    return room


def _are_first(news: Sequence[New]) -> Bools:
    """Which are the first of their name."""
    places = {new.metric: place for place, new in reversed(list(enumerate(news)))}
    first = np.zeros(len(news), np.bool_)
    first[list(places.values())] = True
    return first


def take_in(decider: Decider, arrivals: Arrivals, accepted: Bools) -> None:
    """Put those at ease that throughput accepted into the index; `accepted` goes pairwise with `at_ease`."""
    chosen = accepted.nonzero()[0].tolist()
    if chosen:
        news = [arrivals.news[place] for place in arrivals.at_ease[chosen].tolist()]
        sizes = [arrivals.sizes[place] for place in chosen]
        decider.creates.left -= len(chosen)
        decider.index.add_many([new.metric.encode() for new in news], [new.namespace for new in news], sizes)
