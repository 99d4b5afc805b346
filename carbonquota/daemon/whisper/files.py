"""The Whisper files of a data directory: a metric's points into its file, and new files as the two tables say."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import whisper

from carbonquota.daemon.whisper.failures import CreationError
from carbonquota.daemon.whisper.points import Point
from carbonquota.model import Clock
from carbonquota.rules import Aggregations, Schemas
from carbonquota.rules.schemas import DEFAULT_RETENTIONS

UNFINISHED: Final = ".unfinished-whisper"
"""What a new file is called, in its directory, until it is whole. One left by a crash is replaced by the next."""


class Store(Protocol):
    """Where the writer puts points. What goes wrong is raised as it comes; see `failure_of`."""

    def update(self, metric: str, points: Iterable[Point]) -> None:
        """Store points in order of arrival; FileNotFoundError where the metric has no file yet."""

    def create(self, metric: str) -> None:
        """Make the metric's file; CreationError from the cause where it cannot be made."""

    def path(self, metric: str) -> str:
        """Where the metric's file is."""


class WhisperFiles:
    """The files below `root`; `path_of` gives a metric's path there, and never one outside."""

    def __init__(self, root: str, path_of: Callable[[str], str], clock: Clock, *, sparse: bool = False) -> None:
        """New files follow no schema until there is one: see `follow`."""
        self._root = root
        self._path_of = path_of
        self._clock = clock
        self._sparse = sparse
        self._tables = Schemas(), Aggregations()

    def follow(self, schemas: Schemas, aggregations: Aggregations) -> None:
        """Make new files by these from now on."""
        self._tables = schemas, aggregations

    def path(self, metric: str) -> str:
        """Where the metric's file is."""
        return f"{self._root}{os.sep}{self._path_of(metric)}"

    def update(self, metric: str, points: Iterable[Point]) -> None:
        """Store points; of several at one timestamp the last. Whisper leaves out what its retention is past."""
        path = self.path(metric)
        now = int(self._clock())
        latest = dict(points)
        ahead = [point for point in latest.items() if point[0] > now]
        if not ahead:
            whisper.update_many(path, list(latest.items()), now)
            return
        whisper.update_many(path, [point for point in latest.items() if point[0] <= now], now)
        # Of points in the future, Whisper would write a run longer than the archive over the archives behind it.
        archive = _header(path)["archives"][0]
        for run in _cut(sorted(ahead), archive["points"]):
            whisper.update_many(path, run, now)

    def create(self, metric: str) -> None:
        """Make the metric's file and the directories above it; there is no half-made one under its name, ever."""
        path = Path(self.path(metric))
        unfinished = path.with_name(UNFINISHED)
        schemas, aggregations = self._tables
        schema = schemas.match(metric)
        retentions = schema.retentions if schema else DEFAULT_RETENTIONS
        archives = [(retention.seconds_per_point, retention.points) for retention in retentions]
        aggregation = aggregations.match(metric)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            whisper.create(
                str(unfinished), archives, aggregation.x_files_factor, aggregation.method, sparse=self._sparse
            )
            _check_length(unfinished, archives)
            unfinished.rename(path)
        except Exception as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise CreationError(metric) from error


def _check_length(path: Path, archives: list[tuple[int, int]]) -> None:
    """OSError where a file is shorter than its archives: Whisper does not look whether the disk took all of it."""
    points = sum(points for _, points in archives)
    needed = whisper.metadataSize + len(archives) * whisper.archiveInfoSize + points * whisper.pointSize
    if path.stat().st_size < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _header(path: str) -> dict[str, Any]:
    """The header of a file that could just be opened."""
    header: dict[str, Any] | None = whisper.info(path)
    if header is None:
        raise FileNotFoundError(os.strerror(2))
    return header


def _cut(points: list[Point], most: int) -> Iterable[list[Point]]:
    """The points in pieces of at most so many."""
    return (points[start : start + most] for start in range(0, len(points), most))
