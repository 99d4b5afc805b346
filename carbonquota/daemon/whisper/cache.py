"""The write cache: points by metric, in order of arrival, between the loop that adds and the thread that writes.

Theory of operation. A metric's points are in one of four places. *Ready*: the writer may take them. *Writing*: it has.
*Parked*: it tried and has to come back to the metric later; new points queue up behind the old ones. *Awaiting*: the
same of metrics whose file is to be made, in order, when that is allowed. What it takes it must account for, as stored,
parked, awaiting or lost.

Invariants, each holding whenever the lock is free:
- points added = stored + lost + `queued`, where `queued` counts the points in all four places;
- a parked metric has at least one point, at most its share, and all parked ones together at most half of the cache,
  so that metrics that cannot be written never keep the others from being stored;
- those that await their file may fill the cache. When it is full they make room for others, the last one first, but
  together with the parked ones keep three quarters of it;
- a metric is named by its normal form however it is spelled; what is kept of it while no point of it waits is bounded
  in number and bytes, and for speed only. Of other spellings so few are remembered that ever-new ones take no memory.

This file must not know files, paths or paces.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from threading import Condition, Lock
from typing import Final

from carbonquota.daemon.whisper.points import Point, Points
from carbonquota.daemon.whisper.spellings import SpellingBounds, Spellings
from carbonquota.errors import MetricNameError
from carbonquota.metric_name import normalize

NORMAL: Final = SpellingBounds(500_000, 64 * 2**20)
"""How many normal names are remembered in a generation. They are in the index as well, so quotas bound them, too."""

OTHER: Final = SpellingBounds(10_000, 2**20)
"""The same of other spellings: of any metric there is no end to them."""

_OVERSHOOT: Final = 100_000
"""Points that may come in on top of twice the size, while senders are being stopped; past it they are lost."""


@dataclass(slots=True, eq=False)
class CacheEntry:
    """One metric by its normal name, with the points that wait.

    `parked` is what they count as lost by, if it comes to that, where it is parked or, if `is_awaiting`, awaits its
    file; else empty.
    """

    name: bytes
    points: list[Point] | None = None
    parked: str = ""
    is_awaiting: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """Points that were lost, and one of their metrics."""

    points: int
    metric: bytes


@dataclass(frozen=True, slots=True)
class PointCounts:
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
        normal: SpellingBounds = NORMAL,
        other: SpellingBounds = OTHER,
    ) -> None:
        """Start empty; names are remembered up to these bounds."""
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._path_of = path_of
        self._on_room = on_room
        self._max_size = max_size
        self._share = max(1, min(max(1000, max_size // 100), max_size // 10))
        self._normal: Spellings[CacheEntry] = Spellings(normal)
        self._other: Spellings[bytes] = Spellings(other)
        self._ready: dict[bytes, CacheEntry] = {}
        self._parked: dict[bytes, CacheEntry] = {}
        self._awaiting: OrderedDict[bytes, CacheEntry] = OrderedDict()
        self._writing: dict[bytes, tuple[CacheEntry, list[Point]]] = {}
        self._parked_points = self._awaiting_points = 0
        self._queued = 0
        self._stored = 0
        self._lost: Counter[str] = Counter()
        self._losses: dict[str, Loss] = {}
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
            for reason, refused in points.refused.items():
                self._note_loss(reason, refused, points.samples.get(reason, b""))
            if self._closed or (bounded and self._queued >= 2 * self._max_size + _OVERSHOOT):
                self._note_loss("shutdown" if self._closed else "full", count, points.names[0] if count else b"")
                return
            self._queued += count
            self._append(points)
            self._make_room()
            self._full = self._full or self._queued >= self._max_size
            if self._ready:
                self._changed.notify()

    def _append(self, points: Points) -> None:
        """Put each point behind those of its metric: the innermost loop of storing."""
        find, ready = self._normal.young.get, self._ready
        for name, timestamp, value in zip(points.names, points.timestamps, points.values, strict=True):
            entry = find(name) or self._enter(name)
            if entry is None:
                self._lose("name", 1, name)
            elif entry.points is None:
                entry.points = [(timestamp, value)]
                ready[entry.name] = entry
            elif entry.parked:
                self._append_parked(entry, (timestamp, value))
            else:
                entry.points.append((timestamp, value))

    def _enter(self, spelling: bytes) -> CacheEntry | None:
        """The entry of a metric by any spelling; None where it can have no file."""
        name = self._other.find(spelling) or spelling
        entry = self._normal.find(name)
        if entry is not None:
            return entry
        try:
            metric = normalize(spelling)
            self._path_of(metric)
        except MetricNameError:
            return None
        name = metric.encode()
        if name != spelling and self._other.find(spelling) is None:
            self._other.remember(spelling, name)
        entry = self._normal.find(name)
        if entry is None:
            # One that has points may not be remembered any more, and there must be no second one.
            entry = self._known(name) or CacheEntry(name)
            self._normal.remember(name, entry)
        return entry

    def _known(self, name: bytes) -> CacheEntry | None:
        """The entry of a metric that has points."""
        if name in self._writing:
            return self._writing[name][0]
        return self._ready.get(name) or self._parked.get(name) or self._awaiting.get(name)

    def _append_parked(self, entry: CacheEntry, point: Point) -> None:
        """Add to a parked metric, its oldest point making room where there is none."""
        points = entry.points if entry.points is not None else []
        if entry.is_awaiting:
            self._awaiting_points += 1
        elif len(points) >= self._share or self._parked_points >= self._max_size // 2:
            del points[0]
            self._lose(entry.parked, 1, entry.name)
        else:
            self._parked_points += 1
        points.append(point)

    def ready(self) -> list[CacheEntry]:
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

    def take(self, entry: CacheEntry) -> list[Point]:
        """All points of a metric, to be written and then settled; none if it has none, or all was given up."""
        with self._lock:
            points = entry.points
            if points is None or self._closed:
                return []
            if entry.is_awaiting:
                self._awaiting_points -= len(points)
                del self._awaiting[entry.name]
            elif entry.parked:
                self._parked_points -= len(points)
                del self._parked[entry.name]
            else:
                del self._ready[entry.name]
            entry.points, entry.parked, entry.is_awaiting = None, "", False
            self._writing[entry.name] = entry, points
            return points

    def store(self, entry: CacheEntry, left_out: int = 0) -> None:
        """Account for what was taken: it is stored, but for those left out as the file does not reach them."""
        with self._lock:
            count = len(self._finish(entry))
            left_out = min(left_out, count)
            self._stored += count - left_out
            self._leave(count - left_out)
            self._lose("retention", left_out, entry.name)

    def lose(self, entry: CacheEntry, reason: str) -> None:
        """Account for what was taken: it is lost."""
        with self._lock:
            self._lose(reason, len(self._finish(entry)), entry.name)

    def await_file(self, entry: CacheEntry, reason: str) -> None:
        """Account for what was taken: it waits until the metric's file may be made; see `next_awaiting`.

        `reason` is what its points count as lost by, if they have to make room for others.
        """
        with self._lock:
            points = self._finish(entry)
            if not points:
                return
            self._ready.pop(entry.name, None)
            points += entry.points or []
            entry.points, entry.parked, entry.is_awaiting = points, reason, True
            self._awaiting[entry.name] = entry
            self._awaiting_points += len(points)
            self._make_room()

    def next_awaiting(self) -> CacheEntry | None:
        """The metric that awaits its file for the longest time, if there is any."""
        with self._lock:
            return next(iter(self._awaiting.values()), None)

    def _make_room(self) -> None:
        """Have those that await their file make room in a full cache, as far as they have more than is theirs."""
        kept = self._max_size * 3 // 4
        wanted = self._max_size * 9 // 10 if self._full else self._max_size
        excess = min(self._queued - wanted + 1, self._awaiting_points + self._parked_points - kept)
        while excess > 0 and self._awaiting:
            entry = self._awaiting[next(reversed(self._awaiting))]
            points, reason = entry.points or [], entry.parked
            gone = min(excess, len(points))
            del points[:gone]
            if not points:
                del self._awaiting[entry.name]
                entry.points, entry.parked, entry.is_awaiting = None, "", False
            self._awaiting_points -= gone
            excess -= gone
            self._lose(reason, gone, entry.name)

    def park(self, entry: CacheEntry, reason: str) -> bool:
        """Account for what was taken: it waits until the writer takes this very metric again.

        `reason` is what its oldest points count as lost by, if they come to exceed its share. False where metrics
        that are parked have no more room at all: then the points are lost.
        """
        with self._lock:
            points = self._finish(entry)
            if not points:
                return False
            self._ready.pop(entry.name, None)
            points += entry.points or []
            room = max(0, min(self._share, self._max_size // 2 - self._parked_points))
            excess = max(0, len(points) - room)
            del points[:excess]
            self._lose(reason, excess, entry.name)
            entry.points = points or None
            if points:
                entry.parked = reason
                self._parked[entry.name] = entry
                self._parked_points += len(points)
            return bool(points)

    def _finish(self, entry: CacheEntry) -> list[Point]:
        """What was taken; nothing if all was given up meanwhile."""
        _, points = self._writing.pop(entry.name, (entry, []))
        return points

    def _lose(self, reason: str, count: int, metric: bytes) -> None:
        """Count points that were queued as lost."""
        if count:
            self._note_loss(reason, count, metric)
            self._leave(count)

    def _note_loss(self, reason: str, count: int, metric: bytes) -> None:
        """Count points as lost, to be told with one of their metrics."""
        before = self._losses.get(reason)
        self._losses[reason] = Loss(count + before.points, before.metric) if before else Loss(count, metric)
        self._lost[reason] += count

    def take_losses(self) -> Mapping[str, Loss]:
        """What was lost since the last call, by reason."""
        if not self._losses:
            return {}
        with self._lock:
            losses, self._losses = self._losses, {}
            return losses

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
            return any(name in places for places in (self._ready, self._parked, self._awaiting, self._writing))

    def counts(self) -> PointCounts:
        """What became of the points so far, at one moment."""
        with self._lock:
            return PointCounts(self._queued, self._stored, dict(self._lost))

    def close(self) -> list[tuple[bytes, list[Point]]]:
        """All points that wait, by name; from here on none is taken, and what is added is lost."""
        with self._lock:
            self._closed = True
            waiting = [*self._ready.values(), *self._parked.values(), *self._awaiting.values()]
            written = [(name, list(points)) for name, (_, points) in self._writing.items()]
            return written + [(entry.name, list(entry.points or ())) for entry in waiting]

    def give_up(self) -> None:
        """Count all that waits as lost, after `close`."""
        with self._lock:
            some = next(chain(self._ready, self._parked, self._awaiting, self._writing), b"")
            self._lose("shutdown", self._queued, some)
            for places in (self._ready, self._parked, self._awaiting, self._writing):
                places.clear()
