"""One file of the spool: how batches stand in it, and how much of a damaged one can be read.

A segment is a run of records, each a header and the lines of one batch as they were accepted. A header is, in
network order: the magic, the length of the lines in bytes, their points, and the CRC-32 of both numbers and the lines.
A process that is killed leaves at most one record cut short, the last; a machine that loses power can leave worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from carbonquota.daemon.relay.queue import RelayBatch

_HEADER: Final = Struct("!4sIII")
_NUMBERS: Final = Struct("!II")
_MAGIC: Final = b"CQR1"


@dataclass(slots=True)
class Segment:
    """A segment as far as it is whole: its `size`, what of it was `read`, and the points and bytes not yet read."""

    number: int
    path: Path
    size: int = 0
    read: int = 0
    points: int = 0
    waiting: int = 0

    @property
    def is_read(self) -> bool:
        """Whether nothing of it is left to be read."""
        return self.read >= self.size

    def add(self, size: int, batch: RelayBatch) -> None:
        """Note a record of `size` bytes at the end."""
        self.size += size
        self.points += batch.points
        self.waiting += len(batch.lines)

    def skip(self) -> tuple[int, int]:
        """Give up what was not read; how many points and bytes that is."""
        given_up = self.points, self.waiting
        self.read, self.points, self.waiting = self.size, 0, 0
        return given_up


@dataclass(slots=True)
class Block:
    """What one read gave: whole batches, and the points and bytes of records that were damaged."""

    batches: list[RelayBatch] = field(default_factory=list)
    lost_points: int = 0
    lost_bytes: int = 0
    damage: str = ""


def encode(batch: RelayBatch) -> bytes:
    """The batch as a record. What was forwarded once counts no points, however often it is sent again."""
    lines, points = batch.lines, 0 if batch.again else batch.points
    return _HEADER.pack(_MAGIC, len(lines), points, _checksum(points, lines)) + lines


def scan(number: int, path: Path) -> tuple[Segment, str]:
    """What the file holds, by its headers alone, and what is wrong with its end, if anything. OSError."""
    segment = Segment(number, path)
    end = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        while segment.size < end:
            file.seek(segment.size)
            header = _header(file.read(_HEADER.size))
            if header is None or segment.size + _HEADER.size + header[0] > end:
                return segment, f"half-written record at byte {segment.size}, {end - segment.size} bytes are skipped"
            segment.size += _HEADER.size + header[0]
            segment.waiting += header[0]
            segment.points += header[1]
    return segment, ""


def read(segment: Segment, size: int) -> Block:
    """The next batches, about `size` bytes of them and one at least; moves the segment's place on. OSError."""
    block = Block()
    data = _bytes(segment, size)
    place = 0
    for place, length, points, lines in _records(data):
        segment.points -= points
        segment.waiting -= length
        if lines is None:
            block.lost_points += points
            block.lost_bytes += length
            block.damage = f"a record at byte {segment.read + place - length} is damaged and skipped"
        else:
            block.batches.append(RelayBatch(lines, points, segment.number))
    segment.read += place
    if not place:
        block.damage = f"unreadable from byte {segment.read} on, the rest of it is skipped"
        block.lost_points, block.lost_bytes = segment.skip()
    return block


def rest(segment: Segment) -> bytes:
    """Everything that was not read, as it stands. OSError."""
    with segment.path.open("rb", buffering=0) as file:
        file.seek(segment.read)
        return file.read(segment.size - segment.read)


def _bytes(segment: Segment, size: int) -> bytes:
    """The next `size` bytes, or all of the next record if that is longer."""
    with segment.path.open("rb", buffering=0) as file:
        file.seek(segment.read)
        data = file.read(min(max(size, _HEADER.size), segment.size - segment.read))
        header = _header(data)
        if header is not None and len(data) < _HEADER.size + header[0] <= segment.size - segment.read:
            data += file.read(_HEADER.size + header[0] - len(data))
    return data


def _records(data: bytes) -> Iterator[tuple[int, int, int, bytes | None]]:
    """Of each whole record: where it ends, its length, its points, and its lines or None where they are damaged."""
    place = 0
    while (header := _header(data[place : place + _HEADER.size])) is not None:
        length, points, checksum = header
        start, place = place + _HEADER.size, place + _HEADER.size + length
        if place > len(data):
            return
        lines = data[start:place]
        yield place, length, points, lines if _checksum(points, lines) == checksum else None


def _header(data: bytes) -> tuple[int, int, int] | None:
    """Length, points and checksum, or None where no record starts."""
    if len(data) < _HEADER.size:
        return None
    magic, length, points, checksum = _HEADER.unpack_from(data)
    return (length, points, checksum) if magic == _MAGIC and length else None


def _checksum(points: int, lines: bytes) -> int:
    return crc32(lines, crc32(_NUMBERS.pack(len(lines), points)))
