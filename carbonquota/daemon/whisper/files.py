"""The Whisper files of a data directory: a metric's points into its file, and new files as the two tables say."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import whisper

from carbonquota.daemon.whisper.failures import CompressedFileError, CreationError
from carbonquota.daemon.whisper.points import Point
from carbonquota.ingest.whisper import is_compressed
from carbonquota.model import Clock
from carbonquota.rules import Aggregations, Retention, Schemas
from carbonquota.rules.schemas import DEFAULT_RETENTIONS
from carbonquota.storage.data_directory import DataDirectory

UNFINISHED: Final = ".unfinished-whisper"
"""What a new file is called, in its directory, until it is whole. One left by a crash is replaced by the next."""


class WhisperStore(Protocol):
    """Where the writer puts points. What goes wrong is raised as it comes; see `failure_of`."""

    def update(self, metric: str, points: Iterable[Point]) -> int:
        """Store points in order of arrival; how many are outside of what the file keeps, and left out.

        FileNotFoundError where the metric has no file yet.
        """

    def is_worth_a_file(self, metric: str, points: Iterable[Point]) -> bool:
        """Whether a new file of the metric would keep any of the points."""

    def create(self, metric: str) -> None:
        """Make the metric's file; CreationError from the cause where it cannot be made."""

    def path(self, metric: str) -> str:
        """Where the metric's file is."""


class WhisperFiles:
    """The files below `directory`; `path_of` gives a metric's path there, and never one outside.

    Nothing is touched in a directory that has taken the place of the one that was opened.
    """

    def __init__(
        self, directory: DataDirectory, path_of: Callable[[str], str], clock: Clock, *, sparse: bool = False
    ) -> None:
        """New files follow no schema until there is one: see `follow`."""
        self._directory = directory
        self._root = directory.path
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

    def update(self, metric: str, points: Iterable[Point]) -> int:
        """Store points, of several at one timestamp the last, as far as the file's retention reaches, to both sides.

        Further ahead Whisper would write over points that are still wanted, as its archives are rings.
        """
        self._directory.check()
        now = int(self._clock())
        points = list(points)
        # Opened here, as Whisper would open it once more for each look at its header.
        with Path(self.path(metric)).open("r+b") as file:
            retention = _longest_retention(file)
            kept = [point for point in points if abs(now - point[0]) <= retention]
            latest = dict(kept)
            ahead = sorted(point for point in latest.items() if point[0] > now)
            _write(file, [point for point in latest.items() if point[0] <= now], now)
            if ahead:
                # Of points in the future, Whisper would write a run longer than the archive over those behind it.
                for run in _cut(ahead, _first_archive(file)["points"]):
                    _write(file, run, now)
        return len(points) - len(kept)

    def is_worth_a_file(self, metric: str, points: Iterable[Point]) -> bool:
        """Whether a new file of the metric would keep any of the points."""
        now = int(self._clock())
        retention = max(kept.seconds_per_point * kept.points for kept in self._retentions(metric))
        return any(abs(now - timestamp) <= retention for timestamp, _ in points)

    def _retentions(self, metric: str) -> tuple[Retention, ...]:
        schema = self._tables[0].match(metric)
        return schema.retentions if schema else DEFAULT_RETENTIONS

    def create(self, metric: str) -> None:
        """Make the metric's file and the directories above it; there is no half-made one under its name, ever."""
        path = Path(self.path(metric))
        unfinished = path.with_name(UNFINISHED)
        archives = [(retention.seconds_per_point, retention.points) for retention in self._retentions(metric)]
        aggregation = self._tables[1].match(metric)
        self._directory.check()
        try:
            _make_directories(path.parent, Path(self._root))
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


def _make_directories(path: Path, root: Path) -> None:
    """Make a directory and those above it, but never the root: without it, all of the tree is away."""
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError:
        if path == root:
            raise
        _make_directories(path.parent, root)
        path.mkdir(exist_ok=True)


def _longest_retention(file: BinaryIO) -> int:
    """The seconds that a file reaches back; CompressedFileError or CorruptWhisperFile where it cannot be written."""
    start = file.read(64)
    if is_compressed(start):
        raise CompressedFileError("a compressed Whisper file, as go-carbon makes them")
    if not start:
        raise whisper.CorruptWhisperFile("the file is empty", file.name)
    if len(start) < whisper.metadataSize:
        raise whisper.CorruptWhisperFile("unable to read header", file.name)
    _, retention, _, archives = struct.unpack(whisper.metadataFormat, start[: whisper.metadataSize])
    if not retention or not archives:
        raise whisper.CorruptWhisperFile("its header names no archive", file.name)
    return int(retention)


def _write(file: BinaryIO, points: list[Point], now: int) -> None:
    """Write points, of each timestamp one, into an open file, as far as the disk takes them."""
    if points:
        whisper.file_update_many(file, sorted(points, reverse=True), now)


def _first_archive(file: BinaryIO) -> dict[str, Any]:
    """The finest archive of a file that could just be opened."""
    header: dict[str, Any] | None = whisper.info(file.name)
    if header is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    archive: dict[str, Any] = header["archives"][0]
    return archive


def _cut(points: list[Point], most: int) -> Iterable[list[Point]]:
    """The points in pieces of at most so many."""
    return (points[start : start + most] for start in range(0, len(points), most))
