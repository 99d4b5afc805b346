"""Quotas inside Graphite's carbon: the processors that stand before the one which stores or relays.

Theory of operation. Carbon hands each data point through a list of processors, on the reactor's thread. Ours comes
right before the last, the sink, so after all rewriting: what it counts is what is stored or sent on, and each point
once. What carbon makes itself goes through a list of its own: the aggregates, which are metrics as any other and are
counted, and carbon's stats, which are nobody's quota's business. The stats of a cache do not even come that way, but
go right into its cache.

Deciding points one by one would cost more than carbon does itself. So they are gathered until the reactor has read
what there was to read, or until there are `MOST` of them, and then decided as one batch, which is exact as well. Where
carbon is about to have senders wait, fewer are gathered, lest more than its own share is dropped meanwhile.

The sink of a cache takes each name apart to bring its tags into order. A batch that is known to be without tags is
given to what comes behind that at once, which more than pays for the decision.

Where limits of what is held are shared with other daemons, points of new metrics may be held back until those were
asked; and where throughput is taken from a store in slices, points may wait a moment for more of it. All others go on
meanwhile.

Invariants: received = accepted + dropped + malformed + waiting. Points of a metric leave in the order in which they
came.
Whatever breaks in here, they go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, starmap
from math import inf
from typing import Final

from carbon import log as carbon_log
from carbon.pipeline import Processor

from carbonquota.cluster.held_points import HeldPoints
from carbonquota.plugins.decisions import Datapoint, Decided, Decisions
from carbonquota.service.health import HealthSample

MOST: Final = 2000
"""Points that are gathered at most: batches do not get cheaper from there on."""

Passed = Iterable[tuple[str, Datapoint]]
"""What a processor hands on at once."""

Store = Callable[[str, Datapoint], object]
"""Takes a point."""

Point = tuple[str, Datapoint]


class QuotaProcessor(Processor):
    """Hands on to `sink` what is within every quota. Used on the reactor's thread; `health` on any."""

    def __init__(
        self,
        decisions: Decisions,
        sink: Processor,
        *,
        soon: Callable[[Callable[[], None]], object],
        room: Callable[[], float] = lambda: inf,
        store_plain: Store | None = None,
        waiting: HeldPoints[list[Point]] | None = None,
    ) -> None:
        """Have `decisions` made on each point.

        `soon` calls a function when the reactor has done what it is at, `room` tells how many points the sink takes
        before senders have to wait. `store_plain` is what the sink would call with a point whose metric has no tags,
        where that is known. `waiting` takes points that wait for more of a limit.
        """
        self._decisions = decisions
        self._waiting = waiting
        if waiting is not None:
            waiting.decide = self._decide_again
        self._process = sink.process
        self._soon = soon
        self._store_plain = store_plain or self._give_to_sink
        self._room = room
        self.hold_back: Callable[[Sequence[Point]], None] = lambda _: None
        """Takes points that are held back, of an engine that holds some back."""
        self._most = self._limit = MOST
        self._metrics: list[str] = []
        self._datapoints: list[Datapoint] = []

    def process(self, metric: str, datapoint: Datapoint) -> Passed:
        """Take a point, to be decided on soon."""
        metrics = self._metrics
        if not metrics:
            self._soon(self.flush)
        metrics.append(metric)
        self._datapoints.append(datapoint)
        if len(metrics) >= self._most:
            self.flush()
        return ()

    def end(self) -> None:
        """Hand on what was gathered, and gather no more: from here on every point is decided on at once."""
        self._most = self._limit = 1
        self._soon = lambda _: None
        self.finish()

    def finish(self) -> None:
        """Decide on all that was gathered or waits for more of a limit, and have nothing wait for that any more."""
        self.flush()
        if self._waiting is not None:
            self._waiting.is_closed = True
            self._waiting.decide_again(finally_=True)

    def flush(self) -> None:
        """Decide on what was gathered, and hand on what may pass."""
        if self._waiting is not None:
            self._waiting.decide_answered()
        metrics, datapoints = self._metrics, self._datapoints
        if not metrics:
            return
        self._metrics, self._datapoints = [], []
        metrics, datapoints = self._decisions.timely(metrics, datapoints)
        if not metrics:
            return
        self._settle(self._decisions.decide(metrics), datapoints)
        # The point that finds no room is handed on at once, as it makes senders wait.
        self._most = int(min(self._limit, max(self._room(), 0) + 1))

    def _decide_again(self, points: list[Point], until: float) -> None:
        """Decide on points that waited, and may wait once more `until` then."""
        decided = self._decisions.decide_again([metric for metric, _ in points], until)
        self._settle(decided, [datapoint for _, datapoint in points])

    def _settle(self, decided: Decided, datapoints: Sequence[Datapoint]) -> None:
        """Hand on those of the points that may pass, and have wait what is to."""
        self.hand_on(decided, datapoints)
        if decided.held:
            self.hold_back([(decided.metrics[position], datapoints[position]) for position in decided.held])

    def hand_on(self, decided: Decided, datapoints: Sequence[Datapoint]) -> None:
        """Hand on those of the points that may pass; those wait that more of a limit may be granted for."""
        if self._waiting is not None and decided.waiting is not None:
            held = [(decided.metrics[position], datapoints[position]) for position in decided.waiting_at]
            self._waiting.keep(decided.waiting, held)
        points: Passed = zip(decided.metrics, datapoints, strict=True)
        if decided.passes is not None:
            points = compress(points, decided.passes)
        _for_each(points, self._store_plain if decided.are_plain else self._give_to_sink)

    def _give_to_sink(self, metric: str, datapoint: Datapoint) -> None:
        """Hand on one point."""
        for _ in self._process(metric, datapoint):
            pass

    def health(self) -> Iterator[HealthSample]:
        """What was decided, and what waited for more of a limit."""
        yield from self._decisions.health()
        if self._waiting is not None:
            yield HealthSample("held_back", self._waiting.points)


class GeneratedProcessor(Processor):
    """Stands before the sink of what carbon makes itself: its stats pass, aggregates are decided on.

    What a relay sends anew, as a destination is gone, comes this way, too: in a daemon without `aggregates` all passes.
    """

    def __init__(self, processor: QuotaProcessor, stats_prefix: str, *, aggregates: bool) -> None:
        """`stats_prefix` is what the names of carbon's own stats begin with."""
        self._process = processor.process
        self._own = f"{stats_prefix}." if aggregates else ""

    def process(self, metric: str, datapoint: Datapoint) -> Passed:
        """The point, if it is not to be decided on; all else is taken, to be decided on soon."""
        if metric.startswith(self._own):
            return ((metric, datapoint),)
        return self._process(metric, datapoint)


def _for_each(points: Passed, store: Store) -> None:
    """Store points one after the other, in C where `store` is."""
    rest = starmap(store, points)
    while True:
        try:
            deque(rest, maxlen=0)
        except Exception:  # noqa: BLE001 - as carbon's own pipeline has it: one bad point keeps up no other
            carbon_log.err()
        else:
            return
