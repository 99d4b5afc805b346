"""Files watched for changes of what they say, however the change is made.

Theory of operation. Editors rename a new file over the old one, Kubernetes swaps a symbolic link in the directory, an
operator deletes a directory and makes it anew. So it is not the files that are watched, but every name looked up on the
way to them (`checkpoints`), each in its directory; an event about any other name there counts for nothing. An event
only wakes the watch's thread. That waits until the events pause, sets up the watches anew, since the way may lead
elsewhere now, and only then compares what the files say with what they said: a change that came in between is
seen by the comparison, and one that comes later by the watches. Every `patrol` seconds it compares without
being woken, for file systems that tell no events; where there are no watches to be had, more often.

A file that is written in place is half a file for a while, so it is compared only when it has settled: its size and
time of change have stayed for some time (`settling.Rest`), and whoever wrote it has closed it, as far as events tell.
What was renamed into its place was whole before, and is compared at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Final, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from carbonquota.rules.files import read_bytes
from carbonquota.service.checkpoints import checkpoints
from carbonquota.service.health import HealthSample
from carbonquota.service.settling import SettleTimes, Signature, signatures

_LOGGER: Final = logging.getLogger(__name__)
_MOST_TRIES: Final = 5
"""How often watches are set up again because the way changed meanwhile; the patrol sees what comes after that."""

_READING: Final = frozenset({"opened", "closed_no_write"})
"""Events that reading a file makes, also our own."""
_MOVES: Final = frozenset({"created", "deleted", "moved"})
"""Events after which a name may lead to something else."""


@dataclass(frozen=True, slots=True)
class WatchPace:
    """How long to wait: for a file to settle, and between looks without an event, in seconds.

    `blind` is what `patrol` is where nothing can be watched.
    """

    rest: SettleTimes = field(default_factory=SettleTimes)
    patrol: float = 10.0
    blind: float = 1.0


class DirectoryObserver(Protocol):
    """As much of watchdog's observer as is needed here."""

    def start(self) -> None:
        """Begin to tell events."""

    def stop(self) -> None:
        """End it."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end."""

    def schedule(self, event_handler: FileSystemEventHandler, path: str) -> object:
        """Watch one directory; OSError where that cannot be."""

    def unschedule_all(self) -> None:
        """Watch none."""


