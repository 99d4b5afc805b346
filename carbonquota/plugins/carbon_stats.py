"""Our stats among carbon's own, by the ways that these go: into the cache itself, or through the relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from carbon import events
from carbon.cache import MetricCache
from twisted.internet.task import Cooperator

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
