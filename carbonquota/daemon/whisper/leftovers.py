"""Points that could not be written before the program had to stop: kept as plaintext lines until it starts again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from carbonquota.daemon.whisper.points import Point
from carbonquota.errors import QuotaError

_CHUNK: Final = 1 << 20
"""Bytes of lines that are given back at once, about."""


def keep(path: str, metrics: Iterable[tuple[bytes, list[Point]]]) -> None:
    """Write the points to the file, whole or not at all; OSError if that fails."""
    target = Path(path)
    unfinished = target.with_name(target.name + ".unfinished")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished.open("wb") as file:
            for name, points in metrics:
                file.writelines(b"%s %r %d\n" % (name, value, timestamp) for timestamp, value in points)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def kept(path: str) -> Iterator[tuple[bytes, int]]:
    """The lines of the file, if there is one, some at a time with how many they are; QuotaError if unreadable."""
    try:
        with Path(path).open("rb") as file:
            while lines := [line for line in file.readlines(_CHUNK) if line.strip()]:
                yield b"".join(lines), len(lines)
    except FileNotFoundError:
        return
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        remedy = "let the user that this program runs as read and remove it, or move it away"
        raise QuotaError(f"{path}: the points kept at the last stop cannot be read: {cause}; {remedy}") from None


def forget(path: str) -> None:
    """Remove the file, if there is one; OSError if that fails."""
    Path(path).unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Make a rename in it last through a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
