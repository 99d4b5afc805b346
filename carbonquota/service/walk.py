"""One walk through a Whisper tree: the files that there are, told to the index, and the metrics that have none.

Theory of operation. The metrics of the index are noted first. A file of one that is noted is only looked at for its
size; any other is opened, and its metric loaded. What is noted and was not met has no file where the walk came by.

A metric has one file. Where others would be read as the same metric, they are left out and told: `a.b.wsp` beside
`a/b.wsp`, and a tagged series under its name where the one under its hash is there, or the other way round.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from time import sleep
from typing import Final, Protocol

import click

from carbonquota.errors import MetricNameError, QuotaError
from carbonquota.ingest import metric_of_path
from carbonquota.metric_name import normalize
from carbonquota.model import Size
from carbonquota.storage.data_directory import DataDirectory
from carbonquota.storage.paths import is_hashed, path_of
from carbonquota.storage.tree import Unreadable, read_whisper_file, size_on_disk, whisper_files
from carbonquota.trie.holdings import Holdings

_log = logging.getLogger(__name__)

_CHUNK: Final = 200
"""After so many files, others have their turn."""
_TOLD: Final = 10
"""Unreadable files that a scan names in the log."""


class ScannedIndex(Protocol):
    """As much of `QuotaEngine` as a scan needs."""

    def __len__(self) -> int:
        """How many metrics there are."""

    def holdings(self) -> Holdings:
        """All metrics with their sizes."""

    def load(self, metric: str | bytes, size: Size | None = None) -> None:
        """Take in a metric, or its other size."""

    def forget(self, metric: str | bytes) -> bool:
        """Take a metric out."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A Whisper tree and what is special about it, `directory` being what is remembered of its root.

    Metrics that begin with one of `exempt` are the program's own and no quota's business. Files not written to for
    `ttl` seconds count as gone, 0 being never. `is_pending` tells whether points of a metric wait to be written, and
    `path_of` below the root where its file is; MetricNameError where it can have none. `is_clock_trusted` tells whether
    times can be held against the clock, which is not so for a while after it was set forward.
    """

    root: str
    exempt: tuple[str, ...] = ()
    ttl: float = 0.0
    is_pending: Callable[[str], bool] = lambda _: False
    path_of: Callable[[str], str] = path_of
    is_clock_trusted: Callable[[], bool] = lambda: True
    directory: DataDirectory = field(default_factory=lambda: DataDirectory(""))

    def is_stale(self, written: float, now: float) -> bool:
        """Whether a file last written to at that time counts as gone."""
        return bool(self.ttl) and written < now - self.ttl and self.is_clock_trusted()


class Walk:
    """One walk through a tree; `known` is how many metrics were noted, `expected` how many should have a file."""

    def __init__(
        self, tree: Tree, engine: ScannedIndex, now: float, stopping: Event, advance: Callable[[int], None]
    ) -> None:
        self.files = self.met = self.loaded = self.resized = self.errors = 0
        self.nameless = self.compressed = 0
        self.a_compressed = ""
        self.mounts: set[str] = set()
        self._tree = tree
        self._engine = engine
        self._now = now
        self._above = len(os.path.join(tree.root, ""))
        self._stopping = stopping
        self._advance = advance
        self._unreadable: list[Unreadable] = []
        self._holdings = engine.holdings()
        self._noted = {name: place for place, name in enumerate(self._holdings.names)}
        self.known = len(self._noted)
        self._hashed: dict[str, str] | None = None
        self.expected = len(self.missing())

    def run(self) -> bool:
        """Walk it all; False where it was stopped, or there is no tree."""
        if not os.path.isdir(self._tree.root):
            _log.warning("%s cannot be scanned: there is no such directory", self._tree.root)
            return False
        for item in whisper_files(self._tree.root, self.mounts.add):
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

    def tell(self) -> None:
        """Name some of what could not be read, and tell of files that are not what they should be."""
        for item in self._unreadable:
            _log.warning("%s cannot be scanned: %s", item.path, item.reason)
        if self.errors > len(self._unreadable):
            _log.warning("and %d more files or directories that cannot be scanned", self.errors - len(self._unreadable))

        if self.nameless:
            _log.warning(
                "%s: %d files of tagged series are called by a hash, and whose they are is not known: each counts from "
                "the first point on that comes for its metric",
                self._tree.root,
                self.nameless,
            )
        if self.compressed:
            _log.warning(
                "%d compressed Whisper files, such as %s, count with the room they take, but cannot be written here",
                self.compressed,
                self.a_compressed,
            )

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
        relative = path[self._above :]
        metric = self._metric(relative)
        if metric is None or metric.startswith(self._tree.exempt) or not self._is_its_file(metric, relative):
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
            metric = self._hashed.get(relative)
            self.nameless += metric is None
            return metric
        try:
            return normalize(metric_of_path(relative))
        except MetricNameError as error:
            self._note(Unreadable(click.format_filename(relative), str(error)))
            return None

    def _is_its_file(self, metric: str, relative: str) -> bool:
        """Whether a file is the one that the metric has, not another that reads as the same metric."""
        try:
            path = self._tree.path_of(metric)
        except MetricNameError as error:
            self._note(Unreadable(click.format_filename(relative), str(error)))
            return False
        if path == relative:
            return True
        if ";" in metric and not os.path.exists(os.path.join(self._tree.root, path)):
            # Carbon can be told to call the files of tagged series otherwise, and then has both kinds.
            return True
        reason = f"it is not read as any metric: the file of {metric} is {click.format_filename(path)}"
        self._note(Unreadable(click.format_filename(relative), reason))
        return False

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
        if stored.compressed:
            self.compressed += 1
            self.a_compressed = self.a_compressed or click.format_filename(path)
        if known:
            self.resized += 1
        else:
            self.loaded += 1


def _hashed(names: Iterable[bytes], path_of: Callable[[str], str]) -> dict[str, str]:
    """The metrics, by path, whose file's name is a hash."""
    found = {}
    for name in names:
        if b";" in name:
            metric = name.decode()
            with suppress(MetricNameError):
                found[path_of(metric)] = metric
    return {path: metric for path, metric in found.items() if is_hashed(path)}
