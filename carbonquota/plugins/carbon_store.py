"""Carbon's cache and writer: where points without tags go, and, for the scan, which metrics wait to be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carbon.cache import CacheFeedingProcessor, DrainStrategy, MetricCache
from carbon.pipeline import Processor


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
