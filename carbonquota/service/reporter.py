"""Reports: every stat at the end of each interval, for the host's own sink, and the counts that go on over them.

Theory of operation. The engine counts anew after each report, while a Prometheus counter must never go back. So all
looks at the engine's counts pass through one lock here, and `Totals` adds up what each report gave. The lock is held
while the engine is asked, and not while anything is formatted or sent; the decisions on traffic never wait for it.
`report` and `quotas_and_counts` may run on any thread. The lines of a report are returned rather than written, since a
sink belongs to its host's thread; and they are made a piece at a time, as there may be millions, and neither the
memory nor whoever takes them is to have all at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import chain
from math import floor
from threading import Lock
from time import perf_counter, time
from typing import Final, NamedTuple, Protocol

import numpy as np

from carbonquota.controls import QuotaColumns
from carbonquota.engine import QuotaEngine
from carbonquota.errors import QuotaError
from carbonquota.model import Clock
from carbonquota.service.health import Health, HealthSample, summed
from carbonquota.service.totals import OverQuota, Totals
from carbonquota.stats import ReportColumns, named_values, plaintext_lines
from carbonquota.trie.columns import Column

MARGIN: Final = 0.01
"""Seconds after an interval's end at which its report is due: a timer that fires a hair early must not cut it short."""

_MOST_KEPT: Final = 100
"""Namespaces that are remembered of the last report."""

_OTHER_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9_]")


class Emitter(Protocol):
    """Sends reports somewhere else, on the thread that makes them."""

    @property
    def name(self) -> str:
        """What its failures are counted under."""

    @property
    def errors(self) -> int:
        """How often it failed so far."""

    def emit(self, values: Iterable[tuple[str, float]]) -> None:
        """Send values by name; a failure is counted, not raised."""


ClusterUsage = Callable[[Sequence[str], Sequence[Column], float], Sequence[Column]]
"""The usage over all nodes of namespaces that use so much here, throughput in the interval that began at that time.

QuotaError where it cannot be told now.
"""


class Piece(NamedTuple):
    """Some lines of a report, that hold `points` data points."""

    lines: bytes
    points: int


@dataclass(frozen=True, slots=True)
class Report:
    """One report: its lines for the own sink, made one piece after the other as they are asked for, once.

    `timestamp` is the end of the interval. `over` has the namespaces that were over their quota since the report
    before, and `creates` how many points were dropped by the limit on new metrics a second.
    """

    timestamp: int
    pieces: Iterator[Piece]
    over: Sequence[OverQuota]
    creates: int

    def next_piece(self) -> Piece | None:
        """The next piece, None where there is none left; for any thread."""
        return next(self.pieces, None)


OWN_STATS: Final = ("quota", "usage", "throttle", "dropped", "carbonquota")
"""What the name of each value of a report begins with, behind the graph prefix."""


class _OverAll:
    """The usage over all nodes for one report; once it cannot be told it is not asked for again."""

    def __init__(self, usage: ClusterUsage, interval: float, note_untold: Callable[[int], None]) -> None:
        """For the interval that began at this time."""
        self._usage = usage
        self._interval = interval
        self._note_untold = note_untold
        self._is_away = False

    def usage(self, names: Sequence[str], own: Sequence[Column]) -> Sequence[Column] | None:
        """The usage of these namespaces, which use `own` here; None where it cannot be told."""
        if not self._is_away:
            try:
                return self._usage(names, own, self._interval)
            except QuotaError:
                self._is_away = True
        self._note_untold(len(names))
        return None


