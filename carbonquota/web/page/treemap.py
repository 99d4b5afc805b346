"""A treemap: rectangles whose areas are as the amounts, filling a frame.

Theory of operation. The squarified layout of Bruls, Huizing and van Wijk (2000): amounts come largest first, and are
laid along the shorter side of what is left of the frame, one more to a row as long as that makes its worst rectangle
more like a square. So large tiles are near squares, which are the easiest to compare and have the most room for text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its upper left corner, width and height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """How large it is."""
        return self.width * self.height

    def inset(self, gap: float) -> Box:
        """The same without a border of `gap` on each side, as far as there is room for one."""
        across, down = min(gap, self.width / 4), min(gap, self.height / 4)
        return Box(self.x + across, self.y + down, self.width - 2 * across, self.height - 2 * down)


def squarify(amounts: Sequence[float], frame: Box) -> list[Box]:
    """A box for each amount, in their order, with areas in proportion; those of 0 or less get none of the room.

    The amounts should come largest first; in any order the areas are right.
    """
    total = float(sum(amount for amount in amounts if amount > 0))
    if total <= 0 or frame.area <= 0:
        return [Box(frame.x, frame.y, 0.0, 0.0) for _ in amounts]
    areas = [max(amount, 0) / total * frame.area for amount in amounts]
    boxes: list[Box] = []
    left = frame
    while len(boxes) < len(areas):
        count = _row_length(areas, len(boxes), min(left.width, left.height))
        row = areas[len(boxes) : len(boxes) + count]
        placed, left = _lay(row, left)
        boxes += placed
    return boxes


def _row_length(areas: Sequence[float], start: int, side: float) -> int:
    """How many of the areas from `start` on go into the next row along a side."""
    total, count, worst = 0.0, 0, float("inf")
    largest, smallest = 0.0, float("inf")
    for area in areas[start:]:
        total += area
        largest, smallest = max(largest, area), min(smallest, area)
        now = _worst(total, largest, smallest, side)
        if count and now > worst:
            break
        count, worst = count + 1, now
    return count


def _worst(total: float, largest: float, smallest: float, side: float) -> float:
    """The longest side of a row's rectangles in comparison to its other one."""
    if smallest <= 0 or side <= 0:
        return float("inf")
    return max(side * side * largest / (total * total), total * total / (side * side * smallest))


def _lay(row: Sequence[float], frame: Box) -> tuple[list[Box], Box]:
    """The boxes of one row along the shorter side of a frame, and what is left of it."""
    total = sum(row)
    if total <= 0 or min(frame.width, frame.height) <= 0:
        return [Box(frame.x, frame.y, 0.0, 0.0) for _ in row], frame
    if frame.width >= frame.height:
        depth = min(total / frame.height, frame.width)
        spans = _spans(row, total, frame.y, frame.height)
        boxes = [Box(frame.x, start, depth, length) for start, length in spans]
        return boxes, Box(frame.x + depth, frame.y, frame.width - depth, frame.height)
    depth = min(total / frame.width, frame.height)
    boxes = [Box(start, frame.y, length, depth) for start, length in _spans(row, total, frame.x, frame.width)]
    return boxes, Box(frame.x, frame.y + depth, frame.width, frame.height - depth)


def _spans(row: Sequence[float], total: float, start: float, length: float) -> list[tuple[float, float]]:
    """Where each part of a row begins, and how long it is."""
    spans = []
    done = 0.0
    for area in row:
        begin = start + length * (done / total)
        done += area
        end = start + length * min(done / total, 1.0)
        spans.append((begin, max(end - begin, 0.0)))
    return spans
