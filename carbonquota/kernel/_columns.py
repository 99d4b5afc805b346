"""Points as columns, as a store takes them: `point_of` is the definition of what the numbers of a line are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Point = tuple[bytes, int, float]
"""A name as it came, whole seconds (-1: the time of arrival), and a value, which is not NaN."""


class PointColumns(NamedTuple):
    """Points, pairwise: see `Point`."""

    names: list[bytes]
    timestamps: list[int]
    values: list[float]

    @classmethod
    def of(cls, points: Iterable[Point]) -> PointColumns:
        """These as columns."""
        listed = list(points)
        return cls(*map(list, zip(*listed, strict=True))) if listed else cls([], [], [])


def point_of(line: bytes) -> Point:
    """The point of a line that is one."""
    name, value, timestamp = line.split()
    return name, int(float(timestamp)), float(value)
