"""Requests that wait for a change: woken from any thread, each on its own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock


class Waiters:
    """All who wait for one kind of change."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._lock = Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    @contextmanager
    def waiting(self) -> Iterator[Callable[[float], Awaitable[None]]]:
        """Be woken by changes from now on: the value waits for one, for so many seconds at most."""
        event = asyncio.Event()
        entry = asyncio.get_running_loop(), event

        async def changed(seconds: float) -> None:
            """Wait."""
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()

        with self._lock:
            self._waiting.add(entry)
        try:
            yield changed
        finally:
            with self._lock:
                self._waiting.discard(entry)

    def wake(self) -> None:
        """Wake all; from any thread."""
        with self._lock:
            waiting = list(self._waiting)
        for loop, event in waiting:
            # A loop that has ended has nobody who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)
