"""A snapshot: everything that an index holds, as a file that is read in a second and proves that it is whole.

    magic (8 bytes)   version (u32)   length of what follows the head (u64)   its crc32 (u32)
    length (u32), and so many bytes of JSON: the number of series, the table of sizes, the running interval's points
    the names, each ended by a line feed, which no metric's name can hold
    the size numbers (int32), and when each series was seen (uint32), one after the other

All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from math import isfinite
from operator import index
from pathlib import Path
from typing import Any, Final

import numpy as np

from carbonquota.kernel import JoinedNames
from carbonquota.model import Size
from carbonquota.service.state.files import write_whole
from carbonquota.trie.holdings import Holdings

VERSION: Final = 1

_MAGIC: Final = b"cqsnap\r\n"
_HEAD: Final = struct.Struct("<8sIQI")
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file holds, and when it was taken, in seconds since the epoch."""

    holdings: Holdings
    time: float


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write the file, or leave what there is; OSError where the disk does not take it."""
    pieces = list(_pieces(snapshot))
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    head = _HEAD.pack(_MAGIC, VERSION, sum(map(len, pieces)), checksum)
    write_whole(path, [head, *pieces])


def _pieces(snapshot: Snapshot) -> Iterator[bytes]:
    """What follows the head."""
    holdings = snapshot.holdings
    table = json.dumps(
        {
            "time": snapshot.time,
            "series": len(holdings.names),
            "sizes": [astuple(size) for size in holdings.sizes],
            "interval_start": holdings.interval_start,
            "flows": dict(holdings.rates),
        }
    ).encode()
    yield _LENGTH.pack(len(table)) + table
    yield JoinedNames.of(holdings.names).text
    yield holdings.size_numbers.astype("<i4").tobytes()
    yield holdings.seen.astype("<u4").tobytes()


def read_snapshot(path: Path) -> Snapshot:
    """What the file holds; ValueError says how it is damaged, OSError why it cannot be read."""
    content = path.read_bytes()
    if len(content) < _HEAD.size:
        raise ValueError("cut short")
    magic, version, length, checksum = _HEAD.unpack_from(content)
    if magic != _MAGIC:
        raise ValueError("not a snapshot")
    if version != VERSION:
        raise ValueError(f"of version {version}, and this program reads version {VERSION}")
    body = memoryview(content)[_HEAD.size :]
    if len(body) != length:
        raise ValueError(f"{len(body):,} bytes long instead of {length:,}")
    if zlib.crc32(body) != checksum:
        raise ValueError("its checksum is wrong")
    try:
        return _read(body)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, struct.error):
        raise ValueError("its parts do not fit together") from None


def _read(body: memoryview) -> Snapshot:
    """What a body with a right checksum holds; all sorts of errors where another program wrote it."""
    start = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    table: dict[str, Any] = json.loads(bytes(body[_LENGTH.size : start]))
    count = table["series"]
    columns = len(body) - 8 * count
    names = JoinedNames(bytes(body[start:columns]))
    sizes = [Size(*map(index, amounts)) for amounts in table["sizes"]]
    numbers = np.frombuffer(body, "<i4", count, columns).astype(np.int32)
    if len(names) != count or (count and not 0 <= numbers.min() <= numbers.max() < len(sizes)):
        raise ValueError("its columns do not fit")
    holdings = Holdings(
        names=names,
        sizes=sizes,
        size_numbers=numbers,
        seen=np.frombuffer(body, "<u4", count, columns + 4 * count).astype(np.uint32),
        interval_start=float(table["interval_start"]),
        rates={namespace: index(points) for namespace, points in table["flows"].items()},
    )
    return Snapshot(holdings, _finite(table["time"]))


def _finite(seconds: float) -> float:
    """A time; ValueError or TypeError where it is none."""
    if not isfinite(seconds):
        raise ValueError("no time")
    return float(seconds)
