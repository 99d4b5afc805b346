"""Files watched for changes of what they say, however the change is made.

Theory of operation. Editors rename a new file over the old one, Kubernetes swaps a symbolic link in the directory, an
operator deletes a directory and makes it anew. So it is not the files that are watched, but every name looked up on the
way to them (`waypoints`), each in its directory; an event about any other name there counts for nothing. An event
only wakes the watch's thread. That waits until the events pause, sets up the watches anew, since the way may lead
elsewhere now, and only then compares what the files say with what they said: a change that came in between is
seen by the comparison, and one that comes later by the watches. Every `patrol` seconds it compares without
being woken, for file systems that tell no events; where there are no watches to be had, more often.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Final, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from carbonquota.service.health import Sample
from carbonquota.service.waypoints import waypoints

_LOGGER: Final = logging.getLogger(__name__)
_MOST_TRIES: Final = 5
"""How often watches are set up again because the way changed meanwhile; the patrol sees what comes after that."""

_READING: Final = frozenset({"opened", "closed_no_write"})
"""Events that reading a file makes, also our own."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait, in seconds: for events to pause, for that at most, and between looks without an event.

    `blind` is what `patrol` is where nothing can be watched.
    """

    quiet: float = 0.2
    patience: float = 2.0
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
    """Calls `on_change`, on a thread of its own, when files say something else than they did when this was made."""

    def __init__(
        self,
        paths: Iterable[str],
        on_change: Callable[[], object],
        *,
        pace: Pace | None = None,
        observer: Callable[[], DirectoryObserver] = Observer,
    ) -> None:
        """Note what the files say now: make the watch before reading them, so that nothing falls in between."""
        self._paths = tuple(paths)
        self._on_change = on_change
        self._pace = pace or Pace()
        self._make_observer = observer
        self._observer: DirectoryObserver | None = None
        self._handler = _Handler(self._woken_by)
        self._names: frozenset[str] = frozenset()
        self._seen = _contents(self._paths)
        self._condition = Condition()
        self._events = 0
        self._stopping = False
        self._failures = 0
        self._is_blind = False
        self._thread = Thread(target=self._run, name="carbonquota-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and wait for a call of `on_change` that runs; not to be called from there."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def health(self) -> Iterator[Sample]:
        """Calls of `on_change` that failed."""
        yield Sample("internal_errors", self._failures, "watch")

    def _woken_by(self, paths: tuple[str, ...]) -> None:
        """An event, on the observer's thread."""
        with self._condition:
            if not self._names.isdisjoint(paths):
                self._events += 1
                self._condition.notify_all()

    def _run(self) -> None:
        """Watch until stopped."""
        self._follow()
        try:
            while not self._stopping:
                self._compare()
                if self._is_woken():
                    self._follow()
        finally:
            self._close_observer()

    def _is_woken(self) -> bool:
        """Wait for an event and then for a pause, or for the next patrol; whether watches need to be set up anew."""
        with self._condition:
            patrol = self._pace.blind if self._is_blind else self._pace.patrol
            woken = self._condition.wait_for(lambda: self._events or self._stopping, patrol)
            last = monotonic() + self._pace.patience
            while self._events and not self._stopping and (left := last - monotonic()) > 0:
                self._events = 0
                self._condition.wait_for(lambda: self._events or self._stopping, min(self._pace.quiet, left))
            self._events = 0
        return bool(woken) or self._is_blind

    def _compare(self) -> None:
        """Call `on_change` if the files say something else."""
        contents = _contents(self._paths)
        if contents == self._seen:
            return
        self._seen = contents
        try:
            self._on_change()
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
        return frozenset(name for path in self._paths for name in waypoints(path))

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
    """Hands on the names of events that change something."""

    def __init__(self, tell: Callable[[tuple[str, ...]], None]) -> None:
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Leave out what reading makes, and a directory's being changed, which each change in it makes besides."""
        is_about_inside = event.is_directory and event.event_type == "modified"
        if event.event_type not in _READING and not is_about_inside:
            self._tell(tuple(os.fsdecode(path) for path in (event.src_path, event.dest_path) if path))


def _contents(paths: Iterable[str]) -> tuple[bytes, ...]:
    """What the files say, as digests; of one that cannot be read, why."""
    return tuple(_content(path) for path in paths)


def _content(path: str) -> bytes:
    try:
        return blake2b(Path(path).read_bytes()).digest()
    except OSError as error:
        return f"error {error.errno}".encode()
