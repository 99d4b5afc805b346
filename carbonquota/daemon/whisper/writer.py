"""The writer: which metric next, when, and what if it fails. One thread, as Whisper blocks and holds the GIL.

Theory of operation. Metrics are written in rounds, those with most points first, so that a disk too slow for one
update a point gets fewer, larger ones. Two kinds stand outside of the rounds, kept apart in the cache. One awaits the
making of its file, while the pace of creations or a full disk does not allow it. The other failed and is parked, each
metric until its own rest is over. A disk that is full fails the same way for every file: after some such failures in a
row all of writing rests, or after one, all of creating. Every rest ends with a trial, so that it goes on by itself when
the disk does. A metric without a file, all of whose points are outside of what a file would keep, gets none, and
whoever charged it is told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from threading import Event
from typing import Final

from carbonquota.daemon.whisper.cache import CacheEntry, WriteCache
from carbonquota.daemon.whisper.failures import REASONS, Failure, failure_of
from carbonquota.daemon.whisper.files import WhisperStore
from carbonquota.daemon.whisper.pace import LONGEST_REST, WritePace, WriteRest, rest_after
from carbonquota.daemon.whisper.points import Point
from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.service.losses import Losses

_log = logging.getLogger(__name__)

_GLANCE: Final = 0.1
"""The most seconds to sleep at once: rests and paces go by a clock that may be set meanwhile."""

_STREAK: Final = 8
"""Failures in a row, all of the kind that is met everywhere, after which writing rests as a whole."""

_LOOK: Final = 1.0
"""Seconds between two looks for a data directory that is away."""

_UNWRITABLE: Final = "unwritable"
_CREATES: Final = "creates"
_RETENTION: Final = "retention"

LOST: Final = {
    "full": "the cache is far past its size, as datagrams or a stop brought more than can be written; raise max-size "
    "in [cache], or see what slows down the disk",
    "name": "no file can have this name",
    "nan": "their value is no number",
    "timestamp": "their time is none that a file can hold",
    "malformed": "they are no plaintext",
    "retention": "they are older, or further ahead, than the metric's file keeps points; see storage-schemas.conf, "
    "and the sender's clock",
    "unwritable": "the file cannot be written, and more of them came than are kept for it",
    "creates": "their file was not made yet, and the cache is full; raise max-creates-per-second in [whisper], or "
    "max-size in [cache]",
    "disk_full": "their file cannot be made, as the disk is full, and the cache is full as well; make room on the disk",
    "permission": "their file cannot be made, as the disk is read-only, and the cache is full",
    "directory": "the data directory is away, and the cache is full",
    "shutdown": "they were not written before the end, and are kept nowhere",
}
"""Why points are lost: the reasons, and what they mean to whoever has to do something about it."""


class Writer:
    """Writes what is in the cache to the store. `run` is for its thread; `finish`, `abandon`, `health` for any."""

    def __init__(
        self,
        cache: WriteCache,
        store: WhisperStore,
        updates: WritePace,
        creates: WritePace,
        clock: Clock,
        on_unstored: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`updates` and `creates` pace writes and new files; `on_unstored` is told of a metric that gets no file."""
        self._cache = cache
        self._store = store
        self._updates = updates
        self._creates = creates
        self._clock = clock
        self._on_unstored = on_unstored
        self._notices = BoundedLog(_log, clock)
        self._losses = Losses(_log, clock, LOST)
        self._rest, self._creation_rest = WriteRest(clock), WriteRest(clock)
        self._streak = 0
        self._round: list[CacheEntry] = []
        self._retries: list[tuple[float, int, CacheEntry]] = []
        self._order = count()
        self._failures: dict[bytes, int] = {}
        self._hurry, self._abandoned = Event(), Event()
        self._finishing = False
        self._created = 0
        self._errors: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._up = True
        self._everywhere: dict[bool, Failure] = {}
        self._bad_files: dict[bytes, str] = {}

    def run(self) -> None:
        """Write until told to finish, and then what can be written at once."""
        while not self._hurry.is_set():
            held_back = self._held_back()
            self.tell_losses()
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

    def tell_losses(self) -> None:
        """Log what was lost since the last call, and have it be a trouble."""
        for reason, loss in self._cache.take_losses().items():
            self._losses.note(reason, loss.points, loss.metric)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What does not go well: the disk as a whole, files by themselves, points that were lost. From any thread."""
        whole = dict.fromkeys(_text(failure) for failure in self._everywhere.copy().values())
        bad = self._bad_files.copy()
        files = "1 Whisper file" if len(bad) == 1 else f"{len(bad):,} Whisper files"
        some = (f"{files} cannot be written, such as {next(iter(bad.values()))}",) if bad else ()
        return (*whole, *some, *self._losses.troubles)

    def health(self) -> Iterator[HealthSample]:
        """Files created, failures, and whether the last write succeeded."""
        errors = dict(self._errors)
        internal = errors.pop("internal", 0)
        yield HealthSample("created_files", self._created)
        yield from (HealthSample("sink_errors", errors[reason], reason) for reason in errors)
        yield HealthSample("sink_up", int(self._up))
        if internal:
            yield HealthSample("internal_errors", internal, "whisper")

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

    def _next(self) -> CacheEntry | None:
        """The metric to write now, if any."""
        if self._retries and self._is_due(self._retries[0][0]):
            return heappop(self._retries)[2]
        if self._may_create() and (entry := self._cache.next_awaiting()) is not None:
            return entry
        if not self._round:
            self._round = self._cache.ready()
        return self._round.pop() if self._round else None

    def _is_due(self, at: float) -> bool:
        """Whether it is time for a metric that failed; a time too far off means that the clock was set back."""
        return self._finishing or not 0 < at - self._clock() <= LONGEST_REST

    def _may_create(self) -> bool:
        return not self._creation_rest.left() and (self._finishing or not self._creates.delay())

    def _write(self, entry: CacheEntry) -> None:
        """Write one metric, whatever becomes of it."""
        points = self._cache.take(entry)
        if not points:
            return
        metric = entry.name.decode()
        try:
            left_out = self._put(metric, points)
        except Exception as error:  # noqa: BLE001 - an edge of the process: one file never ends the writing of others
            self._fail(entry, error)
            return
        if left_out is not None:
            self._succeed(entry, left_out)
        elif not self._store.is_worth_a_file(metric, points):
            self._cache.lose(entry, _RETENTION)
            self._on_unstored(metric)
        elif self._finishing:
            self._cache.park(entry, self._why_not_created())
        else:
            self._cache.await_file(entry, self._why_not_created())

    def _put(self, metric: str, points: list[Point]) -> int | None:
        """Write one metric's points; how many were left out, or None where it has no file and gets none now."""
        with suppress(FileNotFoundError):
            return self._store.update(metric, points)
        if not self._may_create() or not self._store.is_worth_a_file(metric, points):
            return None
        self._creates.spend()
        self._store.create(metric)
        self._created += 1
        self._creation_rest.end()
        self._everywhere.pop(True, None)
        return self._store.update(metric, points)

    def _why_not_created(self) -> str:
        """Why files are not made now."""
        failure = self._everywhere.get(True)
        return failure.reason if failure else _CREATES

    def _succeed(self, entry: CacheEntry, left_out: int) -> None:
        self._cache.store(entry, left_out)
        self._failures.pop(entry.name, None)
        self._bad_files.pop(entry.name, None)
        self._rest.end()
        self._streak = 0
        self._up = True
        self._everywhere.pop(False, None)

    def _fail(self, entry: CacheEntry, error: Exception) -> None:
        """Count and tell a failure, and come back to the metric later."""
        failure = failure_of(error)
        metric = entry.name.decode()
        if failure.reason == "name":
            self._notices.warning("name", "no file can be called as the metric %s: %s", metric, failure.cause)
            self._cache.lose(entry, "name")
            return
        self._errors[failure.reason] += 1
        self._note(entry, metric, failure)
        self._rest_after(failure)
        if failure.everywhere and failure.creating and not self._finishing:
            self._cache.await_file(entry, failure.reason)
        elif not self._cache.park(entry, _UNWRITABLE):
            self._failures.pop(entry.name, None)
            self._bad_files.pop(entry.name, None)
        elif not self._finishing:
            self._retry(entry, failure)

    def _note(self, entry: CacheEntry, metric: str, failure: Failure) -> None:
        """Tell a failure, and have it be a trouble until there is a success."""
        text = f"{self._store.path(metric)}: {_text(failure)}"
        tell = self._notices.exception if failure.reason == "internal" else self._notices.warning
        tell(failure.reason, "cannot write %s", text)
        if failure.everywhere:
            self._everywhere[failure.creating] = failure
        else:
            self._bad_files[entry.name] = text
        self._up = self._up and failure.alone

    def _rest_after(self, failure: Failure) -> None:
        """Let all files rest that would fail in the same way."""
        if failure.reason == "directory":
            # To see whether it is back costs next to nothing.
            self._rest.begin(_LOOK)
        elif failure.everywhere and failure.creating:
            self._creation_rest.begin()
        elif failure.everywhere:
            self._streak += 1
            if self._streak >= _STREAK:
                self._rest.begin()

    def _retry(self, entry: CacheEntry, failure: Failure) -> None:
        """Note when a parked metric is to be tried again."""
        if failure.reason == "directory":
            heappush(self._retries, (self._clock() + _LOOK, next(self._order), entry))
            return
        failures = self._failures[entry.name] = self._failures.get(entry.name, 0) + 1
        heappush(self._retries, (self._clock() + rest_after(failures), next(self._order), entry))


def _text(failure: Failure) -> str:
    """The cause of a failure, and what to do."""
    return f"{failure.cause}; {failure.remedy}" if failure.remedy else failure.cause
