"""The scan: what an index holds brought in line with the Whisper files that there are.

Theory of operation. The tree is walked, on a thread of its own; see `carbonquota.service.walk`. A metric of the index
whose file was not met may be gone. But a metric may have been accepted whose file is still to be made, and files may be
made while the walk goes on. So whether a metric is gone is decided on the host's thread that admits points: it is
forgotten only if no point of it waits to be written and its file is not there at that very moment. A metric that came
during the walk was never noted, so the scan cannot lose it.

What looks like a disk that is not mounted makes no metric be forgotten: a tree that is not there, or is another
directory than before, or has no file of a metric where the index expects some; what lies behind a link that leads
nowhere, or below a directory that had a disk of its own. And where more than a tenth of the index would go at once,
each metric has to be missing in two scans, one after the other. Metrics that were written to the journal ahead of a
file that a kill kept from being made do not count there: the first scan after the start forgets them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import monotonic, time
from typing import Final

from carbonquota.errors import MetricNameError
from carbonquota.model import Clock
from carbonquota.service.health import HealthSample
from carbonquota.service.walk import ScannedIndex, Tree, Walk
from carbonquota.storage.data_directory import DataDirectory

__all__ = ["OnDataThread", "ScanResult", "Scanner", "Tree", "at_once"]

_log = logging.getLogger(__name__)

_CHUNK: Final = 200
"""Metrics that may be forgotten in one step, during which no point is admitted."""
_SHARE: Final = 10
"""More than one in so many metrics gone at once has to be seen twice."""
_FEW: Final = 10
"""So many may be gone in any case: in a small index that is soon more than a tenth."""


OnDataThread = Callable[[Callable[[], None]], None]
"""Calls a function on the thread that admits points, between two batches, and returns when it is done."""


def at_once(function: Callable[[], None]) -> None:
    """For where only one thread admits: this one."""
    function()


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found, and what came of it; `errors` are files and directories that could not be read.

    `complete` is False where it was stopped, or the tree was not there.
    """

    files: int = 0
    loaded: int = 0
    resized: int = 0
    forgotten: int = 0
    errors: int = 0
    seconds: float = 0.0
    complete: bool = True


