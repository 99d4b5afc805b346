"""What is forgotten because it does not send, and that a clock which is set makes nothing be forgotten."""

from __future__ import annotations

import logging

import pytest

from carbonquota import QuotaEngine, RuleSet
from carbonquota.service.expiry import Expiry
from carbonquota.testing import ManualClock

TTL = 3600.0
NOW = 1_700_000_000.0


class Desk:
    """An engine with two clocks: the wall's, which can be set, and one that only runs."""

    def __init__(self) -> None:
        self.wall, self.steady = ManualClock(NOW), ManualClock(500.0)
        self.engine = QuotaEngine(RuleSet.from_text(""), clock=self.wall, keep_seen=True)
        self.expiry = Expiry(self.engine, TTL, self.wall, self.steady)

    def pass_time(self, seconds: float, *sending: str) -> None:
        """Let time pass, minute by minute, while these send and what is due expires."""
        for _ in range(round(seconds / 60)):
            self.wall.advance(60)
            self.steady.advance(60)
            for metric in sending:
                self.engine.offer(metric)
            self.expiry.run()


def test_what_does_not_send_expires_and_what_sends_does_not() -> None:
    desk = Desk()
    desk.engine.offer("gone")
    desk.pass_time(TTL, "sends")
    assert "gone" in desk.engine
    desk.pass_time(120, "sends")
    assert "gone" not in desk.engine
    assert "sends" in desk.engine
    assert [sample.value for sample in desk.expiry.health()] == [1]


def test_a_clock_that_is_set_forward_expires_nothing_that_still_sends(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    for metric in ("gone", "rare"):
        desk.engine.offer(metric)
    desk.pass_time(600)
    desk.wall.advance(1_000_000)
    desk.pass_time(1800)
    assert len(desk.engine) == 2
    desk.engine.offer("rare")
    desk.pass_time(1860)
    assert "gone" not in desk.engine
    assert "rare" in desk.engine
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the clock was set forward by 1000000 s: for 3600 s no metric counts as gone because it does not send"
    ]


def test_a_clock_that_is_set_forward_and_back_again_expires_nothing_that_sends() -> None:
    desk = Desk()
    desk.pass_time(600, "sends")
    desk.wall.advance(1_000_000)
    desk.pass_time(600, "sends")
    desk.wall.advance(-1_000_000)
    desk.pass_time(3 * TTL, "sends")
    assert "sends" in desk.engine
