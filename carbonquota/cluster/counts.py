"""What other nodes accepted: counts merged from messages, as a grow-only counter for each run of a node.

Theory of operation. Of each run, interval and namespace the greatest count heard is kept. Taking the maximum is
commutative, associative and idempotent, so the order of messages, repetitions and losses do not matter: what is known
after a set of messages depends on that set alone. What others accepted is the sum over the runs. A node that starts
anew is another run, so what it accepted before still counts, and its new counts start from nothing.

Counts of two intervals are kept of each run: clocks differ, so a node may be in the next interval already, or still in
the one before. This file must not know sockets, clocks or the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from carbonquota.cluster.messages import Counts, Digests, Message, Run

INTERVALS_KEPT: Final = 2
"""Of each run: the newest interval heard of, and the one before."""

NONE: Final = (np.empty(0, np.uint64), np.empty(0, np.int64))
"""No namespace with no points."""

_MAXIMUM: Final = np.iinfo(np.int64).max


class GrowingCounts:
    """Counts of namespaces that only grow. `digests` is strictly ascending, `counts` goes with it."""

    __slots__ = ("counts", "digests")

    def __init__(self) -> None:
        """Start without any."""
        self.digests, self.counts = NONE

    def merge(self, digests: Digests, counts: Counts) -> tuple[Digests, Counts]:
        """Keep the greater of both counts of each namespace; those that grew, and by how much. Both ascending."""
        places = np.searchsorted(self.digests, digests)
        known = np.zeros(len(digests), np.bool_)
        inside = places < len(self.digests)
        known[inside] = self.digests[places[inside]] == digests[inside]
        growth = counts.copy()
        growth[known] -= self.counts[places[known]]
        grown = growth > 0
        at = places[known & grown]
        self.counts[at] = counts[known & grown]
        if not known.all():
            self.digests = np.insert(self.digests, places[~known], digests[~known])
            self.counts = np.insert(self.counts, places[~known], counts[~known])
        return digests[grown], growth[grown]


def summed(tallies: list[GrowingCounts]) -> tuple[Digests, Counts]:
    """The sums of several tallies by namespace, ascending; a sum past 2^63 - 1 stays there."""
    if not tallies:
        return NONE
    if len(tallies) == 1:
        return tallies[0].digests, tallies[0].counts
    digests = np.unique(np.concatenate([tally.digests for tally in tallies]))
    total = np.zeros(len(digests), np.int64)
    for tally in tallies:
        at = np.searchsorted(digests, tally.digests)
        total[at] += np.minimum(tally.counts, _MAXIMUM - total[at])
    return digests, total


@dataclass(slots=True)
class _Heard:
    """What was heard of one run: the counts by interval number, and when the last message came."""

    last: float
    sequence: int = -1
    intervals: dict[int, GrowingCounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CountBounds:
    """How much is remembered: runs in all, and namespaces of each run and interval."""

    runs: int = 4_096
    namespaces: int = 1_000_000


class Elsewhere:
    """What all other nodes accepted, as far as it was heard; only `total` and `nodes` are for other threads, too."""

    def __init__(self, bounds: CountBounds | None = None) -> None:
        """Nothing was heard yet."""
        self._bounds = bounds or CountBounds()
        self._heard: dict[Run, _Heard] = {}
        self._lock = Lock()
        self.refused = 0
        """Messages not taken because a bound was reached."""
        self.missed = 0
        """Messages that never came, by the gaps in the sequences of those that did."""

    def merge(self, message: Message, now: float) -> tuple[Digests, Counts]:
        """Take a message in, heard at `now`; the namespaces that grew in the message's interval, and by how much."""
        with self._lock:
            return self._merge(message, now)

    def _merge(self, message: Message, now: float) -> tuple[Digests, Counts]:
        heard = self._heard.get(message.run)
        if heard is None:
            if len(self._heard) >= self._bounds.runs:
                self.refused += 1
                return NONE
            heard = self._heard[message.run] = _Heard(now)
        heard.last = now
        self._note_sequence(heard, message.sequence)
        tally = self._tally(heard, message.interval)
        if tally is None:
            return NONE
        if len(tally.digests) + len(message.digests) > 2 * self._bounds.namespaces:
            self.refused += 1
            return NONE
        return tally.merge(message.digests, message.counts)

    def _note_sequence(self, heard: _Heard, sequence: int) -> None:
        """Count the messages between the last and this one."""
        if heard.sequence >= 0 and sequence > heard.sequence + 1:
            self.missed += sequence - heard.sequence - 1
        heard.sequence = max(heard.sequence, sequence)

    @staticmethod
    def _tally(heard: _Heard, interval: int) -> GrowingCounts | None:
        """Where the counts of an interval are kept; None where it is too old to be."""
        intervals = heard.intervals
        if interval not in intervals:
            if len(intervals) >= INTERVALS_KEPT and interval < min(intervals):
                return None
            intervals[interval] = GrowingCounts()
            while len(intervals) > INTERVALS_KEPT:
                del intervals[min(intervals)]
        return intervals[interval]

    def total(self, interval: int) -> tuple[Digests, Counts]:
        """What all runs accepted in an interval, by namespace, ascending; from any thread."""
        with self._lock:
            return self._total(interval)

    def _total(self, interval: int) -> tuple[Digests, Counts]:
        return summed([heard.intervals[interval] for heard in self._heard.values() if interval in heard.intervals])

    def nodes(self, now: float) -> Iterator[tuple[Run, float]]:
        """Each run heard of, and the seconds since its last message; from any thread."""
        for run, heard in tuple(self._heard.items()):
            yield run, now - heard.last

    def forget_silent(self, now: float, after: float) -> list[Run]:
        """Forget the runs that said nothing for more than `after` seconds; those."""
        silent = [run for run, age in self.nodes(now) if age > after]
        for run in silent:
            del self._heard[run]
        return silent
