"""A directory tree of Whisper files: every metric stored there, with the size it really has."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import click

from carbonquota.errors import InputError
from carbonquota.ingest import LONGEST_HEADER, count_data_points, metric_of_path
from carbonquota.ingest.whisper import EXTENSION, is_compressed
from carbonquota.model import Size

_BLOCK: Final = 512
"""Bytes in a block as `st_blocks` counts them (POSIX `stat`), whatever the file system's own block size."""


@dataclass(frozen=True, slots=True)
class StoredMetric:
    """A metric and what its file at `path` really holds; whether that is one that go-carbon compressed."""

    path: str
    metric: str
    size: Size
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or directory within a tree that had to be left out, and why."""

    path: str
    reason: str


def read_whisper_tree(root: str, advance: Callable[[int], None]) -> Iterator[StoredMetric | Unreadable]:
    """The Whisper files below `root`, by name within each directory; `advance` is told of each.

    InputError where there is none at all.
    """
    found = False
    for item in whisper_files(root):
        if isinstance(item, Unreadable):
            yield item
            continue
        found = True
        yield read_whisper_file(item, metric_of_path(os.path.relpath(item, root)))
        advance(1)
    if not found:
        name = click.format_filename(root)
        raise InputError(f"{name}: there is no Whisper file (*{EXTENSION}) in this directory tree")


def whisper_files(root: str, on_mount: Callable[[str], object] = lambda _: None) -> Iterator[str | Unreadable]:
    """The paths of all Whisper files, and the directories that cannot be listed.

    `on_mount` is told of each directory below the root that is on another disk than the one that it is in.

    Links are followed, but no directory is read twice: a link to one inside the tree is left to its own place, so
    that a loop ends and a metric counts once, under the same name in every run.
    """
    inside = os.path.join(os.path.realpath(root), "")
    visited: set[tuple[int, int]] = set()
    waiting = [(root, -1)]
    while waiting:
        path, above = waiting.pop()
        if path != root and os.path.islink(path) and os.path.join(os.path.realpath(path), "").startswith(inside):
            continue
        try:
            identity = _identity(path)
            entries = [] if identity in visited else _entries(path)
        except OSError as error:
            yield Unreadable(click.format_filename(path), _cause(error))
            continue
        visited.add(identity)
        if above not in (-1, identity[0]):
            on_mount(path)
        waiting += [(entry.path, identity[0]) for entry in reversed(entries) if _is_directory(entry)]
        yield from (entry.path for entry in entries if entry.name.endswith(EXTENSION) and not _is_directory(entry))


def compressed_file(root: str, most: int = 1000) -> str | None:
    """One of the first `most` Whisper files below `root` that go-carbon compressed, if there is any."""
    for item in islice(whisper_files(root), most):
        if not isinstance(item, Unreadable):
            stored = read_whisper_file(item, "")
            if isinstance(stored, StoredMetric) and stored.compressed:
                return item
    return None


def _identity(path: str) -> tuple[int, int]:
    """What two paths to one directory have in common."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _entries(path: str) -> list[os.DirEntry[str]]:
    """What is in a directory, by name."""
    with os.scandir(path) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory, or a link to one; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def size_on_disk(status: os.stat_result) -> tuple[int, int]:
    """How many bytes a file has, and how many its blocks on disk do."""
    return status.st_size, status.st_blocks * _BLOCK


def read_whisper_file(path: str, metric: str) -> StoredMetric | Unreadable:
    """The metric of one file, with what it really holds."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            # Opening a pipe would wait for somebody to write to it.
            return Unreadable(click.format_filename(path), "not a regular file")
        with open(path, "rb", buffering=0) as file:
            header = file.read(LONGEST_HEADER)
            status = os.fstat(file.fileno())
        points = count_data_points(header, status.st_size)
    except OSError as error:
        return Unreadable(click.format_filename(path), _cause(error))
    except InputError as error:
        return Unreadable(click.format_filename(path), str(error))
    return StoredMetric(path, metric, Size(*size_on_disk(status), points), is_compressed(header))


def _cause(error: OSError) -> str:
    """What the system said, as the end of a sentence."""
    return (error.strerror or str(error)).lower()
