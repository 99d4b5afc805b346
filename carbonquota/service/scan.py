"""The scan: what an index holds brought in line with the Whisper files that there are.

Theory of operation. The metrics of the index are noted, and then the tree is walked, on a thread of its own. A file
of a metric that is noted is only looked at for its size; any other is opened, and its metric loaded. What is noted
and was not met may be gone. But a metric may have been accepted whose file is still to be made, and files may be made
while the walk goes on. So whether a metric is gone is decided on the host's thread that admits points: it is forgotten
only if no point of it waits to be written and its file is not there at that very moment. A metric that came during the
walk was never noted, so the scan cannot lose it.

A tree that is not there, or that has no file of a metric where the index expects some, is taken for a disk that is not
mounted: nothing is forgotten then. The same goes for what lies behind a link that leads nowhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import monotonic, sleep, time
from typing import Final, Protocol

import click

from carbonquota.errors import MetricNameError, QuotaError
from carbonquota.ingest import metric_of_path
from carbonquota.metric_name import normalize
from carbonquota.model import Clock, Size
from carbonquota.service.health import Sample
from carbonquota.storage.paths import is_hashed, path_of
from carbonquota.storage.tree import Unreadable, read_whisper_file, size_on_disk, whisper_files
from carbonquota.trie.holdings import Holdings

_log = logging.getLogger(__name__)

_CHUNK: Final = 200
"""Metrics that may be forgotten in one step, during which no point is admitted."""
_TOLD: Final = 10
"""Unreadable files that a scan names in the log."""


class Holder(Protocol):
    """As much of `QuotaEngine` as a scan needs."""

    def __len__(self) -> int:
        """How many metrics there are."""

    def holdings(self) -> Holdings:
        """All metrics with their sizes."""

    def load(self, metric: str | bytes, size: Size | None = None) -> None:
        """Take in a metric, or its other size."""

    def forget(self, metric: str | bytes) -> bool:
        """Take a metric out."""


Settle = Callable[[Callable[[], None]], None]
"""Calls a function on the thread that admits points, between two batches, and returns when it is done."""


def at_once(function: Callable[[], None]) -> None:
    """Settle where only one thread admits: this one."""
    function()


@dataclass(frozen=True, slots=True)
class Tree:
    """A Whisper tree and what is special about it.

    Metrics that begin with one of `exempt` are the program's own and no quota's business. Files not written to for
    `ttl` seconds count as gone, 0 being never. `is_pending` tells whether points of a metric wait to be written, and
    `path_of` below the root where its file is; MetricNameError where it can have none.
    """

    root: str
    exempt: tuple[str, ...] = ()
    ttl: float = 0.0
    is_pending: Callable[[str], bool] = lambda _: False
    path_of: Callable[[str], str] = path_of

    def is_stale(self, written: float, now: float) -> bool:
        """Whether a file last written to at that time counts as gone."""
        return bool(self.ttl) and written < now - self.ttl


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

    def __init__(self, tree: Tree, engine: Holder, *, settle: Settle = at_once, clock: Clock = time) -> None:
        """`clock` gives the seconds since the epoch."""
        self._tree = tree
        self._engine = engine
        self._settle = settle
        self._clock = clock
        self._stopping = Event()
        self._last = ScanResult()
        self._ended = 0.0

    def scan(self, advance: Callable[[int], None] = lambda _: None) -> ScanResult:
        """Scan once; `advance` is told of each file."""
        started = monotonic()
        walk = _Walk(self._tree, self._engine, self._clock(), self._stopping, advance)
        complete = walk.run()
        forgotten = self._forget(walk.missing()) if complete and self._is_credible(walk) else 0
        # It may have been stopped while it forgot.
        complete = complete and not self._stopping.is_set()
        walk.tell_unreadable()
        self._last = ScanResult(
            walk.files, walk.loaded, walk.resized, forgotten, walk.errors, monotonic() - started, complete
        )
        self._ended = self._clock()
        _log.info("%s", _summary(self._tree.root, self._last))
        return self._last

    def stop(self) -> None:
        """End a scan that runs, and every later one, at the next file."""
        self._stopping.set()

    def health(self) -> Iterator[Sample]:
        """How the last scan went."""
        yield Sample("scan_time", self._ended)
        yield Sample("scan_seconds", self._last.seconds)
        yield Sample("scan_files", self._last.files)
        yield Sample("scan_errors", self._last.errors)

    def _is_credible(self, walk: _Walk) -> bool:
        """Whether what was not met may be taken for gone."""
        if walk.met or not walk.expected:
            return True
        _log.warning(
            "there is no Whisper file below %s, where %d metrics should have theirs; is the disk mounted? "
            "None of them is forgotten",
            self._tree.root,
            walk.expected,
        )
        return False

    def _forget(self, missing: Sequence[bytes]) -> int:
        """Forget what is really gone, some at a time; how many that was."""
        forgotten: list[bytes] = []

        def forget(chunk: Sequence[bytes]) -> None:
            gone = [metric for metric in chunk if self._is_gone(metric.decode())]
            forgotten.extend(metric for metric in gone if self._engine.forget(metric))

        for start in range(0, len(missing), _CHUNK):
            if self._stopping.is_set():
                break
            self._settle(partial(forget, missing[start : start + _CHUNK]))
        return len(forgotten)

    def _is_gone(self, metric: str) -> bool:
        """Whether a metric has no file, and none to come."""
        if self._tree.is_pending(metric):
            return False
        try:
            path = os.path.join(self._tree.root, self._tree.path_of(metric))
        except MetricNameError:
            return True
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return not _is_out_of_sight(path, self._tree.root)
        except OSError:
            # It cannot be seen, which does not mean that it is not there.
            return False
        return self._tree.is_stale(status.st_mtime, self._clock())


class _Walk:
    """One walk through a tree."""

    def __init__(self, tree: Tree, engine: Holder, now: float, stopping: Event, advance: Callable[[int], None]) -> None:
        self.files = self.met = self.loaded = self.resized = self.errors = 0
        self._tree = tree
        self._engine = engine
        self._now = now
        self._above = len(os.path.join(tree.root, ""))
        self._stopping = stopping
        self._advance = advance
        self._unreadable: list[Unreadable] = []
        self._holdings = engine.holdings()
        self._noted = {name: place for place, name in enumerate(self._holdings.names)}
        self._hashed: dict[str, str] | None = None
        self.expected = len(self.missing())

    def run(self) -> bool:
        """Walk it all; False where it was stopped, or there is no tree."""
        if not os.path.isdir(self._tree.root):
            _log.warning("%s cannot be scanned: there is no such directory", self._tree.root)
            return False
        for item in whisper_files(self._tree.root):
            if self._stopping.is_set():
                return False
            if isinstance(item, Unreadable):
                self._note(item)
            else:
                self._meet(item)
        return True

    def missing(self) -> list[bytes]:
        """The metrics noted that were not met, and that should have a file."""
        exempt = tuple(prefix.encode() for prefix in self._tree.exempt)
        return [name for name in self._noted if not name.startswith(exempt)] if exempt else list(self._noted)

    def tell_unreadable(self) -> None:
        """Name some of what could not be read."""
        for item in self._unreadable:
            _log.warning("%s cannot be scanned: %s", item.path, item.reason)
        if self.errors > len(self._unreadable):
            _log.warning("and %d more files or directories that cannot be scanned", self.errors - len(self._unreadable))

    def _note(self, item: Unreadable) -> None:
        self.errors += 1
        if len(self._unreadable) < _TOLD:
            self._unreadable.append(item)

    def _meet(self, path: str) -> None:
        """Take in what a file tells."""
        self.files += 1
        self._advance(1)
        if not self.files % _CHUNK:
            # Whoever serves traffic goes first.
            sleep(0)
        metric = self._metric(path[self._above :])
        if metric is None or metric.startswith(self._tree.exempt):
            return
        self.met += 1
        try:
            status = os.stat(path)
        except OSError as error:
            self._note(Unreadable(click.format_filename(path), (error.strerror or str(error)).lower()))
            return
        if self._tree.is_stale(status.st_mtime, self._now):
            return
        place = self._noted.pop(metric.encode(), None)
        if place is None:
            self._load(path, metric)
        elif size_on_disk(status) != self._noted_size(place):
            self._load(path, metric, known=True)

    def _metric(self, relative: str) -> str | None:
        """The metric of a file in normal form; None where it can have none, or its name is lost."""
        if is_hashed(relative):
            if self._hashed is None:
                self._hashed = _hashed(self._holdings.names, self._tree.path_of)
            return self._hashed.get(relative)
        try:
            return normalize(metric_of_path(relative))
        except MetricNameError as error:
            self._note(Unreadable(click.format_filename(relative), str(error)))
            return None

    def _noted_size(self, place: int) -> tuple[int, int]:
        """The bytes and the blocks' bytes that the index has for a metric."""
        size = self._holdings.sizes[self._holdings.size_numbers[place]]
        return size.logical, size.physical

    def _load(self, path: str, metric: str, *, known: bool = False) -> None:
        """Read a file and have its metric counted with its real size."""
        stored = read_whisper_file(path, metric)
        if isinstance(stored, Unreadable):
            self._note(stored)
            return
        try:
            self._engine.load(metric, stored.size)
        except QuotaError as error:
            self._note(Unreadable(click.format_filename(path), str(error)))
            return
        if known:
            self.resized += 1
        else:
            self.loaded += 1


def _is_out_of_sight(path: str, root: str) -> bool:
    """Whether a path is missing with the tree itself, or because a link on the way to it leads nowhere.

    That is how it looks when a disk is not mounted.
    """
    while not os.path.lexists(path):
        if len(path) <= len(root):
            return True
        path = os.path.dirname(path)
    return not os.path.exists(path)


def _hashed(names: Iterable[bytes], path_of: Callable[[str], str]) -> dict[str, str]:
    """The metrics, by path, whose file's name is a hash."""
    found = {}
    for name in names:
        if b";" in name:
            metric = name.decode()
            with suppress(MetricNameError):
                found[path_of(metric)] = metric
    return {path: metric for path, metric in found.items() if is_hashed(path)}


def _summary(root: str, result: ScanResult) -> str:
    """What to tell of a scan."""
    done = "scanned" if result.complete else "the scan did not get through"
    return (
        f"{root}: {done}: {result.files:,} Whisper files in {result.seconds:.1f} s, {result.loaded:,} metrics found, "
        f"{result.resized:,} resized, {result.forgotten:,} gone, {result.errors:,} unreadable"
    )
