"""Throughput intervals: when one ends, and which counts a report is to give."""

from __future__ import annotations

import pytest

from carbonquota.controls import FixedWindow


@pytest.mark.parametrize(
    ("length", "now", "end"),
    [
        (60.0, 0.0, 60.0),
        (60.0, 59.999, 60.0),
        (60.0, 60.0, 120.0),
        (60.0, 1_700_000_001.5, 1_700_000_040.0),
        (10.0, 25.0, 30.0),
        (90.0, 100.0, 180.0),
        (1.5, 1.5, 3.0),
        (86400.0, 100_000.0, 172_800.0),
        (60.0, -1.0, 0.0),
    ],
)
def test_an_interval_is_aligned_to_the_epoch(length: float, now: float, end: float) -> None:
    interval = FixedWindow(length, now)
    assert interval.end == end
    assert not interval.is_over(now)
    assert not interval.is_over(end - length)
    assert interval.is_over(end)


@pytest.mark.parametrize("length", [1.0, 1.1, 1.3, 2.7, 7.3, 59.9, 90.1, 1000 / 3])
def test_no_interval_is_over_as_it_begins(length: float) -> None:
    for now in (start * length for start in (*range(3000), 10**7, 10**7 + 1, 10**9 + 7)):
        interval = FixedWindow(length, now)
        assert not interval.is_over(now)
        assert interval.end - now < length * 1.001


@pytest.mark.parametrize(
    ("now", "over"),
    [
        (119.0, False),
        (119.999, False),
        (120.0, True),
        (120.001, True),
        (100_000.0, True),
        (60.0, False),
        (59.0, False),
        (0.5, False),
        (0.0, False),
        (-0.5, True),
        (-100_000.0, True),
    ],
)
def test_a_clock_that_steps_back_a_little_ends_nothing_but_one_set_back_does(now: float, over: bool) -> None:
    assert FixedWindow(60.0, 90.0).is_over(now) == over


@pytest.mark.parametrize("now", [200.0, 6000.0, -500.0])
def test_after_an_advance_the_interval_is_that_of_the_clock(now: float) -> None:
    interval = FixedWindow(60.0, 90.0)
    interval.advance(now, counted=False)
    assert not interval.is_over(now)
    assert interval.end == FixedWindow(60.0, now).end


REPORT_ENDS, REPORT_ENDS_NOT = "a report that ends the running interval", "a report of ended intervals alone"
ENDS_COUNTED, ENDS = "the interval ends with counts not reported", "the interval ends, nothing counted since a report"


@pytest.mark.parametrize(
    "story",
    [
        [REPORT_ENDS],
        [REPORT_ENDS, REPORT_ENDS, REPORT_ENDS],
        [ENDS_COUNTED, REPORT_ENDS_NOT],
        [ENDS, REPORT_ENDS_NOT],
        [ENDS_COUNTED, REPORT_ENDS_NOT, REPORT_ENDS],
        [ENDS_COUNTED, ENDS_COUNTED, ENDS, REPORT_ENDS_NOT, REPORT_ENDS],
        [REPORT_ENDS, ENDS, REPORT_ENDS],
        [REPORT_ENDS, ENDS, REPORT_ENDS, ENDS, REPORT_ENDS],
        [REPORT_ENDS, ENDS_COUNTED, REPORT_ENDS_NOT],
        [REPORT_ENDS, ENDS_COUNTED, REPORT_ENDS_NOT, ENDS_COUNTED, REPORT_ENDS_NOT],
        [REPORT_ENDS, ENDS_COUNTED, REPORT_ENDS_NOT, REPORT_ENDS, ENDS, REPORT_ENDS],
        [REPORT_ENDS, ENDS, ENDS, REPORT_ENDS_NOT],
        [REPORT_ENDS, ENDS, ENDS_COUNTED, REPORT_ENDS_NOT, REPORT_ENDS],
        [ENDS, REPORT_ENDS_NOT, ENDS, REPORT_ENDS_NOT],
    ],
)
def test_a_report_ends_the_running_interval_only_if_none_waits_for_one(story: list[str]) -> None:
    interval = FixedWindow(60.0, 0.0)
    told = []
    for step in story:
        if step in {ENDS, ENDS_COUNTED}:
            interval.advance(interval.end, counted=step == ENDS_COUNTED)
            told.append(step)
        else:
            told.append(REPORT_ENDS if interval.report() else REPORT_ENDS_NOT)
    assert told == story


def test_a_clock_set_back_ends_the_interval_that_was_running_once() -> None:
    interval = FixedWindow(60.0, 1000.0)
    interval.advance(100.0, counted=True)
    assert not any(interval.is_over(now) for now in (100.0, 119.0, 60.0, 0.0))
    assert not interval.report(), "the one that was running when the clock was set back is to be reported"
    assert interval.report()


def test_an_interval_that_passed_without_a_call_is_still_to_be_reported() -> None:
    called, quiet = FixedWindow(60.0, 0.0), FixedWindow(60.0, 0.0)
    for interval in (called, quiet):
        assert interval.report()
    called.advance(60.0, counted=False)
    for interval in (called, quiet):
        interval.advance(120.0, counted=False)
        assert not interval.report()
        assert interval.report()
