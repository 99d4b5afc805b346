"""The write cache: points by metric, in order of arrival, between the loop that adds and the thread that writes.

Theory of operation. A metric's points are in one of three places. *Ready*: the writer may take them. *Writing*: it has.
*Parked*: it tried and has to come back to the metric later; new points queue up behind the old ones. Whatever it takes
it must settle, as stored, ready again, parked or lost.

Invariants, each holding whenever the lock is free:
- points added = stored + lost + `queued`, where `queued` counts the points in all three places;
- a parked metric has at least one point, at most its share, and all parked ones together at most half of the cache,
  so that metrics that cannot be written never keep the others from being stored;
- a metric is named by its normal form however it is spelled; spellings are remembered up to a bound, for speed only.

This file must not know files, paths or paces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Final

from carbonquota.daemon.whisper.points import Point, Points
from carbonquota.errors import MetricNameError
from carbonquota.metric_name import normalize

MOST_SPELLINGS: Final = 1_000_000
"""How many spellings of names are remembered before all of them are forgotten."""

_OVERSHOOT: Final = 100_000
"""Points that may come in on top of twice the size, while senders are being stopped; past it they are lost."""


@dataclass(slots=True, eq=False)
class Entry:
    """One metric by its normal name, with the points that wait; `parked` is why it is parked, or empty."""

    name: bytes
    points: list[Point] | None = None
    parked: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of all points added so far: they are `queued`, `stored`, or `lost` by reason."""

    queued: int
    stored: int
    lost: Mapping[str, int]


