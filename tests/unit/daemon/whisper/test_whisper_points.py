"""Accepted lines to points: columns, the meaning of -1, and what no file can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.daemon.whisper.points import LATEST, Points, read_points

NOW = 1_700_000_000


def read(lines: bytes, points: int) -> tuple[list[tuple[bytes, int, float]], dict[str, int]]:
    found = read_points(lines, points, NOW)
    return list(zip(found.names, found.timestamps, found.values, strict=True)), dict(found.refused)


@pytest.mark.parametrize(
    ("lines", "points"),
    [
        (b"a 1 60\n", [(b"a", 60, 1.0)]),
        (b"a 1 60\r\nb -2.5 61\r\n", [(b"a", 60, 1.0), (b"b", 61, -2.5)]),
        (b"a.b;x=y\t1e3 \t60\n\n", [(b"a.b;x=y", 60, 1000.0)]),
        (b"a 1 60.9\n", [(b"a", 60, 1.0)]),
        (b"a 1 6e1\nb 1 7\n", [(b"a", 60, 1.0), (b"b", 7, 1.0)]),
        (b"a 1 -1\n", [(b"a", NOW, 1.0)]),
        (b"a 1 -1.5\n", [(b"a", NOW, 1.0)]),
        (b"a inf 60\nb -inf 60\n", [(b"a", 60, float("inf")), (b"b", 60, float("-inf"))]),
        (b"a 1 0\nb 1 %d\n" % LATEST, [(b"a", 0, 1.0), (b"b", LATEST, 1.0)]),
        (b"", []),
    ],
)
def test_lines_are_read_in_order(lines: bytes, points: list[tuple[bytes, int, float]]) -> None:
    assert read(lines, len(points)) == (points, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"b nan 60", "nan"),
        (b"b 1 %d" % (LATEST + 1), "timestamp"),
        (b"b 1 -2", "timestamp"),
        (b"b 1 inf", "timestamp"),
        (b"b 1 1e300", "timestamp"),
        (b"b 1 x", "malformed"),
        (b"b x 60", "malformed"),
        (b"b 60", "malformed"),
        (b"b 1 60 1", "malformed"),
    ],
)
def test_what_no_file_can_hold_is_counted_and_its_neighbours_are_kept(line: bytes, reason: str) -> None:
    good = [(b"a", 60, 1.0), (b"c", 61, 2.0)]
    assert read(b"a 1 60\n" + line + b"\nc 2 61\n", 3) == (good, {reason: 1})


@given(
    st.lists(st.sampled_from([b"a 1 60", b"a.b 2 -1", b"a nan 1", b"b 1 2.5", b"c 1 -9", b"d x 1", b"e 1"]), max_size=8)
)
def test_points_and_refusals_together_are_what_was_given(lines: list[bytes]) -> None:
    found: Points = read_points(b"".join(line + b"\n" for line in lines), len(lines), NOW)
    assert len(found.names) + sum(found.refused.values()) == len(lines)