class Reporter:
    """Makes the reports of one engine; no other part of the program may call the engine's `report`."""

    def __init__(
        self,
        engine: QuotaEngine,
        health: Health,
        graph_prefix: str,
        *,
        timetable: Timetable,
        emitters: Sequence[Emitter] = (),
        stopwatch: Callable[[], float] = perf_counter,
    ) -> None:
        """Report on `engine` and `health` under `graph_prefix`, and pass each report to all `emitters`.

        Adds its own samples to `health`. `stopwatch` gives seconds from any start.
        """
        self._engine = engine
        self._health = health
        self._graph_prefix = graph_prefix
        self._timetable = timetable
        self._emitters = emitters
        self._stopwatch = stopwatch
        self._lock = Lock()
        self._totals = Totals()
        self._creates = 0
        self._own_points = 0
        self._seconds = 0.0
        self._last_over: Sequence[OverQuota] = ()
        self._over_all: ClusterUsage | None = None
        self._untold = 0
        health.add(self.health)

    def tell_over_all(self, usage: ClusterUsage) -> None:
        """Have reports tell the usage of all nodes that share limits, where this one's would stand."""
        self._over_all = usage

    def report(self) -> Report:
        """Close the interval and make its report; not to be called by two threads at once."""
        start = self._stopwatch()
        timestamp = self._timetable.stamp()
        columns, over = self._take()
        if self._over_all is not None:
            over_all = _OverAll(self._over_all, self._timetable.start_of(timestamp), self._note_untold)
            columns = replace(columns, over_all=over_all.usage)
        samples = summed(self._health.samples())
        creates = int(samples.get(("dropped", "creates"), 0))
        health = health_values(samples)
        for emitter in self._emitters:
            emitter.emit(chain(chain.from_iterable(piece.items() for piece in columns.pieces()), health.items()))
        created, self._creates = self._creates, creates
        self._last_over = nlargest(_MOST_KEPT, over, key=lambda tally: tally.over)
        return Report(timestamp, self._pieces(columns, health, timestamp, start), over, creates - created)

    def _note_untold(self, namespaces: int) -> None:
        """Count namespaces whose usage could not be told."""
        self._untold += namespaces

    def _pieces(
        self, columns: ReportColumns, health: Mapping[str, float], timestamp: int, start: float
    ) -> Iterator[Piece]:
        """The lines of a report that was begun at `start`."""
        values: Mapping[str, float]
        for values in chain(columns.pieces(), (health,)):
            lines = plaintext_lines(self._graph_prefix, values, timestamp)
            points = lines.count(b"\n")
            self._own_points += points
            yield Piece(lines, points)
        self._seconds = self._stopwatch() - start

    def _take(self) -> tuple[ReportColumns, list[OverQuota]]:
        """The engine's report, and what was counted since the last one."""
        with self._lock:
            columns, before, after = self._engine.report_with_counts()
            # All others were over no quota, neither now nor before.
            positions = before.positions(self._totals.namespaces)
            values = named_values(columns.at(np.array(positions, np.int64)))
            over = self._totals.report(map(before.value, positions), values, map(after.value, positions))
            return columns, over

    def quotas_and_counts(self) -> tuple[QuotaColumns, dict[str, OverQuota]]:
        """How every namespace under a rule stands now, and what was over quota since the start, by namespace.

        The second knows only namespaces that were over their quota, some of which may be gone by now.
        """
        with self._lock:
            quotas = self._engine.quota_columns()
            self._totals.look(map(quotas.value, quotas.positions(self._totals.namespaces)))
            return quotas, self._totals.tallies()

    @property
    def last_over(self) -> Sequence[OverQuota]:
        """The namespaces that the last report found most over their quota, `_MOST_KEPT` at most."""
        return self._last_over

    def next_report(self, now: float) -> float:
        """The seconds from `now` until the report of the running interval is due."""
        return self._timetable.due(now)

    def health(self) -> Iterator[HealthSample]:
        """What this part has to say of itself."""
        yield HealthSample("own_points", self._own_points)
        yield HealthSample("report_seconds", self._seconds)
        if self._over_all is not None:
            yield HealthSample("report_usage_untold", self._untold)
        for emitter in self._emitters:
            yield HealthSample("emitter_errors", emitter.errors, emitter.name)


class Timetable:
    """When reports are due, and what time is written on them; intervals are aligned to the epoch, as the engine's."""

    def __init__(self, interval: float, clock: Clock = time) -> None:
        """Report every `interval` seconds by `clock`, the engine's own."""
        self._interval = interval
        self._clock = clock
        self._reported = self._boundary(clock())

    def _boundary(self, now: float) -> float:
        """The last end of an interval."""
        return floor(now / self._interval) * self._interval

    def stamp(self) -> int:
        """The end of the interval that a report made now is of, in whole seconds since the epoch.

        Where the interval that ended last has its report already, it is the end of the running one.
        """
        boundary = self._boundary(self._clock())
        if self._reported - self._interval <= boundary <= self._reported:
            return int(boundary + self._interval)
        self._reported = boundary
        return int(boundary)

    def start_of(self, timestamp: float) -> float:
        """When the interval began that ended at this time."""
        return timestamp - self._interval

    def due(self, now: float) -> float:
        """The seconds from `now` until just after the running interval's end."""
        return self._boundary(now) + self._interval - now + MARGIN


def health_values(samples: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Health as named values: `carbonquota.<name>`, and the label, if any, in letters that make no path of it."""
    return {
        f"carbonquota.{stat}.{_OTHER_CHARACTERS.sub('_', label)}" if label else f"carbonquota.{stat}": value
        for (stat, label), value in samples.items()
    }
