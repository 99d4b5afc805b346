r"""A journal: what changed in an index since a snapshot, in records that prove that they are whole.

After a magic, each record is a length (u32) and a crc32 (u32), little-endian, and so many bytes of runs, one after the
other. A run is a line that says what became of the series, and so many lines with their names:

    + <logical size> <physical size> <data points> <names>      they came, or have another size
    - <names>                                                  they went

A process that is killed may leave half a record at the end. What comes before it is good. Journals of the first
version, which had a whole line for each change, are read as well, but never gone on with.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

from carbonquota.model import Size
from carbonquota.service.state.files import open_to_append, sync_directory, write_all
from carbonquota.trie import Change, ChangeRun

_MAGIC: Final = b"cqjrnl2\n"
_FIRST_MAGIC: Final = b"cqjrnl1\n"
_HEAD: Final = struct.Struct("<II")
_FEWEST: Final = 3
"""Amounts of a size in the first journals."""
_LARGEST_RECORD: Final = 16 * 2**20
"""Bytes of names in a record, about."""


class Journal:
    """A journal that is written: opened at its end, which must be the end of a record."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; OSError where the disk does not take it."""
        self._descriptor = open_to_append(path)
        self._is_torn = False
        self._is_synced = True
        try:
            self.size = os.fstat(self._descriptor).st_size
            if self.size < len(_MAGIC):
                # New, or a disk that was full took only a part of it.
                os.ftruncate(self._descriptor, 0)
                write_all(self._descriptor, _MAGIC)
                os.fsync(self._descriptor)
                sync_directory(path.parent)
                self.size = len(_MAGIC)
        except BaseException:
            self.close()
            raise

    @property
    def is_empty(self) -> bool:
        """Whether there is no record in it."""
        return self.size <= len(_MAGIC)

    def append(self, runs: Sequence[ChangeRun]) -> None:
        """Write changes so that they outlive the process; OSError where the disk does not take all, and none counts."""
        if self._is_torn:
            # A write that failed may have left half a record, which must not stand before whole ones.
            os.ftruncate(self._descriptor, self.size)
        self._is_torn, self._is_synced = True, False
        length = 0
        try:
            for record in _records(runs):
                write_all(self._descriptor, record)
                length += len(record)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += length
        self._is_torn = False

    def sync(self) -> None:
        """Have what was written outlive the machine; OSError where that fails, and then it may be on disk or not."""
        if not self._is_synced and self._descriptor >= 0:
            # Before, as more may be written meanwhile.
            self._is_synced = True
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Write no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _records(runs: Iterable[ChangeRun]) -> Iterator[bytes]:
    """The changes as records."""
    pieces: list[bytes] = []
    size = 0
    for run in runs:
        for names, count in _cut(run):
            pieces += (_line_of(run.size, count), names)
            size += len(names)
            if size >= _LARGEST_RECORD:
                yield _record_of(pieces)
                pieces, size = [], 0
    if pieces:
        yield _record_of(pieces)


def _record_of(pieces: Iterable[bytes]) -> bytes:
    body = b"".join(pieces)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _cut(run: ChangeRun) -> Iterator[tuple[bytes, int]]:
    """The names of a run in pieces that a record takes, and how many each has."""
    names, count = run.names, run.series
    while len(names) > _LARGEST_RECORD:
        end = names.index(b"\n", _LARGEST_RECORD) + 1
        piece, names = names[:end], names[end:]
        count -= (held := piece.count(b"\n"))
        yield piece, held
    if count:
        yield names, count


def _line_of(size: Size | None, count: int) -> bytes:
    """What stands before the names of series that have this size, or went."""
    if size is None:
        return b"- %d\n" % count
    return " ".join(("+", *map(str, astuple(size)), f"{count}\n")).encode()


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal says: its changes in order, the `length` in bytes that is good, and the `rest` after that.

    `is_current` tells whether it can be gone on with behind what is good.
    """

    changes: list[Change]
    length: int
    rest: bytes
    is_current: bool = True

    @property
    def why(self) -> str:
        """What is wrong with the rest."""
        if not self.length:
            return "it is no journal that this program reads"
        return f"its last {len(self.rest):,} bytes are no whole record"


def read_journal(path: Path) -> JournalContent:
    """Read it as far as it is good; OSError where it cannot be read at all."""
    content = path.read_bytes()
    if not content.startswith((_MAGIC, _FIRST_MAGIC)):
        return JournalContent([], 0, b"" if _MAGIC.startswith(content) else content)
    is_current = content.startswith(_MAGIC)
    changes: list[Change] = []
    sizes: dict[tuple[bytes, ...], Size] = {}
    place = len(_MAGIC)
    while (body := _record_at(content, place)) is not None:
        try:
            changes += _changes_of_runs(body, sizes) if is_current else _changes_of_lines(body, sizes)
        except ValueError:
            break
        place += _HEAD.size + len(body)
    return JournalContent(changes, place, content[place:], is_current)


def _record_at(content: bytes, place: int) -> bytes | None:
    """The body of the record that begins there, if it is whole."""
    if len(content) < place + _HEAD.size:
        return None
    length, checksum = _HEAD.unpack_from(content, place)
    body = content[place + _HEAD.size : place + _HEAD.size + length]
    # A run of zeros, as a power failure leaves them, would pass for records without a line.
    return body if body and len(body) == length and zlib.crc32(body) == checksum else None


def _changes_of_runs(body: bytes, sizes: dict[tuple[bytes, ...], Size]) -> list[Change]:
    """The changes of a record; ValueError where it holds none. `sizes` has those met before, as few are many's."""
    lines = body.split(b"\n")
    changes: list[Change] = []
    place = 0
    while place < len(lines) - 1:
        sign, *amounts, count = lines[place].split(b" ")
        size, end = _size_of(sign, amounts, sizes), place + 1 + int(count)
        if not place + 1 < end < len(lines):
            raise ValueError("fewer names than it says")
        changes += [Change(name, size) for name in lines[place + 1 : end]]
        place = end
    return changes


def _changes_of_lines(body: bytes, sizes: dict[tuple[bytes, ...], Size]) -> list[Change]:
    """The same of a record of the first version: a line for each change, with the name at its end."""
    parts = (line.split(b" ", 4 if line.startswith(b"+") else 1) for line in body.split(b"\n")[:-1])
    return [Change(name, _size_of(sign, amounts, sizes)) for sign, *amounts, name in parts]


def _size_of(sign: bytes, amounts: Sequence[bytes], sizes: dict[tuple[bytes, ...], Size]) -> Size | None:
    """The size that a line tells, None where it tells of series that went; ValueError where it tells of neither."""
    if (sign, len(amounts)) == (b"-", 0):
        return None
    if sign != b"+" or not _FEWEST <= len(amounts) <= len(fields(Size)):
        raise ValueError("neither came nor went")
    size = sizes.get(key := tuple(amounts))
    if size is None:
        size = sizes[key] = Size(*map(int, amounts))
    return size
