"""Whisper files without I/O: what the first bytes tell of the data points, and the path of the metric.

A file of carbon's, all numbers big-endian:

    metadata      aggregation method, maximum retention, x-files factor (float), number of archives: 4 bytes each
    archive info  offset, seconds per point, points: 4 bytes each, an archive after another
    points        timestamp (4 bytes), value (8 bytes)

A compressed file of go-carbon begins with `whisper_compressed`, has the number of archives at byte 35, and from
byte 63 on 128 bytes an archive, which begin with the same three numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from carbonquota.errors import InputError

LONGEST_HEADER: Final = 4096
"""As many bytes of a file's start as are ever needed."""

EXTENSION: Final = ".wsp"
"""What the name of a Whisper file ends in."""

_ARCHIVE: Final = struct.Struct("!3L")
_POINT_SIZE: Final = 12
_MOST_ARCHIVES: Final = 30
"""More archives than that mean garbage, not a header; they also still fit in LONGEST_HEADER."""

_COUNT_PLACE: Final = 12
_ARCHIVES_PLACE: Final = 16

_COMPRESSED_MAGIC: Final = b"whisper_compressed"
_COMPRESSED_COUNT_PLACE: Final = 35
_COMPRESSED_ARCHIVES_PLACE: Final = 63
_COMPRESSED_ARCHIVE_SIZE: Final = 128


def count_data_points(header: bytes, length: int) -> int:
    """The points that a Whisper file has room for, from its first bytes and its `length` in bytes.

    `header` is the first LONGEST_HEADER bytes, or the whole file where that is shorter. InputError says why it is
    not a Whisper file; its message has no file name in it.
    """
    if not header:
        raise InputError("empty")
    archives = list(_compressed_archives(header) if is_compressed(header) else _archives(header))
    if not all(seconds and points for _, seconds, points in archives):
        raise InputError("an archive without points")
    if not is_compressed(header):
        _check_length(archives, length)
    return sum(points for _, _, points in archives)


def is_compressed(header: bytes) -> bool:
    """Whether the first bytes of a file are those of a compressed one of go-carbon's."""
    return header.startswith(_COMPRESSED_MAGIC)


def _check_length(archives: list[tuple[int, int, int]], length: int) -> None:
    """Refuse a file that ends before its last archive does."""
    needed = max(offset + points * _POINT_SIZE for offset, _, points in archives)
    if length < needed:
        raise InputError(f"cut short: {length:,} of {needed:,} bytes")


def _archives(header: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, seconds per point and points of each archive of a file of carbon's."""
    count = _count(header, _COUNT_PLACE)
    return _infos(header, _ARCHIVES_PLACE, _ARCHIVE.size, count)


def _compressed_archives(header: bytes) -> Iterator[tuple[int, int, int]]:
    """The same of a compressed file of go-carbon's."""
    count = _count(header, _COMPRESSED_COUNT_PLACE)
    return _infos(header, _COMPRESSED_ARCHIVES_PLACE, _COMPRESSED_ARCHIVE_SIZE, count)


def _count(header: bytes, place: int) -> int:
    """The number of archives, which stands at `place`."""
    count = int.from_bytes(header[place : place + 4], "big")
    if len(header) < place + 4 or not 0 < count <= _MOST_ARCHIVES:
        raise InputError("no Whisper header")
    return count


def _infos(header: bytes, start: int, step: int, count: int) -> Iterator[tuple[int, int, int]]:
    """The archive infos from byte `start` on, `step` bytes from each to the next."""
    if len(header) < start + step * count:
        raise InputError("the Whisper header is cut short")
    for index in range(count):
        offset, seconds, points = _ARCHIVE.unpack_from(header, start + step * index)
        yield offset, seconds, points


def metric_of_path(path: str) -> str:
    """The metric whose file has this path, relative to the tree's root, with `/` between its parts.

    A tagged series stands in `_tagged/<3 hex>/<3 hex>/` with its dots spelled `_DOT_` (carbon's
    `TaggedSeries.encode`). Where carbon keeps only the hash of its name, the name is lost and the path is all
    there is.
    """
    stem = path.removesuffix(EXTENSION)
    parts = stem.split("/", 3)
    if parts[0] == "_tagged" and len(parts) == 4 and ";" in parts[3].partition("/")[0]:
        # Carbon leaves slashes in tags as they are, so what follows may be directories.
        return parts[3].replace("_DOT_", ".")
    return stem.replace("/", ".")
