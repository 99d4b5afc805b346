"""Tasks that run again and again, whatever they raise; each host brings its own clock and threads.

This is an edge of the process: what a task raises is counted and logged, and the task runs again at its next time.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from carbonquota.service.health import HealthSample

_log = logging.getLogger(__name__)

Action = Callable[[], Awaitable[object]]
Delay = Callable[[], float]
"""Gives the seconds until an action is due again."""


class PeriodicTasks(ABC):
    """The tasks of one host, used on its main thread; `health` may be called from any."""

    def __init__(self) -> None:
        """Start without tasks."""
        self._failures: Counter[str] = Counter()

    @abstractmethod
    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside everything else; `stop` waits for it."""

    @abstractmethod
    async def _wait(self, seconds: float) -> bool:
        """Let so many seconds pass; False, at once, when the tasks are stopped."""

    @abstractmethod
    def in_thread(self, function: Callable[[], object]) -> Awaitable[object]:
        """Call a function that may block on another thread."""

    @abstractmethod
    async def stop(self) -> None:
        """Run no task again, and wait for those that are running."""

    def repeat(self, name: str, delay: Delay, action: Action) -> None:
        """Run it each time `delay` seconds have passed since it last ended, for the first time after `delay`."""
        self._start(name, self._repeat(name, delay, action))

    def run_once(self, name: str, action: Action) -> None:
        """Run it once, now; `stop` waits for it as well."""
        self._start(name, self.attempt(name, action))

    async def attempt(self, name: str, action: Action) -> None:
        """Run it once and wait for it; what it raises is counted and logged."""
        try:
            await action()
        except Exception:  # noqa: BLE001 - the edge of the process, where a bug is counted
            self._failures[name] += 1
            _log.exception("%s failed", name)

    async def _repeat(self, name: str, delay: Delay, action: Action) -> None:
        while await self._wait(delay()):
            await self.attempt(name, action)

    def health(self) -> Iterator[HealthSample]:
        """How often each task failed."""
        for name, failures in self._failures.copy().items():
            yield HealthSample("internal_errors", failures, name)
