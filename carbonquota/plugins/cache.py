"""Carbon's cache and queues, as they matter to quotas: their room, what waits in them, and how our stats get there.

Carbon asks senders to wait with the first point that has no room any more, and drops this one and all that come until
the senders have stopped. So whoever gathers points must not have more in hand then than carbon itself would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Final

from carbon import events, state
from carbon.cache import CacheFeedingProcessor, DrainStrategy, MetricCache
from carbon.conf import settings
from carbon.pipeline import Processor
from twisted.internet.task import Cooperator

Room = Callable[[], float]
"""Tells how many more points are taken; `inf` where that is of no concern, as the senders wait already."""

_ENDLESS: Final[Room] = lambda: inf  # noqa: E731 - a value of this type


def room(*, stores: bool) -> Room:
    """Of the cache of a daemon that `stores`, else of the queues that it relays by."""
    if not settings.USE_FLOW_CONTROL:
        return _ENDLESS
    return cache_room() if stores else relay_room


def cache_room() -> Room:
    """What is left of MAX_CACHE_SIZE."""
    most = settings.MAX_CACHE_SIZE
    if most == inf:
        return _ENDLESS
    cache = MetricCache()

    def left() -> float:
        return inf if state.cacheTooFull else float(most - cache.size)

    return left


def relay_room() -> float:
    """What is left of MAX_QUEUE_SIZE in the fullest queue of which carbon has not told yet that it is full."""
    most = settings.MAX_QUEUE_SIZE
    return min((most - queue.queueSize for queue in _queues() if not queue.queueFull.called), default=inf)


def _queues() -> Iterator[Any]:
    """The queues of all destinations; at None is what waits for one to be there, which is never full."""
    queues = state.client_manager.client_factories
    return (queue for destination, queue in queues.items() if destination is not None)


def plain_store(sink: Processor) -> Callable[[str, tuple[float, float]], Any] | None:
    """What carbon's own sink of a cache calls when it has brought the tags of a name into order; None of any other.

    A name without tags stays what it is by that.
    """
    return sink.cache.store if type(sink) is CacheFeedingProcessor else None


class NotingStrategy(DrainStrategy):
    """Drains the cache in the order of another strategy, and remembers what the writer has in hand.

    A new metric is out of the cache before its file is made. Without this, a scan that looked in between would take it
    for gone.
    """

    def __init__(self, cache: MetricCache, strategy: DrainStrategy | None) -> None:
        """`strategy` is the one that carbon chose; None where it has none."""
        super().__init__(cache)
        self._strategy = strategy
        self.in_hand: str | None = None

    def choose_item(self) -> str | None:
        """The metric to write next; called by the writer's thread, before it is taken from the cache."""
        chosen: str | None = self._strategy.choose_item() if self._strategy else next(iter(self.cache))
        self.in_hand = chosen
        return chosen


class WaitingPoints:
    """Tells which metrics wait to be written."""

    def __init__(self) -> None:
        """Look at carbon's one cache from here on."""
        self._cache = MetricCache()
        self._strategy = NotingStrategy(self._cache, self._cache.strategy)
        self._cache.strategy = self._strategy

    def is_pending(self, metric: str) -> bool:
        """Whether points of a metric are in the cache, or being written; its file is to be looked for after that."""
        # In this order: what is no longer in the cache was taken in hand before.
        return metric in self._cache or metric == self._strategy.in_hand


Record = Callable[[str, tuple[float, float]], object]
"""Takes a metric and its data point, on the reactor's thread."""


def recorder(*, stores: bool) -> Record:
    """Where carbon's own stats go, past every quota: in a daemon that `stores`, into its cache."""
    if stores:
        store: Record = MetricCache().store
        return store
    generated: Record = events.metricGenerated
    return generated


class StatsWriter:
    """Gives the lines of reports to carbon, between its other work. Used on the reactor's thread."""

    def __init__(self, record: Record, cooperator: Cooperator) -> None:
        """`cooperator` gives other work its turn."""
        self._record = record
        self._cooperator = cooperator

    async def write(self, lines: bytes) -> None:
        """Record the values of plaintext `lines`, as many of them as there may be."""
        await self._cooperator.cooperate(self._steps(lines)).whenDone()

    def _steps(self, lines: bytes) -> Iterator[None]:
        """One value at a step."""
        for line in lines.decode().splitlines():
            metric, value, timestamp = line.split(" ")
            self._record(metric, (float(timestamp), float(value)))
            yield
