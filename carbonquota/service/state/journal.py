r"""A journal: what changed in an index since a snapshot, in records that prove that they are whole.

After a magic, each record is a length (u32) and a crc32 (u32), little-endian, and so many bytes of lines:

    + <logical size> <physical size> <data points> <metric>      it came, or has another size
    - <metric>                                                  it went

A process that is killed may leave half a record at the end. What comes before it is good.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from carbonquota.model import Size
from carbonquota.service.state.files import open_to_append, sync_directory, write_all
from carbonquota.trie.holdings import Change

_MAGIC: Final = b"cqjrnl1\n"
_HEAD: Final = struct.Struct("<II")
_MOST: Final = 20_000
"""Changes in a record."""


class Journal:
    """A journal that is written: opened at its end, which must be the end of a record."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; OSError where the disk does not take it."""
        self._descriptor = open_to_append(path)
        try:
            self.size = os.fstat(self._descriptor).st_size
            if self.size < len(_MAGIC):
                # New, or a disk that was full took only a part of it.
                os.ftruncate(self._descriptor, 0)
                self._write(_MAGIC)
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

    def append(self, changes: Sequence[Change]) -> None:
        """Write changes so that they last; OSError where the disk does not take them all, and then none counts."""
        # A write that failed may have left half a record, which must not stand before whole ones.
        os.ftruncate(self._descriptor, self.size)
        length = 0
        for record in _records(changes):
            self._write(record)
            length += len(record)
        os.fsync(self._descriptor)
        self.size += length

    def _write(self, content: bytes) -> None:
        write_all(self._descriptor, content)

    def close(self) -> None:
        """Write no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _records(changes: Sequence[Change]) -> Iterator[bytes]:
    """The changes as records."""
    for start in range(0, len(changes), _MOST):
        lines = _lines(changes[start : start + _MOST])
        yield _HEAD.pack(len(lines), zlib.crc32(lines)) + lines


def _lines(changes: Sequence[Change]) -> bytes:
    """A line for each change."""
    # By identity: a size is many's, and is the same object for most of them.
    heads: dict[int, bytes] = {}
    parts: list[bytes] = []
    append = parts.append
    head, last = b"", object()
    for name, size in changes:
        if size is not last:
            last, head = size, heads.get(id(size)) or heads.setdefault(id(size), b"\n%b " % _head(size))
        append(head)
        append(name)
    return b"".join(parts)[1:] + b"\n"


def _head(size: Size | None) -> bytes:
    """What stands before the name of a series that has this size, or went."""
    return b"-" if size is None else b"+ %d %d %d" % (size.logical, size.physical, size.data_points)


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal says: its changes in order, the `length` in bytes that is good, and the `rest` after that."""

    changes: list[Change]
    length: int
    rest: bytes

    @property
    def why(self) -> str:
        """What is wrong with the rest."""
        if not self.length:
            return "it is no journal that this program reads"
        return f"its last {len(self.rest):,} bytes are no whole record"


def read_journal(path: Path) -> JournalContent:
    """Read it as far as it is good; OSError where it cannot be read at all."""
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        return JournalContent([], 0, b"" if _MAGIC.startswith(content) else content)
    changes: list[Change] = []
    sizes: dict[tuple[bytes, ...], Size] = {}
    place = len(_MAGIC)
    while (lines := _record_at(content, place)) is not None:
        try:
            found = [_change(line, sizes) for line in lines.split(b"\n")[:-1]]
        except ValueError:
            break
        changes += found
        place += _HEAD.size + len(lines)
    return JournalContent(changes, place, content[place:])


def _record_at(content: bytes, place: int) -> bytes | None:
    """The lines of the record that begins there, if it is whole."""
    if len(content) < place + _HEAD.size:
        return None
    length, checksum = _HEAD.unpack_from(content, place)
    lines = content[place + _HEAD.size : place + _HEAD.size + length]
    # A run of zeros, as a power failure leaves them, would pass for records without a line.
    return lines if lines and len(lines) == length and zlib.crc32(lines) == checksum else None


def _change(line: bytes, sizes: dict[tuple[bytes, ...], Size]) -> Change:
    """The change that a line tells; ValueError where it tells none. `sizes` has those met before, as few are many's."""
    if line.startswith(b"- "):
        return Change(line[2:], None)
    sign, *amounts, name = line.split(b" ", 4)
    if sign != b"+" or len(amounts) != 3:
        raise ValueError("neither came nor went")
    size = sizes.get(key := tuple(amounts))
    if size is None:
        size = sizes[key] = Size(*map(int, amounts))
    return Change(name, size)
