"""Slices mode: a node accepts what it took from the store, and takes it ahead of need.

Theory of operation. In each tick the node looks at what was offered since the last one, asks the store in one round
trip for what the limits in demand will need, grants the engine what it got, and hands back what is spare. Shortly
before an interval ends it takes slices of the next one for the limits that were in demand. Only what was granted is
accepted, so whatever fails, the sum over the nodes stays within each limit.

While the store is away, the running interval goes on with what was granted. From the next interval on the node lives on
its share (limit / nodes, by `on_outage`; it has none before all nodes know of it), but only if the store cannot take it
for well: the store keeps back the shares of nodes that it has not heard for `lapse` when an interval begins. So a node
that tried to reach the store later than that waits one more interval. When the store is back, shares end with the
running interval. A node whose clock was set while it is alone has no share until that is undone or the store is back:
nobody can tell in which interval it lives.

Everything here happens on one thread; the clock, the store and the engine come from outside.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.cluster.backoff import Backoff
from carbonquota.cluster.directory import Directory, Positions
from carbonquota.cluster.settings import OnOutage
from carbonquota.cluster.slices import Amounts, Pace, Rates, needed, smoothed, spare, wanted
from carbonquota.cluster.store import MOST_SHARED, IntervalSpan, SliceRequest, StoreError, TakenSlices
from carbonquota.controls.sharing import Counted, NamespaceRows
from carbonquota.model import Clock
from carbonquota.trie.columns import Column

AHEAD: Final = 0.9
"""Seconds before an interval from which slices of it are taken; the store gives none earlier than its lapse / 2."""

_MOST_REQUESTS: Final = 20_000
"""Limits asked for in one round trip."""

_SKEW: Final = 0.5
"""Seconds that a node's clock and the store's may be apart."""


class PrepaidEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    def counted(self) -> Counted:
        """What was offered in the running interval under throughput limits."""

    def names_of(self, namespaces: NamespaceRows) -> list[str]:
        """The names of namespaces."""

    def are_there(self, namespaces: NamespaceRows) -> NDArray[np.bool_]:
        """Which namespaces still exist."""

    def prepay(self, parts: int) -> None:
        """Have limits begin with one of so many parts, from the next interval on."""

    def grant(self, start: float, namespaces: NamespaceRows, points: Column) -> bool:
        """Let more be accepted."""

    def take_back(self, start: float, namespaces: NamespaceRows, points: Column) -> Column:
        """Let less be accepted."""


class SliceStore(Protocol):
    """What is asked of the store; see `Store`."""

    def take(self, span: IntervalSpan, divisor: int, requests: Sequence[SliceRequest]) -> TakenSlices:
        """Take slices."""

    def hand_back(self, span: IntervalSpan, slices: Sequence[tuple[bytes, int]]) -> None:
        """Hand slices back."""

    def ping(self) -> None:
        """Fail with StoreError where the store cannot be asked; tell it nothing."""

    def leave(self) -> None:
        """Be no member any more."""


class PrepaidNode:
    """One node of slices mode."""

    def __init__(  # noqa: PLR0913 - each is one thing that the node stands on
        self,
        engine: PrepaidEngine,
        store: SliceStore,
        *,
        cluster: str,
        length: float,
        clock: Clock,
        on_outage: OnOutage = "share",
        lapse: float = 2.0,
        steady: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`length` is that of an interval, `clock` the engine's, `lapse` the store's; all in seconds.

        `steady` gives seconds that never go back, by which a clock that is set is noticed.
        """
        self._engine = engine
        self._store = store
        self._length = length
        self._clock = clock
        self._on_outage = on_outage
        self._lapse = lapse
        self._steady = steady or clock
        self._ahead_of_steady = clock() - self._steady()
        self._pace = Pace()
        self._directory = Directory(cluster, engine.names_of)
        self._rates: Rates = np.empty(0, np.float64)
        self._seen: Amounts = np.empty(0, np.int64)
        self._ahead: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._is_spent: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._start = self._last_attempt = -math.inf
        self._last_tick = clock()
        self._backoff = Backoff(jitter)
        self.nodes = self._share = 0
        """Members of the cluster, as the store last said; 0 before it said anything."""
        self.spent: Column = np.empty(0, np.int64)
        """The namespaces, by their births, of whose limits the store has nothing left; never changed in place."""
        self.trouble = ""
        """Why the store cannot be used now; empty if it can."""
        self.skew = 0.0
        """Seconds that the store's clock is ahead of ours."""
        self.points: Counter[str] = Counter()
        """Points taken, handed back, and lost: taken, but of an interval that had ended."""
        self.outages: Counter[str] = Counter()
        """How often the store could not be used, by kind of trouble."""

    @property
    def namespaces(self) -> int:
        """How many namespaces are kept whose limits are shared."""
        return len(self._directory)

    def tick(self) -> None:
        """Do what is due."""
        now = self._clock()
        found = self._engine.counted()
        positions = self._look(found, now)
        if self.trouble and not self._is_back():
            return
        try:
            self._exchange(found, positions, now)
        except StoreError as error:
            self._fail(error)

    def _look(self, found: Counted, now: float) -> Positions:
        """Bring the rates up to date; where the namespaces found stand, -1 for one that is gone."""
        if found.start != self._start:
            self._start = found.start
            self._drop_gone()
            self._seen[:] = 0
            self._ahead[:] = False
            self._is_spent[:] = False
            self.spent = self.spent[:0]
        positions, added = self._directory.positions(found.namespaces)
        self._rates = np.concatenate((self._rates, np.zeros(added)))
        self._seen = np.concatenate((self._seen, np.zeros(added, np.int64)))
        self._ahead = np.concatenate((self._ahead, np.zeros(added, np.bool_)))
        self._is_spent = np.concatenate((self._is_spent, np.zeros(added, np.bool_)))
        there = positions >= 0
        offered = np.zeros(len(self._rates), np.int64)
        total = found.accepted[there] + found.over[there]
        offered[positions[there]] = total - self._seen[positions[there]]
        self._seen[positions[there]] = total
        seconds = now - self._last_tick
        self._rates = smoothed(self._rates, np.maximum(offered, 0), seconds, self._pace)
        self._last_tick = now
        return positions

    def _drop_gone(self) -> None:
        """Keep nothing of namespaces that are gone."""
        keep = self._directory.drop_gone(self._engine.are_there)
        if keep is not None:
            self._rates, self._seen = self._rates[keep], self._seen[keep]
            self._ahead, self._is_spent = self._ahead[keep], self._is_spent[keep]

    def _exchange(self, found: Counted, positions: Positions, now: float) -> None:
        """One or two round trips: take what is needed, and hand back what is spare."""
        there = np.flatnonzero(positions >= 0)
        positions = positions[there]
        # No interval sees as many points as the store can count.
        limits = np.minimum(found.limits[there], MOST_SHARED)
        allowed, accepted = found.allowed[there], found.accepted[there]
        left = found.start + self._length - now
        rates = self._rates[positions]
        asked = wanted(limits, allowed, accepted, rates, left, self._pace)
        self._take(found.start, positions, limits, asked)
        if left <= AHEAD:
            self._take_ahead(found.start + self._length, positions, limits)
        back = spare(allowed, accepted, rates, left, self._pace)
        self._hand_back(found.start, positions, back)

    def _take(self, start: float, positions: Positions, limits: Amounts, asked: Amounts) -> None:
        """Take slices of an interval, and be heard of; what comes too late for the engine is lost."""
        which = np.flatnonzero(asked > 0)[:_MOST_REQUESTS]
        digests = self._directory.digests[positions[which]].tolist()
        requests = [
            SliceRequest(digest.to_bytes(8, "little"), limit, points)
            for digest, limit, points in zip(digests, limits[which].tolist(), asked[which].tolist(), strict=True)
        ]
        self._last_attempt = self._clock()
        taken = self._store.take(self._span(start), self._divisor(), requests)
        self.nodes, self._share = taken.nodes, taken.share
        self.skew = taken.now / 1000 - self._clock()
        self._ahead_of_steady = self._clock() - self._steady()
        given = np.array(taken.points, np.int64)
        total = int(given.sum())
        self.points["taken"] += total
        if total and not self._engine.grant(start, self._directory.namespaces(positions[which]), given):
            self.points["lost"] += total
        if start == self._start:
            self._note_spent(positions[which], given)

    def _note_spent(self, positions: Positions, given: Amounts) -> None:
        """Note of which limits the store gave nothing, and of which it gave again."""
        before = self._is_spent[positions]
        self._is_spent[positions] = given == 0
        if (before != (given == 0)).any():
            self.spent = self._directory.generation[np.flatnonzero(self._is_spent)]

    def _take_ahead(self, start: float, positions: Positions, limits: Amounts) -> None:
        """Take slices of the next interval, once, for the limits in demand: what they need at its very beginning."""
        ahead = np.flatnonzero(~self._ahead[positions])
        asked = np.minimum(needed(self._rates[positions[ahead]], 2 * self._pace.horizon, self._pace), limits[ahead])
        asked = np.maximum(asked, np.minimum(limits[ahead], 1))
        self._take(start, positions[ahead], limits[ahead], asked)
        self._ahead[positions[ahead]] = True

    def _hand_back(self, start: float, positions: Positions, back: Amounts) -> None:
        """Hand back what the engine can still give up."""
        which = np.flatnonzero(back > 0)
        if not len(which):
            return
        given_up = self._engine.take_back(start, self._directory.namespaces(positions[which]), back[which])
        digests = self._directory.digests[positions[which]].tolist()
        slices = [
            (digest.to_bytes(8, "little"), points)
            for digest, points in zip(digests, given_up.tolist(), strict=True)
            if points
        ]
        self.points["returned"] += sum(points for _, points in slices)
        if slices:
            self._store.hand_back(self._span(start), slices)

    def _span(self, start: float) -> IntervalSpan:
        """An interval as the store names it."""
        return IntervalSpan(round(start / self._length), round(start * 1000), round(self._length * 1000))

    def _divisor(self) -> int:
        """By what this node would divide limits if it were alone from now on."""
        return self._share if self._on_outage == "share" else -1

    def _fail(self, error: StoreError) -> None:
        """The store cannot be used: go on without it, and try again later."""
        if not self.trouble:
            self.outages[error.kind] += 1
        self.trouble = str(error)
        # By a clock that cannot be set: it would not be tried for long otherwise.
        self._backoff.fail(self._steady())
        self._live_alone()

    def _live_alone(self) -> None:
        """Have the next interval begin with what may be accepted without the store."""
        if self._on_outage == "accept":
            self._engine.prepay(1)
        elif self._on_outage == "share":
            next_start = self._start + self._length
            is_known_to_be_away = self._last_attempt < next_start - self._lapse - _SKEW
            self._engine.prepay(self._share if is_known_to_be_away and not self.clock_set_by else 0)

    @property
    def clock_set_by(self) -> float:
        """By how many seconds the clock was set since the store was last heard; 0 for as good as not at all."""
        seconds = self._clock() - self._steady() - self._ahead_of_steady
        return seconds if abs(seconds) > _SKEW else 0.0

    def _is_back(self) -> bool:
        """Whether a store that was away can be used again. Trying must not make the store take us for well."""
        self._live_alone()
        if not self._backoff.is_due(self._steady()):
            return False
        try:
            self._store.ping()
        except StoreError as error:
            self._fail(error)
            return False
        self.trouble = ""
        self._backoff.succeed()
        self._engine.prepay(0)
        return True

    def close(self) -> None:
        """Hand back all that is left, and be no member any more. StoreError where the store is away."""
        found = self._engine.counted()
        positions = self._look(found, self._clock())
        there = np.flatnonzero(positions >= 0)
        self._hand_back(found.start, positions[there], found.allowed[there] - found.accepted[there])
        self._store.leave()
