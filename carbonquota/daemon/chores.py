"""What is to be done again and again: actions repeated on the event loop, and calls that cross between threads.

This is an edge of the process: whatever a chore raises is counted and logged, and the chore goes on at its next time.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import AbstractEventLoop, Task
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress

from carbonquota.service.health import Sample

_log = logging.getLogger(__name__)

Action = Callable[[], Awaitable[object]]
Delay = Callable[[], float]
"""Gives the seconds until an action is due again."""


class Chores:
    """Actions repeated until they are stopped. Used on the loop's thread, `health` on any."""

    def __init__(self) -> None:
        """Start with none."""
        self._tasks: set[Task[None]] = set()
        self._failures: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    def repeat(self, name: str, delay: Delay, action: Action) -> None:
        """Do it each time `delay` seconds have passed since the last time ended, first after `delay`."""
        task = asyncio.get_running_loop().create_task(self._repeat(name, delay, action), name=name)
        self._tasks.add(task)

    async def _repeat(self, name: str, delay: Delay, action: Action) -> None:
        while not await self._is_stopped_within(delay()):
            await self.attempt(name, action)

    async def _is_stopped_within(self, seconds: float) -> bool:
        """Wait so long; whether the chores are stopped meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def attempt(self, name: str, action: Action) -> None:
        """Do it once; what it raises is counted and logged, with where it was raised."""
        try:
            await action()
        except Exception:  # noqa: BLE001 - the edge of the process, where a bug is counted
            self._failures[name] += 1
            _log.exception("%s failed", name)

    async def stop(self) -> None:
        """Begin none of them any more, and wait for those that are under way."""
        # Cancelling them would leave what they do on other threads going on behind our back.
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def health(self) -> Iterator[Sample]:
        """How often each chore failed."""
        for name, failures in self._failures.copy().items():
            yield Sample("internal_errors", failures, name)


class LoopCalls:
    """Calls functions on the event loop's thread for other threads, which wait for them."""

    def __init__(self) -> None:
        """Calls are refused until `begin`."""
        self._loop: AbstractEventLoop | None = None

    def begin(self) -> None:
        """Take calls from now on; to be called on the loop's thread, as `end` is."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """Take none any more."""
        self._loop = None

    def __call__(self, function: Callable[[], None]) -> None:
        """Call it between two callbacks of the loop, and raise what it raises; nothing is done after `end`."""
        loop = self._loop
        if loop is None:
            return
        done: Future[None] = Future()

        def call() -> None:
            try:
                if self._loop is not None:
                    function()
            except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
                done.set_exception(error)
            else:
                done.set_result(None)

        loop.call_soon_threadsafe(call)
        done.result()
