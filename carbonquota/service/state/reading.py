"""A state's directory read at a start: the newest snapshot that is whole, and all journals since."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from carbonquota.service.disk import cause_of
from carbonquota.service.state.files import (
    generations,
    keep_aside,
    path_of,
    remove_damaged,
    remove_partial,
    set_aside,
)
from carbonquota.service.state.journal import JournalContent, read_journal
from carbonquota.service.state.merge import EMPTY, later, merged
from carbonquota.service.state.snapshot import Snapshot, read_snapshot
from carbonquota.trie.holdings import Change, Holdings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a directory holds: whether a whole index was `found`, and the `generation` whose journal goes on.

    `snapshot_time` is when the snapshot was taken, in seconds since the epoch, 0 where there is none. `set_aside` are
    the files that now have what is damaged. `journaled` are the metrics that came since the snapshot before the newest,
    or none of them where they are too many to be remembered.
    """

    holdings: Holdings
    generation: int
    found: bool
    snapshot_time: float
    set_aside: tuple[str, ...]
    journaled: frozenset[bytes] = frozenset()


_MOST_JOURNALED: Final = 200_000
"""So many metrics since the snapshot are remembered, some 20 MB."""
_LARGEST_EARLIER: Final = 16 * 2**20
"""Bytes of the journal before that is looked through."""

NOTHING_KEPT: Final = Kept(EMPTY, 0, found=False, snapshot_time=0.0, set_aside=())
"""What a directory holds that cannot be read."""


@dataclass(slots=True)
class _StateReading:
    """One reading; `now` is in seconds since the epoch."""

    directory: Path
    now: float
    set_aside: list[str] = field(default_factory=list)
    is_journal_whole: bool = True
    """Whether the last journal can be gone on with."""

    def newest_snapshot(self) -> tuple[int, Snapshot]:
        """The newest snapshot that is whole, and its generation; 0 where there is none."""
        for generation in reversed(generations(self.directory, "snapshot")):
            path = path_of(self.directory, "snapshot", generation)
            try:
                snapshot = read_snapshot(path)
            except (ValueError, OSError) as error:
                self.set_aside_whole(path, str(error))
            else:
                return generation, snapshot
        return 0, Snapshot(EMPTY, 0.0)

    def changes(self, generation: int) -> list[Change]:
        """What a journal says, up to where it is damaged."""
        path = path_of(self.directory, "journal", generation)
        content = read_journal(path)
        self.is_journal_whole = content.is_current
        if content.rest:
            self._cut(path, content)
        return content.changes

    def _cut(self, path: Path, content: JournalContent) -> None:
        """Keep what is damaged of a journal beside it; on a disk that takes nothing, it stays where it is."""
        try:
            aside = keep_aside(path, content.rest, self.now)
            with path.open("r+b") as file:
                file.truncate(content.length)
        except OSError as error:
            self.is_journal_whole = False
            _log.warning("%s is damaged: %s; it is left as it is: %s", path, content.why, cause_of(error))
        else:
            self._note(path, aside, content.why)

    def set_aside_whole(self, path: Path, why: str) -> None:
        """Have a file read by nobody any more."""
        try:
            aside = set_aside(path, self.now)
        except OSError as error:
            _log.warning("%s is damaged: %s; it is left as it is: %s", path, why, cause_of(error))
        else:
            self._note(path, aside, why)

    def _note(self, path: Path, aside: Path, why: str) -> None:
        self.set_aside.append(str(aside))
        _log.warning("%s is damaged: %s; set aside as %s", path, why, aside.name)


def read_state(directory: Path, now: float) -> Kept:
    """Read everything, and set aside what is damaged, which is told in the log; OSError where that cannot be done."""
    remove_partial(directory)
    reading = _StateReading(directory, now)
    first, snapshot = reading.newest_snapshot()
    holdings = later(snapshot.holdings, now - snapshot.time)
    journals = [generation for generation in generations(directory, "journal") if generation >= first]
    changes = [change for generation in journals for change in reading.changes(generation)]
    # Journals whose beginning is gone tell of some series only.
    found = first > 0 or (journals[:1] == [0] and bool(changes))
    generation = max([first, *journals]) + (not reading.is_journal_whole)
    _tidy(directory)
    whole, set_aside = merged(holdings, changes), tuple(reading.set_aside)
    return Kept(whole, generation, found, snapshot.time, set_aside, _journaled(changes, directory, first - 1))


def _journaled(changes: Sequence[Change], directory: Path, before: int) -> frozenset[bytes]:
    """The metrics that changes, and the journal of the generation before, say of that they came.

    None where they are too many. A metric may be in a snapshot before its file is made, hence the journal before that.
    """
    earlier: Sequence[Change] = ()
    with suppress(OSError):
        path = path_of(directory, "journal", before)
        if before >= 0 and path.stat().st_size <= _LARGEST_EARLIER:
            earlier = read_journal(path).changes
    came = frozenset(change.name for change in (*earlier, *changes) if change.size is not None)
    return came if len(came) <= _MOST_JOURNALED else frozenset()


def _tidy(directory: Path) -> None:
    """Remove what was set aside long ago, which is told in the log."""
    try:
        removed = remove_damaged(directory)
    except OSError as error:
        _log.warning("%s: damaged files of earlier starts cannot be removed: %s", directory, cause_of(error))
    else:
        if removed:
            _log.info("%s: only the newest damaged files are kept, removed: %s", directory, ", ".join(removed))


def begin_anew(directory: Path, kept: Kept, now: float, why: str) -> Kept:
    """Set everything aside, which is told in the log, and begin with nothing; OSError where that cannot be done."""
    reading = _StateReading(directory, now, list(kept.set_aside))
    for kind in ("snapshot", "journal"):
        for generation in generations(directory, kind):
            reading.set_aside_whole(path_of(directory, kind, generation), why)
    left = [number for kind in ("snapshot", "journal") for number in generations(directory, kind)]
    generation = max(left, default=-1) + 1
    return Kept(EMPTY, generation, found=False, snapshot_time=0.0, set_aside=tuple(reading.set_aside))
