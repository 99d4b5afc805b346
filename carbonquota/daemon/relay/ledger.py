"""Where every point is that the relay was given: the one place that counts.

At each moment, from whatever thread it is looked at: points accepted and points found in the spool at the start =
queued + spooled + forwarded + lost. Each method moves points from one of these to another, under a lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from threading import Lock

from carbonquota.daemon.relay.queue import RelayBatch
from carbonquota.service.health import HealthSample


class SentLedger:
    """The relay's counts."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._queue_points = self._queue_bytes = 0
        self._spool_points = self._spool_bytes = 0
        self._forwarded = self._resent = 0
        self._lost: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Points in the queue and the spool."""
        return self._queue_points + self._spool_points

    @property
    def lost(self) -> int:
        """Points that were given up, for whatever reason."""
        with self._lock:
            return self._lost.total()

    def accept(self, points: int, size: int) -> None:
        """Points came in; they wait in memory."""
        with self._lock:
            self._queue_points += points
            self._queue_bytes += size

    def find(self, points: int, size: int) -> None:
        """Points of an earlier run were found on disk."""
        with self._lock:
            self._spool_points += points
            self._spool_bytes += size

    def send(self, batches: Iterable[RelayBatch]) -> None:
        """These were sent, for the first time or again."""
        with self._lock:
            for lines, points, segment, again in batches:
                if again:
                    self._resent += points
                elif segment:
                    self._forwarded += points
                    self._spool_points -= points
                    self._spool_bytes -= len(lines)
                else:
                    self._forwarded += points
                    self._queue_points -= points
                    self._queue_bytes -= len(lines)

    def spool(self, batches: Iterable[RelayBatch]) -> None:
        """These went from memory to disk."""
        with self._lock:
            for batch in batches:
                self._queue_points -= batch.points
                self._queue_bytes -= len(batch.lines)
                self._spool_points += batch.points
                self._spool_bytes += len(batch.lines)

    def lose_queued(self, reason: str, batches: Iterable[RelayBatch]) -> None:
        """These, in memory, are given up."""
        with self._lock:
            for batch in batches:
                self._queue_points -= batch.points
                self._queue_bytes -= len(batch.lines)
                self._lost[reason] += batch.points

    def lose_spooled(self, reason: str, points: int, size: int) -> None:
        """Points on disk are given up."""
        with self._lock:
            self._spool_points -= points
            self._spool_bytes -= size
            if points:
                self._lost[reason] += points

    def fail(self, reason: str) -> None:
        """Something of the relay failed."""
        with self._lock:
            self._errors[reason] += 1

    def samples(self) -> list[HealthSample]:
        """Every count, all of the same moment."""
        with self._lock:
            return [
                HealthSample("queue_points", self._queue_points),
                HealthSample("queue_bytes", self._queue_bytes),
                HealthSample("spool_points", self._spool_points),
                HealthSample("spool_bytes", self._spool_bytes),
                HealthSample("forwarded", self._forwarded),
                HealthSample("resent", self._resent),
                *(HealthSample("lost", points, reason) for reason, points in sorted(self._lost.items())),
                *(HealthSample("sink_errors", times, reason) for reason, times in sorted(self._errors.items())),
            ]
