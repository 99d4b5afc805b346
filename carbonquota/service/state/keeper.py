"""Keeps what an engine holds on disk, so that a restart, however it came about, begins with it.

Theory of operation. There are generations. Snapshot G is the index at one moment, and journal G what changed since,
up to the moment of snapshot G + 1. A new generation begins in this order: the index is copied together with the changes
that no journal has yet; these go to the old journal; the new journal is made; the snapshot is written under another
name and renamed; only then is the generation before the last removed. So at every moment the newest snapshot that is
whole, with all journals from its generation on, is the whole index, less what was not flushed. The last but one
stays in case the last turns out to be damaged. Generation 0 has no snapshot: it begins with nothing.

Changes of one series replace each other, so it does no harm to read one twice. All methods but `health` wait for the
disk, and for one another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic, time
from typing import Final, Protocol

from carbonquota.errors import QuotaError
from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import Sample
from carbonquota.service.state.files import DirectoryLock, path_of, remove_before
from carbonquota.service.state.journal import Journal
from carbonquota.service.state.reading import read_state
from carbonquota.service.state.snapshot import Snapshot, write_snapshot
from carbonquota.trie.holdings import Change, Holdings

_log = logging.getLogger(__name__)

_MOST_WAITING: Final = 1_000_000
"""Changes that wait in memory for a disk that takes none; past it, only a new snapshot can tell them all."""
_RETRY: Final = 10.0
"""Seconds until a snapshot that failed, and that nobody asks for, is tried again."""
_LARGEST_JOURNAL: Final = 256 * 2**20
"""Bytes of a journal from which on a new snapshot takes less room, and less time to read."""


class Holder(Protocol):
    """As much of `QuotaEngine` as is kept."""

    def take_changes(self) -> list[Change]:
        """The changes since the last call."""

    def dump(self) -> tuple[Holdings, list[Change]]:
        """Everything at one moment, and the changes up to it."""

    def restore(self, holdings: Holdings) -> None:
        """Take everything in."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start began with: whether there was any state, its series, the files set aside, and how long it took."""

    found: bool
    series: int
    set_aside: tuple[str, ...]
    seconds: float


class StateKeeper:
    """Keeps the state of one engine in one directory."""

    def __init__(self, directory: str, engine: Holder, clock: Clock = time) -> None:
        """Nothing is touched before `restore`; `clock` gives the seconds since the epoch."""
        self._directory = Path(directory)
        self._engine = engine
        self._clock = clock
        self._notices = BoundedLog(_log, monotonic)
        self._lock = Lock()
        self._directory_lock: DirectoryLock | None = None
        self._journal: Journal | None = None
        self._generation = 0
        self._waiting: list[Change] = []
        self._is_behind = False
        self._retry = 0.0
        self._errors = 0
        self._snapshot_time = self._snapshot_seconds = 0.0

    def restore(self) -> Restored:
        """Lock the directory, give the engine what is kept there, and go on from that.

        QuotaError where the directory cannot be used. What is damaged in it is set aside and told in the log.
        """
        started = monotonic()
        self._directory_lock = DirectoryLock(self._directory)
        try:
            kept = read_state(self._directory, self._clock())
            self._engine.restore(kept.holdings)
            self._generation = kept.generation
            self._journal = Journal(path_of(self._directory, "journal", self._generation))
        except OSError as error:
            self._unlock()
            raise QuotaError(f"{self._directory}: the state cannot be kept here: {_cause(error)}") from None
        except BaseException:
            self._unlock()
            raise
        return Restored(kept.found, len(kept.holdings.names), kept.set_aside, monotonic() - started)

    def flush(self) -> None:
        """Write what changed to the journal, so that it lasts."""
        with self._lock:
            self._flush()
            if self._journal is None or monotonic() < self._retry:
                return
            if self._is_behind or self._journal.size > _LARGEST_JOURNAL:
                self._snapshot()

    def snapshot(self) -> None:
        """Begin a new generation."""
        with self._lock:
            self._flush()
            self._snapshot()

    def close(self) -> None:
        """Keep everything a last time, and let go of the directory; nothing is written after that."""
        with self._lock:
            if self._journal is not None:
                self._flush()
                self._snapshot()
                self._journal.close()
                self._journal = None
            self._unlock()

    def abandon(self) -> None:
        """Let go of the directory as it is: for an index that was never complete, and must not be taken for one."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            self._unlock()

    def health(self) -> Iterator[Sample]:
        """How the last snapshot went, how long the journal is, and what failed. From any thread."""
        journal = self._journal
        yield Sample("snapshot_time", self._snapshot_time)
        yield Sample("snapshot_seconds", self._snapshot_seconds)
        yield Sample("journal_bytes", journal.size if journal else 0)
        yield Sample("state_errors", self._errors)

    def _unlock(self) -> None:
        if self._directory_lock is not None:
            self._directory_lock.release()
            self._directory_lock = None

    def _flush(self) -> None:
        """Write what changed and what waited; on failure it waits on."""
        self._waiting += self._engine.take_changes()
        self._write_waiting()

    def _write_waiting(self) -> None:
        if not self._waiting or self._journal is None:
            return
        try:
            self._journal.append(self._waiting)
        except OSError as error:
            self._fail("journal", error)
            if len(self._waiting) > _MOST_WAITING:
                self._is_behind = True
                self._waiting = []
        else:
            self._waiting = []

    def _snapshot(self) -> None:
        """Begin a new generation; on failure the present one goes on."""
        started = monotonic()
        holdings, pending = self._engine.dump()
        self._waiting += pending
        self._write_waiting()
        try:
            journal = self._write_generation(self._generation + 1, holdings)
        except OSError as error:
            self._retry = monotonic() + _RETRY
            self._fail("snapshot", error)
            return
        self._advance(journal)
        self._snapshot_time, self._snapshot_seconds = self._clock(), monotonic() - started

    def _write_generation(self, generation: int, holdings: Holdings) -> Journal:
        """Write the files of a generation; its journal. OSError where there is no room for them."""
        path = path_of(self._directory, "journal", generation)
        journal = Journal(path)
        try:
            write_snapshot(path_of(self._directory, "snapshot", generation), Snapshot(holdings, self._clock()))
        except OSError:
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    def _advance(self, journal: Journal) -> None:
        """Go on with the new generation, which is safe now, and remove those before the last."""
        if self._journal is not None:
            self._journal.close()
        self._journal = journal
        self._generation += 1
        self._waiting, self._is_behind = [], False
        remove_before(self._directory, self._generation - 1)

    def _fail(self, what: str, error: OSError) -> None:
        """Count and tell that the disk did not take something."""
        self._errors += 1
        self._notices.warning(
            what,
            "the %s cannot be written to %s: %s; new metrics since the last one would be forgotten by a restart",
            what,
            self._directory,
            _cause(error),
        )


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
