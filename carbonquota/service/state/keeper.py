"""Keeps what an engine holds on disk, so that a restart, however it came about, begins with it.

Theory of operation. There are generations. Snapshot G is the index at one moment, and journal G what changed since,
up to the moment of snapshot G + 1. A new generation begins in this order: the new journal is made; the index is copied
together with the changes that no journal has yet; these go to the old journal, and what comes from here on to the new
one; the snapshot is written under another name and renamed; only then is removed what is older than the last two
snapshots. So at every moment the newest snapshot that is whole, with all journals from its generation on, is the whole
index, less what was not flushed. The last snapshot but one stays in case the last turns out to be damaged.
Generation 0 has no snapshot: it begins with nothing, and one whose snapshot failed has none either.

Changes of one series replace each other, so it does no harm to read one twice. All methods but `health` wait for the
disk. A flush does not wait for a snapshot that is being written on another thread, however long that takes.
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
from carbonquota.service.state.files import DirectoryLock, generations, path_of, remove_before
from carbonquota.service.state.journal import Journal
from carbonquota.service.state.reading import Kept, begin_anew, read_state
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
    """What a start began with: whether a whole index was found, its series, what was set aside, how long it took."""

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
        # Held as long as a snapshot is written; taken before the other one.
        self._snapshot_lock = Lock()
        self._directory_lock: DirectoryLock | None = None
        self._journal: Journal | None = None
        self._generation = 0
        self._waiting: list[Change] = []
        self._is_behind = False
        self._retry = 0.0
        self._errors = 0
        self._troubles: dict[str, str] = {}
        self._snapshot_time = self._snapshot_seconds = 0.0

    def restore(self) -> Restored:
        """Lock the directory, give the engine what is kept there, and go on from that.

        QuotaError where the directory cannot be used. What is damaged in it is set aside and told in the log.
        """
        started = monotonic()
        self._directory_lock = DirectoryLock(self._directory)
        try:
            kept = self._give_engine(read_state(self._directory, self._clock()))
            self._generation, self._snapshot_time = kept.generation, kept.snapshot_time
            self._journal = Journal(path_of(self._directory, "journal", self._generation))
        except OSError as error:
            self._unlock()
            raise QuotaError(f"{self._directory}: the state cannot be kept here: {_cause(error)}") from None
        except BaseException:
            self._unlock()
            raise
        return Restored(kept.found, len(kept.holdings.names), kept.set_aside, monotonic() - started)

    def _give_engine(self, kept: Kept) -> Kept:
        """Have the engine take in what was kept, or begin with nothing where it does not; what that leaves."""
        try:
            self._engine.restore(kept.holdings)
        except QuotaError as error:
            return begin_anew(self._directory, kept, self._clock(), str(error))
        return kept

    def flush(self) -> None:
        """Write what changed to the journal, so that it lasts."""
        with self._lock:
            self._flush()
            is_due = self._needs_snapshot()
        if is_due:
            self.snapshot()

    def snapshot(self) -> None:
        """Begin a new generation; on failure the newest snapshot that there is goes on to count."""
        with self._snapshot_lock:
            self._snapshot()

    def close(self) -> None:
        """Keep everything a last time, and let go of the directory; nothing is written after that."""
        with self._snapshot_lock:
            self._snapshot()
            with self._lock:
                if self._journal is not None:
                    self._flush()
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

    @property
    def troubles(self) -> tuple[str, ...]:
        """What cannot be written now, and why; none once it was written after all. From any thread."""
        return tuple(self._troubles.values())

    def _needs_snapshot(self) -> bool:
        """Whether only a snapshot helps, and it is time to try one."""
        if self._journal is None or monotonic() < self._retry:
            return False
        return self._is_behind or self._journal.size > _LARGEST_JOURNAL

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
            self._troubles.pop("journal", None)

    def _snapshot(self) -> None:
        """Begin a new generation and write its snapshot."""
        started = monotonic()
        was_behind = False
        try:
            with self._lock:
                if self._journal is None:
                    return
                holdings = self._begin_generation(self._journal)
                was_behind, self._is_behind = self._is_behind, False
            now = self._clock()
            write_snapshot(path_of(self._directory, "snapshot", self._generation), Snapshot(holdings, now))
            was_behind = False
            self._snapshot_time, self._snapshot_seconds = now, monotonic() - started
            self._troubles.clear()
            self._remove_old()
        except OSError as error:
            self._retry = monotonic() + _RETRY
            self._fail("snapshot", error)
        finally:
            if was_behind:
                self._is_behind = True

    def _begin_generation(self, old: Journal) -> Holdings:
        """Go on with a new journal; what its snapshot is to hold.

        What the old journal does not take waits on for the new one, lest the snapshot fails as well. OSError where
        the journal cannot be made; then nothing has changed.
        """
        if not old.is_empty or self._has_snapshot():
            new = Journal(path_of(self._directory, "journal", self._generation + 1))
        else:
            new = old
        holdings, pending = self._engine.dump()
        self._waiting += pending
        self._write_waiting()
        if new is not old:
            old.close()
            self._journal = new
            self._generation += 1
        return holdings

    def _has_snapshot(self) -> bool:
        """Whether this generation has its snapshot, or needs none."""
        return not self._generation or path_of(self._directory, "snapshot", self._generation).exists()

    def _remove_old(self) -> None:
        """Remove what is older than the last two snapshots."""
        last = generations(self._directory, "snapshot")[-2:]
        if len(last) == 2:
            remove_before(self._directory, last[0])

    def _fail(self, what: str, error: OSError) -> None:
        """Count and tell that the disk did not take something."""
        self._errors += 1
        trouble = f"the {what} cannot be written to {self._directory}: {_cause(error)}"
        self._troubles[what] = trouble
        self._notices.warning(what, "%s; new metrics since the last one would be forgotten by a restart", trouble)


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