class Scanner:
    """Scans one tree again and again. `scan` is for one thread at a time, `stop` and `health` for any."""

    def __init__(
        self, tree: Tree, engine: ScannedIndex, *, on_data_thread: OnDataThread = at_once, clock: Clock = time
    ) -> None:
        """`clock` gives the seconds since the epoch."""
        self._tree = tree
        self._engine = engine
        self._on_data_thread = on_data_thread
        self._clock = clock
        self._stopping = Event()
        self._directory = tree.directory if tree.directory.path else DataDirectory(tree.root)
        self._last = ScanResult()
        self._ended = 0.0
        self._mounts: set[str] = set()
        self._doubted: frozenset[bytes] = frozenset()
        self._without_file: frozenset[bytes] = frozenset()
        self._trouble = ""

    def scan(self, advance: Callable[[int], None] = lambda _: None) -> ScanResult:
        """Scan once; `advance` is told of each file."""
        started = monotonic()
        self._directory.remember()
        walk = Walk(self._tree, self._engine, self._clock(), self._stopping, advance)
        complete = self._is_the_same() and walk.run()
        forgotten = self._forget_gone(walk) if complete and self._is_credible(walk) else 0
        # It may have been stopped while it forgot.
        complete = complete and not self._stopping.is_set()
        walk.tell()
        self._last = ScanResult(
            walk.files, walk.loaded, walk.resized, forgotten, walk.errors, monotonic() - started, complete
        )
        self._ended = self._clock()
        _log.info("%s", _summary(self._tree.root, self._last))
        return self._last

    def expect_without_file(self, metrics: frozenset[bytes]) -> None:
        """Have the next scan that gets through forget these where they have no file, however many they are."""
        self._without_file = metrics

    def stop(self) -> None:
        """End a scan that runs, and every later one, at the next file."""
        self._stopping.set()

    def health(self) -> Iterator[HealthSample]:
        """How the last scan went."""
        yield HealthSample("scan_time", self._ended)
        yield HealthSample("scan_seconds", self._last.seconds)
        yield HealthSample("scan_files", self._last.files)
        yield HealthSample("scan_errors", self._last.errors)

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why metrics are not forgotten though their files are not there. From any thread."""
        return (self._trouble,) if self._trouble else ()

    def _is_the_same(self) -> bool:
        """Whether the tree has the root that it had before."""
        if trouble := self._directory.trouble:
            _log.warning("%s cannot be scanned: %s", self._tree.root, trouble)
        return not trouble

    def _is_credible(self, walk: Walk) -> bool:
        """Whether what was not met may be taken for gone."""
        self._trouble = ""
        if walk.met or not walk.expected:
            return True
        self._doubt(
            f"there is no Whisper file below {self._tree.root}, where {walk.expected} metrics should have theirs; "
            "is the disk mounted? None of them is forgotten"
        )
        return False

    def _doubt(self, trouble: str) -> None:
        """Log it, and have it be a trouble until the next scan."""
        self._trouble = trouble
        _log.warning("%s", trouble)

    def _forget_gone(self, walk: Walk) -> int:
        """Forget what is gone, as far as that can be believed; how many that was."""
        self._mounts |= walk.mounts
        away = self._away()
        if away:
            self._doubt(
                f"{', '.join(away[:3])}: a disk was mounted there before, and is not now: none of the metrics below is "
                "forgotten; mount it again, or restart to use what is there now"
            )
        gone = self._gone(walk.missing())
        never_made = [metric for metric in gone if metric in self._without_file]
        lost = [metric for metric in gone if metric not in self._without_file]
        self._without_file = frozenset()
        return self._forget([*never_made, *self._believed(lost, walk.known)])

    def _believed(self, gone: Sequence[bytes], known: int) -> Sequence[bytes]:
        """Those of the metrics gone that are to be forgotten now: all, unless so many are that a disk may be away."""
        most = max(_FEW, known // _SHARE)
        if len(gone) <= most:
            self._doubted = frozenset()
            return gone
        agreed = [metric for metric in gone if metric in self._doubted]
        self._doubted = frozenset(gone)
        if len(gone) - len(agreed) > most:
            self._doubt(
                f"{len(gone) - len(agreed):,} of {known:,} metrics have no file any more below {self._tree.root}; is a "
                "disk missing? They are forgotten if the next scan finds the same"
            )
        return agreed

    def _away(self) -> list[str]:
        """The directories that had a disk of their own, and have none now."""
        return sorted(path for path in self._mounts if not _is_mounted(path))

    def _gone(self, missing: Sequence[bytes]) -> list[bytes]:
        """The metrics that are gone, as it is seen where points are admitted."""
        gone: list[bytes] = []
        self._in_steps(missing, lambda chunk: gone.extend(self._gone_now(chunk)))
        return gone

    def _gone_now(self, metrics: Iterable[bytes]) -> list[bytes]:
        """Those that are gone; none while the tree, or a part of it, cannot be seen."""
        if self._directory.trouble:
            return []
        away = tuple(f"{path}/" for path in self._away())
        return [metric for metric in metrics if self._is_gone(metric.decode(), away)]

    def _in_steps(self, metrics: Sequence[bytes], function: Callable[[Sequence[bytes]], None]) -> None:
        """Call it with some metrics at a time, until all are through or the scan is stopped."""
        for start in range(0, len(metrics), _CHUNK):
            if self._stopping.is_set():
                break
            self._on_data_thread(partial(function, metrics[start : start + _CHUNK]))

    def _forget(self, gone: Sequence[bytes]) -> int:
        """Forget what is still gone, some at a time; how many that was."""
        forgotten: list[bytes] = []

        def forget(chunk: Sequence[bytes]) -> None:
            forgotten.extend(metric for metric in self._gone_now(chunk) if self._engine.forget(metric))

        self._in_steps(gone, forget)
        return len(forgotten)

    def _is_gone(self, metric: str, away: tuple[str, ...]) -> bool:
        """Whether a metric has no file, and none to come; nothing below what is `away` is."""
        if self._tree.is_pending(metric):
            return False
        try:
            path = os.path.join(self._tree.root, self._tree.path_of(metric))
        except MetricNameError:
            return True
        if path.startswith(away):
            return False
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return not _is_out_of_sight(path, self._tree.root)
        except OSError:
            # It cannot be seen, which does not mean that it is not there.
            return False
        return self._tree.is_stale(status.st_mtime, self._clock())


def _is_mounted(path: str) -> bool:
    """Whether a directory has a disk of its own."""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except OSError:
        return False


def _is_out_of_sight(path: str, root: str) -> bool:
    """Whether a path is missing with the tree itself, or because a link on the way to it leads nowhere.

    That is how it looks when a disk is not mounted.
    """
    while not os.path.lexists(path):
        if len(path) <= len(root):
            return True
        path = os.path.dirname(path)
    return not os.path.exists(path)


def _summary(root: str, result: ScanResult) -> str:
    """What to tell of a scan."""
    done = "scanned" if result.complete else "the scan did not get through"
    return (
        f"{root}: {done}: {result.files:,} Whisper files in {result.seconds:.1f} s, {result.loaded:,} metrics found, "
        f"{result.resized:,} resized, {result.forgotten:,} gone, {result.errors:,} unreadable"
    )
