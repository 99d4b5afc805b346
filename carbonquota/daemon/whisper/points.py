"""What Whisper files can hold of points: accepted ones, and lines that nobody has read yet (own stats, kept points).

Theory of operation. The lines of accepted points were read when they were decided, so they come as columns, of which
only the times are looked at. Other lines are split as a whole: that gives names, values and timestamps as every third
field. Where anything is out of the ordinary (a timestamp that is no plain integer, or -1; a value that is no
number to store) they are read line by line; that reading is the definition of what is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Final

from carbonquota.kernel import PointColumns

Point = tuple[int, float]
"""A timestamp in seconds since the epoch, and a value."""

LATEST: Final = 2**32 - 1
"""The last timestamp a Whisper file can hold: it has 32 bits for it."""

_NOW: Final = -1
"""As a timestamp it asks for the time of arrival, as in carbon."""


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a buffer as columns, in order: names as sent, timestamps from 0 to `LATEST`, values.

    `refused` counts, by reason, what no Whisper file can hold: `nan`, `timestamp` and `malformed`; `samples` has the
    metric of one of each.
    """

    names: list[bytes]
    timestamps: list[int]
    values: list[float]
    refused: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, bytes] = field(default_factory=dict)

    def append(self, name: bytes, timestamp: int, value: float) -> None:
        """Have one more."""
        self.names.append(name)
        self.timestamps.append(timestamp)
        self.values.append(value)


def storable(found: PointColumns, now: int) -> Points:
    """What can be stored of points; `now`, in seconds since the epoch, is the time that -1 stands for."""
    names, timestamps, values = found
    if min(timestamps, default=0) >= 0 and max(timestamps, default=0) <= LATEST:
        return Points(names, timestamps, values)
    samples: dict[str, bytes] = {}
    read = Points([], [], [], refused := Counter[str](), samples)
    for name, timestamp, value in zip(*found, strict=True):
        second = now if timestamp == _NOW else timestamp
        if 0 <= second <= LATEST:
            read.append(name, second, value)
        else:
            refused["timestamp"] += 1
            samples.setdefault("timestamp", name)
    return read


def read_points(lines: bytes, points: int, now: int) -> Points:
    """The `points` points of these lines; `now`, in seconds since the epoch, is the time that -1 stands for.

    Lines that are no points count as refused, so that points and refusals together are `points`.
    """
    fields = lines.split()
    if len(fields) == 3 * points:
        try:
            timestamps = list(map(int, fields[2::3]))
            values = list(map(float, fields[1::3]))
        except ValueError:
            return _read_lines(lines, points, now)
        # A sum is no number where a value is none. (It may be none for infinities, too; the slow way tells.)
        if not isnan(sum(values)):
            return storable(PointColumns(fields[0::3], timestamps, values), now)
    return _read_lines(lines, points, now)


def _read_lines(lines: bytes, points: int, now: int) -> Points:
    """The same line by line."""
    samples: dict[str, bytes] = {}
    read = Points([], [], [], refused := Counter[str](), samples)
    for line in lines.split(b"\n"):
        found = _read_line(line, now)
        if isinstance(found, str):
            refused[found] += 1
            samples.setdefault(found, line.split()[0])
        elif found is not None:
            read.append(*found)
    if missing := points - len(read.names) - refused.total():
        refused["malformed"] += missing
    return read


def _read_line(line: bytes, now: int) -> tuple[bytes, int, float] | str | None:
    """The point of one line, why it is none that can be stored, or None where the line is blank."""
    fields = line.split()
    if not fields:
        return None
    try:
        name, value_text, timestamp_text = fields
        value, timestamp = float(value_text), int(float(timestamp_text))
    except ValueError:
        return "malformed"
    except OverflowError:
        return "timestamp"
    if isnan(value):
        return "nan"
    timestamp = now if timestamp == _NOW else timestamp
    return (name, timestamp, value) if 0 <= timestamp <= LATEST else "timestamp"
