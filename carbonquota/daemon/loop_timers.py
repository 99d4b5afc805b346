"""Timers of an event loop, for what waits for a shared limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress


class LoopTimers:
    """Those of the loop that runs when the first is set."""

    def __init__(self) -> None:
        """No loop is known yet."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def after(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        """Call it then; gives what cancels that. For the loop's thread."""
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop.call_later(seconds, call).cancel

    def soon(self, call: Callable[[], object]) -> None:
        """Call it, unless the loop has ended; for any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call)
