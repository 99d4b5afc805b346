"""A treemap's laws: areas in proportion, all inside the frame, none over another, and the frame filled."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.web.page.treemap import Box, squarify

amounts_of_any_size = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40)
frames = st.builds(Box, st.just(0.0), st.just(0.0), st.floats(1, 2000), st.floats(1, 2000))
CLOSE = 1e-6


@given(amounts_of_any_size, frames)
def test_areas_are_as_the_amounts(amounts: list[int], frame: Box) -> None:
    boxes = squarify(sorted(amounts, reverse=True), frame)
    total = sum(amounts)
    for amount, box in zip(sorted(amounts, reverse=True), boxes, strict=True):
        assert box.area == pytest.approx(amount / total * frame.area if total else 0, rel=1e-3, abs=frame.area * CLOSE)


@given(amounts_of_any_size, frames)
def test_all_boxes_are_inside_the_frame_and_none_overlaps(amounts: list[int], frame: Box) -> None:
    boxes = squarify(amounts, frame)
    slack = CLOSE * max(frame.width, frame.height)
    for box in boxes:
        assert box.width >= 0 <= box.height
        assert box.x >= -slack <= box.y
        assert box.x + box.width <= frame.width + slack
        assert box.y + box.height <= frame.height + slack
    for one, other in combinations(boxes, 2):
        across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert across <= slack or down <= slack


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), frames)
def test_the_frame_is_filled(amounts: list[int], frame: Box) -> None:
    assert sum(box.area for box in squarify(amounts, frame)) == pytest.approx(frame.area)


def test_equal_amounts_in_a_square_make_squares() -> None:
    boxes = squarify([1, 1, 1, 1], Box(0, 0, 100, 100))
    assert {(box.width, box.height) for box in boxes} == {(50, 50)}


@pytest.mark.parametrize("amounts", [[], [0], [0, 0], [-1]])
def test_nothing_takes_no_room(amounts: list[int]) -> None:
    assert [box.area for box in squarify(amounts, Box(0, 0, 10, 10))] == [0] * len(amounts)
