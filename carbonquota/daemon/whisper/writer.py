"""The writer: which metric next, when, and what if it fails. One thread, as Whisper blocks and holds the GIL.

Theory of operation. Metrics are written in rounds, those with most points first, so that a disk too slow for one
update a point gets fewer, larger ones. Two kinds stand outside of the rounds, parked in the cache: those whose file
must first be made, while the pace of creations does not allow it, and those that failed, each until its own rest is
over. A disk that is full fails the same way for every file: after some such failures in a row all of writing rests, or
after one, all of creating. Every rest ends with a trial, so that it goes on by itself when the disk does.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from threading import Event
from typing import Final

from carbonquota.daemon.whisper.cache import Entry, WriteCache
from carbonquota.daemon.whisper.failures import REASONS, Failure, failure_of
from carbonquota.daemon.whisper.files import Store
from carbonquota.daemon.whisper.pace import LONGEST_REST, Pace, Rest, rest_after
from carbonquota.daemon.whisper.points import Point
from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import Sample

_log = logging.getLogger(__name__)

_GLANCE: Final = 0.1
"""The most seconds to sleep at once: rests and paces go by a clock that may be set meanwhile."""

_STREAK: Final = 8
"""Failures in a row, all of the kind that is met everywhere, after which writing rests as a whole."""

_UNWRITABLE: Final = "unwritable"
_CREATES: Final = "creates"


class Writer:
    """Writes what is in the cache to the store. `run` is for its thread; `finish`, `abandon`, `health` for any."""

    def __init__(self, cache: WriteCache, store: Store, updates: Pace, creates: Pace, clock: Clock) -> None:
        """`updates` and `creates` pace writes and new files."""
        self._cache = cache
        self._store = store
        self._updates = updates
        self._creates = creates
        self._clock = clock
        self._notices = BoundedLog(_log, clock)
        self._rest, self._creation_rest = Rest(clock), Rest(clock)
        self._streak = 0
        self._round: list[Entry] = []
        self._creations: deque[Entry] = deque()
        self._retries: list[tuple[float, int, Entry]] = []
        self._order = count()
        self._failures: dict[bytes, int] = {}
        self._hurry, self._abandoned = Event(), Event()
        self._finishing = False
        self._created = 0
        self._errors: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._up = True

    def run(self) -> None:
        """Write until told to finish, and then what can be written at once."""
        while not self._hurry.is_set():
            held_back = self._held_back()
            if held_back:
                self._hurry.wait(min(held_back, _GLANCE))
            elif not self.step():
                self._cache.wait(_GLANCE)
        self._finish()

    def finish(self) -> None:
        """Let `run` end: write all that waits at full speed, each metric that fails being tried just once more."""
        self._hurry.set()
        self._cache.wake()

    def abandon(self) -> None:
        """Let `run` end after the metric that is being written."""
        self._abandoned.set()
        self.finish()

    def step(self) -> bool:
        """Write the next metric that may be written now; False if there is none."""
        if self._held_back():
            return False
        entry = self._next()
        if entry is not None:
            self._updates.spend()
            self._write(entry)
        return entry is not None

    def health(self) -> Iterator[Sample]:
        """Files created, failures, and whether the last write succeeded."""
        errors = dict(self._errors)
        internal = errors.pop("internal", 0)
        yield Sample("created_files", self._created)
        yield from (Sample("sink_errors", errors[reason], reason) for reason in errors)
        yield Sample("sink_up", int(self._up))
        if internal:
            yield Sample("internal_errors", internal, "whisper")

    def _held_back(self) -> float:
        """The seconds until anything at all may be written."""
        return self._rest.left() or self._updates.delay()

    def _finish(self) -> None:
        self._finishing = True
        self._rest.end()
        self._creation_rest.end()
        self._streak = 0
        while not self._abandoned.is_set() and not self._rest.left():
            entry = self._next()
            if entry is None:
                return
            self._write(entry)

    def _next(self) -> Entry | None:
        """The metric to write now, if any."""
        if self._retries and self._is_due(self._retries[0][0]):
            return heappop(self._retries)[2]
        if self._creations and self._may_create():
            return self._creations.popleft()
        if not self._round:
            self._round = self._cache.ready()
        return self._round.pop() if self._round else None

    def _is_due(self, at: float) -> bool:
        """Whether it is time for a metric that failed; a time too far off means that the clock was set back."""
        return self._finishing or not 0 < at - self._clock() <= LONGEST_REST

    def _may_create(self) -> bool:
        return not self._creation_rest.left() and (self._finishing or not self._creates.delay())

    def _write(self, entry: Entry) -> None:
        """Write one metric, whatever becomes of it."""
        points = self._cache.take(entry)
        if not points:
            return
        try:
            written = self._put(entry.name.decode(), points)
        except Exception as error:  # noqa: BLE001 - an edge of the process: one file never ends the writing of others
            self._fail(entry, error)
            return
        if written:
            self._succeed(entry)
        elif self._cache.park(entry, _CREATES) and not self._finishing:
            self._creations.append(entry)

    def _put(self, metric: str, points: list[Point]) -> bool:
        """Write one metric's points; False where its file must be made and may not yet."""
        try:
            self._store.update(metric, points)
        except FileNotFoundError:
            if not self._may_create():
                return False
        else:
            return True
        self._creates.spend()
        self._store.create(metric)
        self._created += 1
        self._creation_rest.end()
        self._store.update(metric, points)
        return True

    def _succeed(self, entry: Entry) -> None:
        self._cache.store(entry)
        self._failures.pop(entry.name, None)
        self._rest.end()
        self._streak = 0
        self._up = True

    def _fail(self, entry: Entry, error: Exception) -> None:
        """Count and tell a failure, and come back to the metric later."""
        failure = failure_of(error)
        metric = entry.name.decode()
        if failure.reason == "name":
            self._notices.warning("name", "no file can be called as the metric %s: %s", metric, failure.cause)
            self._cache.lose(entry, "name")
            return
        self._errors[failure.reason] += 1
        self._up = False
        self._tell(metric, failure)
        self._rest_after(failure)
        if not self._cache.park(entry, _UNWRITABLE):
            self._failures.pop(entry.name, None)
        elif not self._finishing:
            self._retry(entry, failure)

    def _tell(self, metric: str, failure: Failure) -> None:
        path = self._store.path(metric)
        tell = self._notices.exception if failure.reason == "internal" else self._notices.warning
        tell(failure.reason, "cannot write %s: %s; %s", path, failure.cause, failure.remedy)

    def _rest_after(self, failure: Failure) -> None:
        """Let all files rest that would fail in the same way."""
        if failure.everywhere and failure.creating:
            self._creation_rest.begin()
        elif failure.everywhere:
            self._streak += 1
            if self._streak >= _STREAK:
                self._rest.begin()

    def _retry(self, entry: Entry, failure: Failure) -> None:
        """Note when a parked metric is to be tried again."""
        if failure.everywhere and failure.creating:
            self._creations.append(entry)
            return
        failures = self._failures[entry.name] = self._failures.get(entry.name, 0) + 1
        heappush(self._retries, (self._clock() + rest_after(failures), next(self._order), entry))
