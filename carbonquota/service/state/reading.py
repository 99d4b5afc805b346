"""A state's directory read at a start: the newest snapshot that is whole, and all journals since."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from carbonquota.service.state.files import generations, keep_aside, path_of, remove_partial, set_aside
from carbonquota.service.state.journal import read_journal
from carbonquota.service.state.merge import EMPTY, later, merged
from carbonquota.service.state.snapshot import Snapshot, read_snapshot
from carbonquota.trie.holdings import Change, Holdings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a directory holds: whether a whole index was `found`, and the `generation` whose journal goes on.

    `snapshot_time` is when the snapshot was taken, in seconds since the epoch, 0 where there is none. `set_aside` are
    the files that now have what is damaged.
    """

    holdings: Holdings
    generation: int
    found: bool
    snapshot_time: float
    set_aside: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    """One reading; `now` is in seconds since the epoch."""

    directory: Path
    now: float
    set_aside: list[str] = field(default_factory=list)

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
        if content.rest:
            aside = keep_aside(path, content.rest, self.now)
            with path.open("r+b") as file:
                file.truncate(content.length)
            self._note(path, aside, content.why)
        return content.changes

    def set_aside_whole(self, path: Path, why: str) -> None:
        """Have a file read by nobody any more."""
        self._note(path, set_aside(path, self.now), why)

    def _note(self, path: Path, aside: Path, why: str) -> None:
        self.set_aside.append(str(aside))
        _log.warning("%s is damaged: %s; set aside as %s", path, why, aside.name)


def read_state(directory: Path, now: float) -> Kept:
    """Read everything, and set aside what is damaged, which is told in the log; OSError where that cannot be done."""
    remove_partial(directory)
    reading = _Reading(directory, now)
    first, snapshot = reading.newest_snapshot()
    holdings = later(snapshot.holdings, now - snapshot.time)
    journals = [generation for generation in generations(directory, "journal") if generation >= first]
    changes = [change for generation in journals for change in reading.changes(generation)]
    # Journals whose beginning is gone tell of some series only.
    found = first > 0 or (journals[:1] == [0] and bool(changes))
    return Kept(merged(holdings, changes), max([first, *journals]), found, snapshot.time, tuple(reading.set_aside))


def begin_anew(directory: Path, kept: Kept, now: float, why: str) -> Kept:
    """Set everything aside, which is told in the log, and begin with nothing; OSError where that cannot be done."""
    reading = _Reading(directory, now, list(kept.set_aside))
    for kind in ("snapshot", "journal"):
        for generation in generations(directory, kind):
            reading.set_aside_whole(path_of(directory, kind, generation), why)
    return Kept(EMPTY, 0, found=False, snapshot_time=0.0, set_aside=tuple(reading.set_aside))
