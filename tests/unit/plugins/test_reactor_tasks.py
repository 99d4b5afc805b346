"""What is repeated on the reactor's clock."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from carbonquota.plugins.service import ReactorTasks


class Action:
    """Counts its calls, and ends each when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.under_way: list[Deferred[None]] = []

    def __call__(self) -> Awaitable[None]:
        self.calls += 1
        self.under_way.append(Deferred())
        return self.under_way[-1]


def stopped(tasks: ReactorTasks) -> Deferred[None]:
    return Deferred.fromCoroutine(tasks.stop())


def ended(done: Deferred[None]) -> bool:
    return bool(done.called)


def test_an_action_is_repeated_so_long_after_it_ended() -> None:
    clock, action = Clock(), Action()
    ReactorTasks(clock).repeat("work", lambda: 5.0, action)
    clock.advance(4.9)
    assert action.calls == 0
    clock.advance(0.1)
    assert action.calls == 1
    clock.advance(100)
    assert action.calls == 1
    action.under_way[0].callback(None)
    clock.advance(5)
    assert action.calls == 2


def test_what_is_overdue_is_done_at_once() -> None:
    clock, action = Clock(), Action()
    ReactorTasks(clock).repeat("work", lambda: -3.0, action)
    clock.advance(0)
    assert action.calls == 1


def test_what_fails_is_counted_and_told_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    tasks = ReactorTasks(clock)

    tasks.repeat("work", lambda: 1.0, lambda: fail(RuntimeError("a bug")))
    with caplog.at_level(logging.ERROR):
        clock.pump([1, 1, 1])
    assert [(sample.stat, sample.label, sample.value) for sample in tasks.health()] == [("internal_errors", "work", 3)]
    assert caplog.messages == ["work failed"] * 3


def test_to_stop_waits_for_what_is_under_way_and_begins_nothing() -> None:
    clock, waiting, working = Clock(), Action(), Action()
    tasks = ReactorTasks(clock)
    tasks.repeat("waiting", lambda: 5.0, waiting)
    tasks.run_once("working", working)
    ending = stopped(tasks)
    assert not ended(ending)
    clock.advance(100)
    assert waiting.calls == 0
    working.under_way[0].callback(None)
    assert ended(ending)
    assert clock.getDelayedCalls() == []


def test_nothing_is_begun_once_stopped() -> None:
    clock = Clock()
    tasks = ReactorTasks(clock)
    assert ended(stopped(tasks))
    action = Action()
    tasks.repeat("work", lambda: 1.0, action)
    clock.advance(10)
    assert action.calls == 0
