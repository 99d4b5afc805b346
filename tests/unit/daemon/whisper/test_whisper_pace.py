"""Paces and rests, by a clock that tests move."""

from __future__ import annotations

import pytest

from carbonquota.daemon.whisper.pace import WritePace, WriteRest
from carbonquota.testing import ManualClock


def spend_all(pace: WritePace) -> int:
    spent = 0
    while not pace.delay() and spent < 1000:
        pace.spend()
        spent += 1
    return spent


@pytest.mark.parametrize(
    ("rate", "seconds", "more"), [(10, 0.5, 5), (10, 100, 10), (1, 1, 1), (1, 0.5, 0), (0.5, 2, 1)]
)
def test_a_pace_has_a_seconds_worth_and_fills_evenly(rate: float, seconds: float, more: int) -> None:
    clock = ManualClock(1000)
    pace = WritePace(rate, clock)
    assert spend_all(pace) == max(1, rate)
    clock.advance(seconds)
    assert spend_all(pace) == more


def test_a_pace_tells_when_the_next_is_due() -> None:
    clock = ManualClock(1000)
    pace = WritePace(4, clock)
    spend_all(pace)
    assert pace.delay() == pytest.approx(0.25)


def test_no_pace_is_no_limit() -> None:
    assert spend_all(WritePace(0, ManualClock())) == 1000


def test_a_clock_set_back_stops_no_pace() -> None:
    clock = ManualClock(1000)
    pace = WritePace(1, clock)
    spend_all(pace)
    clock.set(10)
    assert pace.delay() == 1
    clock.advance(1)
    assert pace.delay() == 0


def test_rests_double_up_to_a_minute_and_a_success_ends_them() -> None:
    clock = ManualClock(1000)
    rest = WriteRest(clock)
    lengths = []
    for _ in range(9):
        rest.begin()
        lengths.append(rest.left())
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    rest.end()
    assert rest.left() == 0
    rest.begin()
    assert rest.left() == 1


def test_a_clock_set_back_prolongs_no_rest() -> None:
    clock = ManualClock(1000)
    rest = WriteRest(clock)
    rest.begin()
    clock.set(10)
    assert rest.left() == 0
