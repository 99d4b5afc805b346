"""The log of a whole process: every line goes through one handler, which bounds how often a place in the code writes.

Theory of operation. Our own parts bound what a sender could make them repeat (`bounded_log`). Libraries do not: asyncio
writes a traceback for each connection that it cannot accept. So the handler has a filter that counts the lines of each
place, which is a logger and a line of code: the first few pass, then a place is silent until its interval ends, and
its next line tells how many were left out. What Python itself would print on stderr (bugs in threads and finalizers,
warnings) goes through the same handler.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Final, TextIO

OWN: Final = "carbonquota"
"""Our loggers are below this one."""

_INTERVAL: Final = 10.0
"""Seconds in which a place may write so many lines."""
_OURS: Final = 250
"""Lines of one of our places: most are bounded already, and a start or an end may have many notes to tell."""
_OTHERS: Final = 5
"""Lines of a place in a library, each perhaps with a traceback."""
_MOST_PLACES: Final = 1000

_SILENCED: Final = "watchdog.observers.inotify"
"""A logger whose lines tell nobody anything: that a file watch which has just ended was told one event more."""

_log = logging.getLogger("python")


@dataclass(slots=True)
class _Place:
    """When the interval of a place began, the lines that it wrote in it, and those that were left out."""

    since: float
    lines: int = 0
    silent: int = 0


class LineBound(logging.Filter):
    """Lets a place in the code write so many lines an interval; may be used from any thread."""

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        *,
        ours: int = _OURS,
        others: int = _OTHERS,
        every: float = _INTERVAL,
    ) -> None:
        """`clock` gives seconds that never go back; `every` is the interval in seconds."""
        super().__init__()
        self._clock = clock
        self._ours = ours
        self._others = others
        self._every = every
        self._places: dict[tuple[str, str, int], _Place] = {}
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; it is told how many lines of its place were left out before it."""
        silent = self._count(record)
        if silent:
            record.msg = f"{record.getMessage()} (and {silent} more such lines left out)"
            record.args = None
        return silent is not None

    def _count(self, record: logging.LogRecord) -> int | None:
        """How many lines were left out before this one, None where this is one of them."""
        most = self._ours if record.name.partition(".")[0] == OWN else self._others
        with self._lock:
            now = self._clock()
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            place = self._places.setdefault((record.name, record.pathname, record.lineno), _Place(now))
            if now - place.since >= self._every:
                place.since, place.lines = now, 0
            if place.lines >= most:
                place.silent += 1
                return None
            place.lines += 1
            silent, place.silent = place.silent, 0
            return silent


def start_log(level: str, stream: TextIO, *, with_time: bool) -> None:
    """Write the log of this process to `stream`: our own lines from `level` on, those of libraries from INFO on.

    A library's debug lines tell of its inside, and some are written for each event, also for those that the
    writing of a log makes: a file watcher told of its own lines would never come to rest.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(f"{'%(asctime)s ' if with_time else ''}%(levelname)s %(message)s"))
    handler.addFilter(LineBound())
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(own, logging.INFO), force=True)
    logging.getLogger(OWN).setLevel(own)
    logging.getLogger(_SILENCED).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable


def _log_thread(failed: threading.ExceptHookArgs) -> None:
    """A thread that ended by a bug."""
    if failed.exc_type is SystemExit or failed.exc_value is None:
        return
    name = failed.thread.name if failed.thread is not None else "unknown"
    _log.error("the thread %s ended by a bug", name, exc_info=failed.exc_value)


def _log_unraisable(failed: sys.UnraisableHookArgs) -> None:
    """A bug where nothing can be raised, such as in a finalizer."""
    what = failed.err_msg or "a bug where nothing can be raised"
    _log.error("%s: %r", what, failed.object, exc_info=failed.exc_value)
