"""Tasks that run again and again on the event loop, and calls that cross from other threads to it."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Task
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from carbonquota.service.periodic_tasks import PeriodicTasks


class LoopTasks(PeriodicTasks):
    """Periodic tasks on asyncio's event loop."""

    def __init__(self) -> None:
        """Start without tasks."""
        super().__init__()
        self._tasks: set[Task[None]] = set()
        self._stopping = asyncio.Event()

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work, name=name))

    async def _wait(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return not self._stopping.is_set()

    def in_thread(self, function: Callable[[], object]) -> Awaitable[object]:
        """Call it on a thread of the loop's executor."""
        return asyncio.to_thread(function)

    async def stop(self) -> None:
        """Run no task again, and wait for those that are running."""
        # Cancelling them would leave running what they do on other threads.
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


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
