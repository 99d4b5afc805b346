"""Sync mode: each node tells the others what it accepted, and leaves to them what they accepted.

Theory of operation. Every tick a node publishes the counts that changed since the last one, but for those whose limits
are far (tidings.py), and now and then all of them, so that a message that was lost, or a node that came late, is made
up for. What others accepted is left to them at once when it is heard. So a limit can be passed by what all other nodes
let in between the acceptance of a point and its being heard of here: at most (N - 1) / N of the points that come in,
during the tick and the delay of a message.

Intervals have numbers, start over length; all nodes must have the same length. Their clocks may differ: a count goes to
the interval that its sender was in. How far the clocks are apart is measured.

Everything here happens on one thread, and the clock comes from outside.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.cluster.counts import Elsewhere
from carbonquota.cluster.directory import Directory, Positions
from carbonquota.cluster.messages import ClusterMessageError, Codec, Counts, Fault, Message, Run, digests_of
from carbonquota.cluster.tidings import Tidings
from carbonquota.controls import THROUGHPUT
from carbonquota.controls.sharing import Counted, NamespaceRows
from carbonquota.model import Clock
from carbonquota.trie.columns import Column


class SharingEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    def share(self) -> None:
        """Have intervals end by the clock alone."""

    def counted(self) -> Counted:
        """What was accepted in the running interval under throughput limits."""

    def names_of(self, namespaces: NamespaceRows) -> list[str]:
        """The names of namespaces."""

    def are_there(self, namespaces: NamespaceRows) -> NDArray[np.bool_]:
        """Which namespaces still exist."""

    def leave_to_others(self, start: float, namespaces: NamespaceRows, points: Column) -> bool:
        """Let no more be accepted than the limits less these points."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds: all counts are published each `full`, a peer silent for `silence` is forgotten.

    A peer whose clock is further away than `skew` is told of.
    """

    full: float = 2.0
    silence: float = 120.0
    skew: float = 1.0


@dataclass(frozen=True, slots=True)
class PeerState:
    """What is known of a run of a node: seconds since its last message, and how far its clock is ahead of ours."""

    run: Run
    age: float
    skew: float


class SyncNode:
    """One node. `tick` gives what to publish; `hear` takes what came."""

    def __init__(self, engine: SharingEngine, run: Run, cluster: str, length: float, clock: Clock) -> None:
        """`length` is that of an interval, and `clock` the engine's own, both in seconds."""
        self.codec = Codec(cluster)
        self.faults: Counter[str] = Counter()
        """Messages that were not taken, by why."""
        self.overshoot = 0
        """Points over limits that reject, over all nodes, as far as they were seen here."""
        self.bound = 0
        """Points of limits that are near which others let in between two messages: by so many these may be passed."""
        engine.share()
        self._engine = engine
        self._cluster = cluster
        self._run = run
        self._length = length
        self._clock = clock
        self._timing = Timing()
        self._directory = Directory(cluster, engine.names_of)
        self._elsewhere = Elsewhere()
        self._interval = 0
        self._start = -math.inf
        self._sequence = 0
        self._last_full = -math.inf
        self._tidings = Tidings(0)
        self._heard_points = 0
        self._skews: dict[Run, float] = {}

    @property
    def missed(self) -> int:
        """Messages of others that never came."""
        return self._elsewhere.missed

    @property
    def namespaces(self) -> int:
        """How many namespaces are kept whose limits are shared."""
        return len(self._directory)

    @property
    def nodes(self) -> int:
        """How many nodes are known here, this one included."""
        return 1 + len({run.node for run, _ in self._elsewhere.nodes(self._clock())})

    def over_all_nodes(
        self, names: Sequence[str], own: Sequence[Column], interval: float | None = None
    ) -> list[Column]:
        """The usage over all nodes of namespaces that use `own` here, a column for each control; from any thread.

        Only throughput is told to others: that of the running interval, or of the one that began at a time.
        """
        number = self._interval if interval is None else round(interval / self._length)
        digests, counts = self._elsewhere.total(number)
        wanted = digests_of(names, self._cluster)
        places = np.searchsorted(digests, wanted)
        inside = np.flatnonzero(places < len(digests))
        known = inside[digests[places[inside]] == wanted[inside]]
        columns = [column.copy() for column in own]
        columns[THROUGHPUT][known] += counts[places[known]]
        return columns

    def peers(self) -> list[PeerState]:
        """Every run heard of lately, but our own."""
        return [PeerState(run, age, self._skews.get(run, 0.0)) for run, age in self._elsewhere.nodes(self._clock())]

    def tick(self, *, full: bool = False) -> bytes | None:
        """The message to publish now, if there is something to tell; with `full`, of all counts."""
        now = self._clock()
        found = self._engine.counted()
        self._turn_to(found.start)
        positions, added = self._directory.positions(found.namespaces)
        if added:
            self._welcome(added)
        there = positions >= 0
        self._tidings.look(positions[there], found.accepted[there], found.limits[there])
        self._look_for_overshoot(found, positions)
        # A clock that was set back must not keep it from that for long.
        full = full or not 0 <= now - self._last_full < self._timing.full
        self._forget_silent(now)
        return self._message(positions[there], now, full=full)

    def _turn_to(self, start: float) -> None:
        """Begin another interval, if another one runs."""
        if start == self._start:
            return
        self._start = start
        self._interval = round(start / self._length)
        self._directory.drop_gone(self._engine.are_there)
        self._tidings = Tidings(len(self._directory))
        self._leave(*self._directory.find(*self._elsewhere.total(self._interval)))

    def _look_for_overshoot(self, found: Counted, positions: Positions) -> None:
        """Count what came in over the limits, and what others let in since the last look."""
        self.bound, self._heard_points = self._heard_points, 0
        which = (positions >= 0) & (found.enforcing != 0)
        at, tidings = positions[which], self._tidings
        over = np.maximum(-tidings.left[at], 0)
        self.overshoot += int(np.maximum(over - tidings.over[at], 0).sum())
        tidings.over[at] = np.maximum(over, tidings.over[at])

    def _welcome(self, added: int) -> None:
        """Leave to others what they accepted already of namespaces that are new here."""
        before = len(self._tidings)
        self._tidings.grow(added)
        positions, counts = self._directory.find(*self._elsewhere.total(self._interval))
        new = positions >= before
        self._leave(positions[new], counts[new])

    def _leave(self, positions: Positions, growth: Counts) -> None:
        """Leave more points to others; an interval that ended meanwhile needs them no more."""
        if len(positions):
            self._tidings.hear(positions, growth)
            namespaces = self._directory.namespaces(positions)
            self._engine.leave_to_others(self._start, namespaces, self._tidings.others[positions])

    def _message(self, positions: Positions, now: float, *, full: bool) -> bytes | None:
        """What is to be told of these; none where nothing is, and it is not yet time for all."""
        tidings = self._tidings
        if full:
            self._last_full = now
            # Where all that was offered was rejected, there is nothing to tell.
            positions = positions[tidings.accepted[positions] > 0]
        else:
            positions = positions[tidings.are_worth_telling(positions, self.nodes)]
            if not len(positions):
                return None
        accepted = tidings.accepted[positions]
        tidings.told[positions] = accepted
        self._sequence += 1
        digests = self._directory.digests[positions]
        order = np.argsort(digests)
        message = Message(
            run=self._run,
            length=self._length,
            interval=self._interval,
            sequence=self._sequence,
            sent=now,
            digests=digests[order],
            counts=accepted[order],
            full=full,
        )
        return self.codec.encode(message)

    def hear(self, messages: Sequence[bytes]) -> None:
        """Take what came from others; what is not to be taken is counted in `faults`."""
        for data in messages:
            try:
                message = self.codec.decode(data)
                self._check(message)
            except ClusterMessageError as error:
                self.faults[error.fault.name.lower()] += 1
                continue
            if message.run.node != self._run.node or message.run.epoch != self._run.epoch:
                self._take(message)

    def _check(self, message: Message) -> None:
        """Refuse what cannot be counted here."""
        if message.length != self._length:
            raise ClusterMessageError(
                Fault.FORM, f"its intervals have {message.length:g} seconds, ours {self._length:g}"
            )

    def _take(self, message: Message) -> None:
        """Count what a node accepted."""
        now = self._clock()
        self._skews[message.run] = message.sent - now
        digests, growth = self._elsewhere.merge(message, now)
        if message.interval == self._interval:
            positions, growth = self._directory.find(digests, growth)
            self._leave(positions, growth)
            self._heard_points += int(self._tidings.near(positions, growth).sum())

    def _forget_silent(self, now: float) -> None:
        """Forget who said nothing for long."""
        for run in self._elsewhere.forget_silent(now, max(self._timing.silence, 2 * self._length)):
            self._skews.pop(run, None)