class WriteCache:
    """Points that wait to be written. All methods may be called from any thread.

    Full from `max_size` points on, until it is below nine tenths of that: then `on_room` is called, on whatever thread.
    `path_of` raises MetricNameError for a metric that can have no file.
    """

    def __init__(
        self,
        max_size: int,
        path_of: Callable[[str], str],
        on_room: Callable[[], None],
        most_spellings: int = MOST_SPELLINGS,
    ) -> None:
        """Start empty."""
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._path_of = path_of
        self._on_room = on_room
        self._most_spellings = most_spellings
        self._max_size = max_size
        self._share = max(1, min(max(1000, max_size // 100), max_size // 10))
        self._spellings: dict[bytes, Entry] = {}
        self._ready: dict[bytes, Entry] = {}
        self._parked: dict[bytes, Entry] = {}
        self._writing: dict[bytes, tuple[Entry, list[Point]]] = {}
        self._parked_points = 0
        self._queued = 0
        self._stored = 0
        self._lost: Counter[str] = Counter()
        self._full = False
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether it has been full and `on_room` has not been called since."""
        return self._full

    def add(self, points: Points, *, bounded: bool = True) -> None:
        """Take these points; those that can have no file, or come far past the size if `bounded`, count as lost."""
        count = len(points.names)
        with self._changed:
            self._lost.update(points.refused)
            if self._closed or (bounded and self._queued >= 2 * self._max_size + _OVERSHOOT):
                self._lost["shutdown" if self._closed else "full"] += count
                return
            self._queued += count
            self._append(points)
            self._full = self._full or self._queued >= self._max_size
            if self._ready:
                self._changed.notify()

    def _append(self, points: Points) -> None:
        """Put each point behind those of its metric: the innermost loop of storing."""
        find, ready = self._spellings.get, self._ready
        for name, timestamp, value in zip(points.names, points.timestamps, points.values, strict=True):
            entry = find(name) or self._enter(name)
            if entry is None:
                self._lose("name", 1)
            elif entry.points is None:
                entry.points = [(timestamp, value)]
                ready[entry.name] = entry
            elif entry.parked:
                self._append_parked(entry, (timestamp, value))
            else:
                entry.points.append((timestamp, value))

    def _enter(self, spelling: bytes) -> Entry | None:
        """The entry of a metric spelled so for the first time; None where it can have no file."""
        try:
            metric = normalize(spelling)
            self._path_of(metric)
        except MetricNameError:
            return None
        if len(self._spellings) >= self._most_spellings:
            self._spellings.clear()
        name = metric.encode()
        entry = self._spellings.get(name) or self._known(name) or Entry(name)
        self._spellings[name] = self._spellings[spelling] = entry
        return entry

    def _known(self, name: bytes) -> Entry | None:
        """The entry of a metric that has points, though its spellings were forgotten."""
        if name in self._writing:
            return self._writing[name][0]
        return self._ready.get(name) or self._parked.get(name)

    def _append_parked(self, entry: Entry, point: Point) -> None:
        """Add to a parked metric, its oldest point making room where there is none."""
        points = entry.points or []
        if len(points) >= self._share or self._parked_points >= self._max_size // 2:
            del points[0]
            self._lose(entry.parked, 1)
        else:
            self._parked_points += 1
        points.append(point)

    def ready(self) -> list[Entry]:
        """The metrics to write, those with most points last."""
        with self._lock:
            entries = list(self._ready.values())
        return sorted(entries, key=lambda entry: len(entry.points or ()))

    def wait(self, seconds: float) -> None:
        """Return when there is something to write, when woken up, or else after so many seconds."""
        with self._changed:
            if not self._ready:
                self._changed.wait(seconds)

    def wake(self) -> None:
        """End a `wait`."""
        with self._changed:
            self._changed.notify_all()

    def take(self, entry: Entry) -> list[Point]:
        """All points of a metric, to be written and then settled; none if it has none, or all was given up."""
        with self._lock:
            points = entry.points
            if points is None or self._closed:
                return []
            if entry.parked:
                self._parked_points -= len(points)
                del self._parked[entry.name]
                entry.parked = ""
            else:
                del self._ready[entry.name]
            entry.points = None
            self._writing[entry.name] = entry, points
            return points

    def store(self, entry: Entry) -> None:
        """Settle what was taken: it is stored."""
        with self._lock:
            count = len(self._settled(entry))
            self._stored += count
            self._leave(count)

    def lose(self, entry: Entry, reason: str) -> None:
        """Settle what was taken: it is lost."""
        with self._lock:
            self._lose(reason, len(self._settled(entry)))

    def park(self, entry: Entry, reason: str) -> bool:
        """Settle what was taken: it waits until the writer takes this very metric again.

        `reason` is what its oldest points count as lost by, if they come to exceed its share. False where metrics
        that are parked have no more room at all: then the points are lost.
        """
        with self._lock:
            points = self._settled(entry)
            if not points:
                return False
            self._ready.pop(entry.name, None)
            points += entry.points or []
            room = max(0, min(self._share, self._max_size // 2 - self._parked_points))
            excess = max(0, len(points) - room)
            del points[:excess]
            self._lose(reason, excess)
            entry.points = points or None
            if points:
                entry.parked = reason
                self._parked[entry.name] = entry
                self._parked_points += len(points)
            return bool(points)

    def _settled(self, entry: Entry) -> list[Point]:
        """What was taken; nothing if all was given up meanwhile."""
        _, points = self._writing.pop(entry.name, (entry, []))
        return points

    def _lose(self, reason: str, count: int) -> None:
        """Count points that were queued as lost."""
        if count:
            self._lost[reason] += count
            self._leave(count)

    def _leave(self, count: int) -> None:
        """Count points as queued no more."""
        self._queued -= count
        if self._full and self._queued * 10 < self._max_size * 9:
            self._full = False
            self._on_room()

    def is_pending(self, metric: str) -> bool:
        """Whether points of this metric, named in normal form, wait or are being written."""
        name = metric.encode()
        with self._lock:
            return name in self._ready or name in self._parked or name in self._writing

    def counts(self) -> Counts:
        """What became of the points so far, at one moment."""
        with self._lock:
            return Counts(self._queued, self._stored, dict(self._lost))

    def close(self) -> list[tuple[bytes, list[Point]]]:
        """All points that wait, by name; from here on none is taken, and what is added is lost."""
        with self._lock:
            self._closed = True
            waiting = [*self._ready.values(), *self._parked.values()]
            written = [(name, list(points)) for name, (_, points) in self._writing.items()]
            return written + [(entry.name, list(entry.points or ())) for entry in waiting]

    def give_up(self) -> None:
        """Count all that waits as lost, after `close`."""
        with self._lock:
            self._lose("shutdown", self._queued)
            for places in (self._ready, self._parked, self._writing):
                places.clear()
