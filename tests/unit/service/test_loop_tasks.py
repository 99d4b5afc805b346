"""Periodic tasks go on whatever they raise, end when they are told to, and cross between threads safely."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

import pytest

from carbonquota.service.health import HealthSample
from carbonquota.service.loop_tasks import LoopCalls, LoopTasks

PATIENCE = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and not for ever."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0)


def test_an_action_that_raises_is_counted_told_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    done = 0

    async def action() -> None:
        nonlocal done
        done += 1
        if done < 3:
            raise RuntimeError(f"broken {done}")

    async def live() -> list[HealthSample]:
        tasks = LoopTasks()
        tasks.repeat("polishing", lambda: 0.0, action)
        await until(lambda: done >= 5)
        await tasks.stop()
        return list(tasks.health())

    assert asyncio.run(live()) == [HealthSample("internal_errors", 2, "polishing")]
    assert [(record.getMessage(), record.levelno) for record in caplog.records] == [
        ("polishing failed", logging.ERROR)
    ] * 2
    assert "RuntimeError: broken 1" in caplog.text


def test_one_task_that_raises_does_not_hold_up_another() -> None:
    done: list[str] = []

    async def fails() -> None:
        done.append("fails")
        raise ValueError

    async def works() -> None:
        done.append("works")

    async def live() -> None:
        tasks = LoopTasks()
        tasks.repeat("one", lambda: 0.0, fails)
        tasks.repeat("two", lambda: 0.0, works)
        await until(lambda: min(done.count("fails"), done.count("works")) >= 3)
        await tasks.stop()
        assert [sample.label for sample in tasks.health()] == ["one"]

    asyncio.run(live())


def test_the_delay_is_asked_for_each_time_and_comes_first() -> None:
    order: list[str] = []
    delays = iter([0.0, 0.0, 3600.0])

    def delay() -> float:
        order.append("delay")
        return next(delays)

    async def action() -> None:
        order.append("action")

    async def live() -> None:
        tasks = LoopTasks()
        tasks.repeat("it", delay, action)
        await until(lambda: len(order) == 5)
        await tasks.stop()

    asyncio.run(live())
    assert order == ["delay", "action", "delay", "action", "delay"]


def test_stop_waits_for_what_is_under_way_on_another_thread_and_begins_nothing() -> None:
    begun, may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        begun.set()
        assert may_end.wait(PATIENCE)
        order.append("work done")

    async def report() -> None:
        await asyncio.to_thread(work)
        order.append("given on")

    async def never() -> None:
        order.append("never")

    async def live() -> None:
        tasks = LoopTasks()
        tasks.repeat("report", lambda: 0.0, report)
        tasks.repeat("late", lambda: 3600.0, never)
        await until(begun.is_set)
        stopping = asyncio.create_task(tasks.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        may_end.set()
        await asyncio.wait_for(stopping, PATIENCE)
        order.append("stopped")
        await tasks.stop()

    asyncio.run(live())
    assert order == ["work done", "given on", "stopped"]


def test_an_attempt_of_something_that_fails_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OSError(5, "Input/output error")

    async def live() -> list[HealthSample]:
        tasks = LoopTasks()
        await tasks.attempt("closing the sink", fail)
        await tasks.attempt("closing the sink", fail)
        return list(tasks.health())

    assert asyncio.run(live()) == [HealthSample("internal_errors", 2, "closing the sink")]
    assert caplog.messages == ["closing the sink failed"] * 2


def in_thread(use: Callable[[LoopCalls], Awaitable[None]]) -> None:
    """Use calls that have begun on a loop."""

    async def live() -> None:
        calls = LoopCalls()
        calls.begin()
        await asyncio.wait_for(use(calls), PATIENCE)

    asyncio.run(live())


def test_a_call_is_done_on_the_loops_thread_and_waited_for() -> None:
    async def use(calls: LoopCalls) -> None:
        seen: list[int] = []

        def call() -> list[int]:
            calls(lambda: seen.append(threading.get_ident()))
            return list(seen)

        assert await asyncio.to_thread(call) == [threading.get_ident()]

    in_thread(use)


def test_what_a_call_raises_is_raised_where_it_was_asked_for() -> None:
    async def use(calls: LoopCalls) -> None:
        def fail() -> None:
            raise ValueError("of the function")

        with pytest.raises(ValueError, match=r"^of the function$"):
            await asyncio.to_thread(calls, fail)
        done: list[int] = []
        await asyncio.to_thread(calls, lambda: done.append(1))
        assert done == [1]

    in_thread(use)


@pytest.mark.parametrize("has_begun", [False, True])
def test_before_the_beginning_and_after_the_end_nothing_is_called_and_nobody_waits(has_begun: bool) -> None:
    done: list[int] = []

    async def live() -> None:
        calls = LoopCalls()
        if has_begun:
            calls.begin()
            calls.end()
        await asyncio.wait_for(asyncio.to_thread(calls, lambda: done.append(1)), PATIENCE)

    asyncio.run(live())
    assert done == []


def test_a_call_that_the_end_overtakes_returns_without_doing_anything() -> None:
    done: list[int] = []

    async def use(calls: LoopCalls) -> None:
        thread = threading.Thread(target=calls, args=(lambda: done.append(1),))
        loop = asyncio.get_running_loop()
        handed_over = threading.Event()
        hand_over = loop.call_soon_threadsafe

        def watch(*arguments: object) -> object:
            handle = hand_over(*arguments)  # type: ignore[arg-type]
            handed_over.set()
            return handle

        loop.call_soon_threadsafe = watch  # type: ignore[method-assign, assignment]
        thread.start()
        # The loop stands still here, so that the call waits to be done when the end comes.
        assert handed_over.wait(PATIENCE)
        calls.end()
        await until(lambda: not thread.is_alive())

    in_thread(use)
    assert done == []
