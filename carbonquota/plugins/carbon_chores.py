"""What is to be done again and again, on twisted's clock.

An edge of the process: whatever a chore raises is counted and logged, and the chore goes on at its next time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater

from carbonquota.service.health import Sample

_log = logging.getLogger(__name__)

Reactor = Any
"""A reactor of twisted, or a clock of it; their interfaces tell type checkers nothing."""

Action = Callable[[], Awaitable[object]]
Delay = Callable[[], float]
"""Gives the seconds until an action is due again."""


class ReactorChores:
    """Actions repeated until they are stopped. Used on the reactor's thread, `health` on any."""

    def __init__(self, clock: Reactor) -> None:
        """Start with none; `clock` is a reactor."""
        self._clock = clock
        self._runs: list[Deferred[None]] = []
        self._waits: set[Deferred[None]] = set()
        self._failures: Counter[str] = Counter()
        self._is_stopping = False

    def repeat(self, name: str, delay: Delay, action: Action) -> None:
        """Do it each time `delay` seconds have passed since the last time ended, first after `delay`."""
        self._runs.append(Deferred.fromCoroutine(self._repeat(name, delay, action)))

    def begin(self, name: str, action: Action) -> None:
        """Do it once, now; `stop` waits for it as well."""
        self._runs.append(Deferred.fromCoroutine(self._attempt(name, action)))

    async def _repeat(self, name: str, delay: Delay, action: Action) -> None:
        while await self._wait(delay()):
            await self._attempt(name, action)

    async def _wait(self, seconds: float) -> bool:
        """Let so many seconds pass; whether the chores go on."""
        if self._is_stopping:
            return False
        wait: Deferred[None] = deferLater(self._clock, max(seconds, 0.0))
        self._waits.add(wait)
        with suppress(CancelledError):
            await wait
        self._waits.discard(wait)
        return not self._is_stopping

    async def _attempt(self, name: str, action: Action) -> None:
        """Do it once; what it raises is counted and logged, with where it was raised."""
        try:
            await action()
        except Exception:  # noqa: BLE001 - the edge of the process, where a bug is counted
            self._failures[name] += 1
            _log.exception("%s failed", name)

    async def stop(self) -> None:
        """Begin none of them any more, and wait for those that are under way."""
        self._is_stopping = True
        for wait in tuple(self._waits):
            wait.cancel()
        await DeferredList(self._runs)

    def health(self) -> Iterator[Sample]:
        """How often each chore failed."""
        for name, failures in self._failures.copy().items():
            yield Sample("internal_errors", failures, name)