class FileWatch:
    """Calls `on_change`, on a thread of its own, when files say something else than they did when this was made.

    It is given the files' signatures as they had settled, for whoever reads them to see whether they are still so.
    """

    def __init__(
        self,
        paths: Iterable[str],
        on_change: Callable[[tuple[Signature, ...]], object],
        *,
        pace: WatchPace | None = None,
        observer: Callable[[], DirectoryObserver] = Observer,
    ) -> None:
        """Note what the files say now: make the watch before reading them, so that nothing falls in between."""
        self._paths = tuple(paths)
        self._on_change = on_change
        self._pace = pace or WatchPace()
        self._make_observer = observer
        self._observer: DirectoryObserver | None = None
        self._handler = _Handler(self._note)
        self._names: frozenset[str] = frozenset()
        self._seen = _contents(self._paths)
        self._settled = signatures(self._paths)
        self._condition = Condition()
        self._events = 0
        self._written: set[str] = set()
        self._is_renamed = False
        self._is_way_changed = False
        self._stopping = False
        self._failures = 0
        self._is_blind = False
        self._thread = Thread(target=self._run, name="carbonquota-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch: whatever happens to the files from here on tells an event, where events are to be had."""
        self._follow()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and wait for a call of `on_change` that runs; not to be called from there."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def health(self) -> Iterator[HealthSample]:
        """Calls of `on_change` that failed."""
        yield HealthSample("internal_errors", self._failures, "watch")

    def _note(self, event: FileSystemEvent) -> None:
        """An event, on the observer's thread."""
        paths = tuple(os.fsdecode(path) for path in (event.src_path, event.dest_path) if path)
        with self._condition:
            if self._names.isdisjoint(paths):
                return
            self._events += 1
            self._written.difference_update(paths)
            if event.event_type == "modified":
                self._written.update(paths)
            self._is_renamed = event.event_type == "moved" and paths[-1] in self._names
            self._is_way_changed |= event.is_directory or event.event_type in _MOVES
            self._condition.notify_all()

    def _run(self) -> None:
        """Watch until stopped."""
        try:
            while not self._stopping:
                self._settle()
                if self._is_lost():
                    self._follow()
                self._compare()
                self._wait()
        finally:
            self._close_observer()

    def _wait(self) -> None:
        """Wait for an event, or for the next patrol; not where the files have changed again since they settled."""
        if signatures(self._paths) != self._settled:
            return
        with self._condition:
            patrol = self._pace.blind if self._is_blind else self._pace.patrol
            self._condition.wait_for(lambda: self._events or self._stopping, patrol)

    def _is_lost(self) -> bool:
        """Whether the way to the files may be another one by now. What else happens to a file needs no new watches."""
        with self._condition:
            is_lost, self._is_way_changed = self._is_way_changed or self._is_blind, False
        return is_lost

    def _settle(self) -> None:
        """Wait, if anything changed, until nobody seems to be writing the files any more."""
        if not self._events and signatures(self._paths) == self._settled:
            return
        since = monotonic()
        while not self._stopping:
            with self._condition:
                events, self._events = self._events, 0
                pause = self._pause()
            before, self._settled = self._settled, signatures(self._paths)
            if events or before != self._settled:
                since = monotonic()
            left = since + pause - monotonic()
            if left <= 0:
                return
            with self._condition:
                self._condition.wait_for(lambda: self._events or self._stopping, left)

    def _pause(self) -> float:
        """How long the files have to stay as they are to be taken as whole, in seconds; after the last event."""
        if self._written:
            return self._pace.rest.held
        return 0.0 if self._is_renamed else self._pace.rest.of(self._paths)

    def _compare(self) -> None:
        """Call `on_change` if the files say something else; what is being changed again has its turn later."""
        settled, contents = self._settled, _contents(self._paths)
        if contents == self._seen or signatures(self._paths) != settled:
            return
        self._seen = contents
        try:
            self._on_change(settled)
        except Exception:  # the edge of a thread: a bug in one reload must not end all later ones
            self._failures += 1
            _LOGGER.exception("a change of %s could not be dealt with", ", ".join(self._paths))

    def _follow(self) -> None:
        """Watch the directories that the way leads through now."""
        for _ in range(_MOST_TRIES):
            names = self._names_on_the_way()
            with self._condition:
                self._names = frozenset(map(str, names))
            self._watch_directories({name.parent for name in names})
            if names == self._names_on_the_way():
                return

    def _names_on_the_way(self) -> frozenset[Path]:
        return frozenset(name for path in self._paths for name in checkpoints(path))

    def _watch_directories(self, directories: Iterable[Path]) -> None:
        """Watch these, and no others; without watches, tell it once."""
        try:
            observer = self._observer or self._open_observer()
            observer.unschedule_all()
            for directory in sorted(directories):
                if directory.is_dir() and os.access(directory, os.R_OK):
                    _schedule(observer, self._handler, str(directory))
        except OSError as error:
            self._close_observer()
            if not self._is_blind:
                reason = (error.strerror or str(error)).lower()
                _LOGGER.warning("files cannot be watched (%s): looking every %g s instead", reason, self._pace.blind)
            self._is_blind = True
        else:
            self._is_blind = False

    def _open_observer(self) -> DirectoryObserver:
        observer = self._make_observer()
        observer.start()
        self._observer = observer
        return observer

    def _close_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()


def _schedule(observer: DirectoryObserver, handler: FileSystemEventHandler, directory: str) -> None:
    """Watch a directory, unless it is gone by now."""
    try:
        observer.schedule(handler, directory)
    except (FileNotFoundError, NotADirectoryError):
        _LOGGER.debug("%s went away before it could be watched", directory)


class _Handler(FileSystemEventHandler):
    """Hands on the events that change something."""

    def __init__(self, tell: Callable[[FileSystemEvent], None]) -> None:
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Leave out what reading makes, and a directory's being changed, which each change in it makes besides."""
        is_about_inside = event.is_directory and event.event_type == "modified"
        if event.event_type not in _READING and not is_about_inside:
            self._tell(event)


def _contents(paths: Iterable[str]) -> tuple[bytes, ...]:
    """What the files say, as digests; of one that cannot be read, why."""
    return tuple(_content(path) for path in paths)


def _content(path: str) -> bytes:
    try:
        return blake2b(read_bytes(path)).digest()
    except OSError as error:
        return f"error {error.errno}".encode()
