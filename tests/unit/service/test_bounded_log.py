"""What happens again and again is logged at once, and then now and then with how often it was."""

from __future__ import annotations

import logging

import pytest

from carbonquota.service.bounded_log import BoundedLog
from carbonquota.testing import ManualClock

LOGGER = logging.getLogger("tests.bounded")


def test_the_first_of_each_key_at_once_and_then_one_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(100.0)
    bounded = BoundedLog(LOGGER, clock, every=10.0)
    for number in range(5):
        bounded.warning("a", "a broke: %d", number)
        bounded.warning("b", "100%% of b broke: %d", number)
    clock.advance(9.9)
    bounded.warning("a", "a broke: %d", 5)
    clock.advance(0.1)
    bounded.warning("a", "a broke: %d", 6)
    bounded.warning("a", "a broke: %d", 7)
    clock.advance(10)
    bounded.warning("b", "100%% of b broke: %d", 5)
    assert caplog.messages == [
        "a broke: 0",
        "100% of b broke: 0",
        "a broke: 6 (and 5 more since the last such line)",
        "100% of b broke: 5 (and 4 more since the last such line)",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def divide(number: int, by: int) -> int:
    return number // by


def test_an_exception_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    bounded = BoundedLog(LOGGER, ManualClock())
    for _ in range(2):
        try:
            divide(1, 0)
        except ZeroDivisionError:
            bounded.exception("bug", "internal error: %s", "here")
    assert caplog.messages == ["internal error: here"]
    assert caplog.records[0].levelname == "ERROR"
    assert "ZeroDivisionError: integer division or modulo by zero" in caplog.text


def test_keys_without_end_take_no_memory_without_end(caplog: pytest.LogCaptureFixture) -> None:
    bounded = BoundedLog(LOGGER, ManualClock())
    for number in range(1500):
        bounded.warning(f"sender {number}", "broke")
    assert len(caplog.messages) == 1500
    bounded.warning("sender 1499", "broke")
    assert len(caplog.messages) == 1500
    bounded.warning("sender 0", "broke")
    assert len(caplog.messages) == 1501
