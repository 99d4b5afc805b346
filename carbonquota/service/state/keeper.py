"""Keeps what an engine holds on disk, so that a restart, however it came about, begins with it.

Theory of operation. There are generations. Snapshot G is the index at one moment, and journal G what changed since a
moment before that. A new generation begins in this order: the new journal is made; what changed so far goes to the old
journal, and what comes from here on to the new one; the index is copied; the snapshot is written under another name and
renamed; only then is removed what is older than the last two snapshots. So at every moment the newest snapshot that is
whole, with all journals from its generation on, is the whole index, less what was not written. The last but one stays,
in case the last turns out to be damaged. Generation 0 has no snapshot: it begins with nothing, and one whose
snapshot failed has none either. Changes of one series replace each other, so it does no harm to read one twice.

Two promises. `write_ahead`, which the data path calls before the points of a batch go on, hands the new metrics of the
batch to the system, so that the death of the process forgets none. `flush`, on a thread of its own, has all that was
written outlive the machine. While the disk takes nothing, changes wait in memory, and each flush tries them again.

All methods but `health` and `write_ahead` wait for the disk. A write waits neither for a sync nor for a snapshot on
another thread, however long these take: that is what the locks are apart for.
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
from carbonquota.service.disk import cause_of, may_pass
from carbonquota.service.health import HealthSample
from carbonquota.service.state.ahead import TIMEOUT, BoundedWrite
from carbonquota.service.state.files import (
    DirectoryLock,
    generations,
    path_of,
    remove_before,
)
from carbonquota.service.state.journal import Journal
from carbonquota.service.state.reading import NOTHING_KEPT, Kept, begin_anew, read_state
from carbonquota.service.state.snapshot import Snapshot, write_snapshot
from carbonquota.trie import ChangeRun, Holdings

_log = logging.getLogger(__name__)

_MOST_WAITING: Final = 1_000_000
"""Changes that wait in memory for a disk that takes none; past it, only a new snapshot can tell them all."""
_RETRY: Final = 10.0
"""Seconds until a snapshot that failed, and that nobody asks for, is tried again."""
_RETRY_OPEN: Final = 1.0
"""Seconds until a journal that could not be opened is tried again."""
_LARGEST_JOURNAL: Final = 256 * 2**20
"""Bytes of a journal from which on a new snapshot takes less room, and less time to read."""


class KeptIndex(Protocol):
    """As much of `QuotaEngine` as is kept."""

    @property
    def has_changes(self) -> bool:
        """Whether there are changes to be taken; never waits."""

    def take_change_runs(self) -> list[ChangeRun]:
        """The changes since the last call."""

    def holdings(self) -> Holdings:
        """Everything at one moment."""

    def restore(self, holdings: Holdings) -> None:
        """Take everything in."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start began with: whether a whole index was found, its series, what was set aside, how long it took.

    `journaled` are metrics that were written down ahead of their first point, so that a kill may have kept them from
    ever having a file.
    """

    found: bool
    series: int
    set_aside: tuple[str, ...]
    seconds: float
    journaled: frozenset[bytes] = frozenset()


class StateKeeper:
    """Keeps the state of one engine in one directory. `write_ahead` is for one thread, all else for any."""

    def __init__(self, directory: str, engine: KeptIndex, clock: Clock = time, timeout: float = TIMEOUT) -> None:
        """Nothing is touched before `restore`; `clock` gives the seconds since the epoch.

        `timeout` is how many seconds a disk that hangs may hold up `write_ahead`.
        """
        self._directory = Path(directory)
        self._engine = engine
        self._clock = clock
        self._timeout = timeout
        self._notices = BoundedLog(_log, monotonic)
        # What is written, and where: held for plain writes only, and as a generation begins.
        self._lock = Lock()
        # Held while something is brought to the disk itself, so that nothing is closed meanwhile.
        self._sync_lock = Lock()
        # Held as long as a snapshot is written. They are taken in the order snapshot, write, sync.
        self._snapshot_lock = Lock()
        self._ahead = BoundedWrite(self._write_now, timeout)
        self._directory_lock: DirectoryLock | None = None
        self._journal: Journal | None = None
        self._generation = 0
        self._waiting: list[ChangeRun] = []
        self._is_live = self._is_behind = self._is_closed = False
        self._retry = 0.0
        self._errors = 0
        self._troubles: dict[str, str] = {}
        self._snapshot_time = self._snapshot_seconds = 0.0

    def restore(self) -> Restored:
        """Lock the directory, give the engine what is kept there, and go on from that.

        QuotaError where the directory can never be used. On a disk that is full or fails, as much is read as can be,
        and it is tried again with each flush. What is damaged is set aside and told in the log.
        """
        started = monotonic()
        kept = NOTHING_KEPT
        try:
            kept = self._open()
            self._open_journal()
        except OSError as error:
            if not may_pass(error):
                self._unlock()
                raise QuotaError(f"{self._directory}: the state cannot be kept here: {cause_of(error)}") from None
            self._fail("journal", error)
        except BaseException:
            self._unlock()
            raise
        seconds = monotonic() - started
        return Restored(kept.found, len(kept.holdings.names), kept.set_aside, seconds, kept.journaled)

    def _open(self) -> Kept:
        """Lock the directory and give the engine what is there; OSError, and then nothing is locked."""
        self._directory_lock = DirectoryLock(self._directory)
        try:
            kept = self._give_engine(read_state(self._directory, self._clock()))
        except OSError:
            self._unlock()
            raise
        self._generation, self._snapshot_time = kept.generation, kept.snapshot_time
        return kept

    def _open_journal(self) -> None:
        """Have a journal to write to; OSError."""
        self._journal = Journal(path_of(self._directory, "journal", self._generation))

    def _open_late(self) -> None:
        """Try again what failed at the start, or went wrong since."""
        if self._is_closed or self._journal is not None or monotonic() < self._retry:
            return
        try:
            if self._directory_lock is None:
                # What was kept is added to what came since: both are charged, so no limit is passed.
                self._open()
                self._is_behind = True
            self._open_journal()
            self._troubles.pop("journal", None)
            _log.info("the state is kept in %s again", self._directory)
        except OSError as error:
            self._retry = monotonic() + _RETRY_OPEN
            self._fail("journal", error)
        except QuotaError as error:
            self._retry = monotonic() + _RETRY
            self._troubles["journal"] = str(error)
            self._notices.warning("journal", "%s", error)

    def _give_engine(self, kept: Kept) -> Kept:
        """Have the engine take in what was kept, or begin with nothing where it does not; what that leaves."""
        try:
            self._engine.restore(kept.holdings)
        except QuotaError as error:
            return begin_anew(self._directory, kept, self._clock(), str(error))
        return kept

    def go_live(self) -> None:
        """The index is whole, and points of new metrics may come: from now on `write_ahead` writes them down."""
        self._is_live = True

    def write_ahead(self) -> None:
        """Hand to the system what changed, so that the death of the process forgets none of it.

        Raises nothing, and waits for a disk that hangs no longer than the timeout, once. While the disk takes
        nothing, this leaves it to `flush` to try again.
        """
        if not self._is_live or not self._engine.has_changes or self._troubles.keys() & {"journal"}:
            return
        if self._ahead():
            self._troubles.pop("slow", None)
        elif "slow" not in self._troubles:
            self._errors += 1
            trouble = f"the disk of {self._directory} took no new metric within {self._timeout:g} s"
            self._troubles["slow"] = trouble
            self._notices.warning("slow", "%s; those that come meanwhile would be forgotten by a kill", trouble)

    def _write_now(self) -> None:
        with self._lock:
            self._write()

    def flush(self) -> None:
        """Write what changed to the journal, so that it outlives the machine."""
        with self._lock:
            self._open_late()
            self._write()
            journal = self._journal
            is_due = self._needs_snapshot()
        self._sync(journal)
        if is_due:
            self.snapshot()

    def snapshot(self) -> None:
        """Begin a new generation; on failure the newest snapshot that there is goes on to count."""
        with self._snapshot_lock:
            self._snapshot()

    def close(self) -> None:
        """Keep everything a last time, and let go of the directory; nothing is written after that."""
        with self._snapshot_lock:
            self._retry = 0.0
            with self._lock:
                self._open_late()
            self._snapshot()
            with self._lock:
                self._write()
            self._sync(self._journal)
            if self._troubles and not self._is_closed:
                _log.error("the state is not kept as a whole: %s", "; ".join(self.troubles))
            self._let_go()

    def abandon(self) -> None:
        """Let go of the directory as it is: for an index that was never complete, and must not be taken for one."""
        self._let_go()

    def _let_go(self) -> None:
        with self._lock, self._sync_lock:
            self._is_closed = True
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            self._unlock()

    def health(self) -> Iterator[HealthSample]:
        """How the last snapshot went, how long the journal is, and what failed. From any thread."""
        journal = self._journal
        yield HealthSample("snapshot_time", self._snapshot_time)
        yield HealthSample("snapshot_seconds", self._snapshot_seconds)
        yield HealthSample("journal_bytes", journal.size if journal else 0)
        yield HealthSample("state_errors", self._errors)

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

    def _write(self) -> None:
        """Write what changed and what waited, without a sync; on failure it waits on."""
        self._waiting += self._engine.take_change_runs()
        if not self._waiting or self._is_closed:
            return
        try:
            if self._journal is not None:
                self._journal.append(self._waiting)
        except OSError as error:
            self._fail("journal", error)
        else:
            if self._journal is not None:
                self._waiting = []
                self._troubles.pop("journal", None)
        if self._waiting and sum(run.series for run in self._waiting) > _MOST_WAITING:
            self._is_behind = True
            self._waiting = []

    def _sync(self, journal: Journal | None) -> None:
        """Have what was written outlive the machine."""
        try:
            with self._sync_lock:
                if journal is not None:
                    journal.sync()
        except OSError as error:
            # Nobody knows which part of it the disk has: only a snapshot tells it all again.
            self._is_behind = True
            self._fail("journal", error)

    def _snapshot(self) -> None:
        """Begin a new generation and write its snapshot."""
        started = monotonic()
        was_behind = False
        try:
            if self._journal is None:
                return
            was_behind, self._is_behind = self._is_behind, False
            self._begin_generation(self._journal)
            now, holdings = self._clock(), self._engine.holdings()
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

    def _begin_generation(self, old: Journal) -> None:
        """Go on with a new journal; OSError where it cannot be made, and then nothing has changed.

        What the old journal does not take waits on for the new one, lest the snapshot fails as well.
        """
        if old.is_empty and not self._has_snapshot():
            with self._lock:
                self._write()
            return
        new = Journal(path_of(self._directory, "journal", self._generation + 1))
        with self._lock:
            self._write()
            self._journal = new
            self._generation += 1
        self._sync(old)
        with self._sync_lock:
            old.close()

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
        trouble = f"the {what} cannot be written to {self._directory}: {cause_of(error)}"
        self._troubles[what] = trouble
        self._notices.warning(what, "%s; new metrics since the last one would be forgotten by a restart", trouble)
