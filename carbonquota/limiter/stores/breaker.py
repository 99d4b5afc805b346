"""A circuit breaker: after an error nobody waits for the store, until one call finds it well again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final

_SHORTEST: Final = 0.1
_LONGEST: Final = 2.0


class Breaker:
    """Closed, the store is asked; open, it is not, but for one call every so often."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start closed; `clock` gives seconds that only grow."""
        self._clock = clock
        self._lock = Lock()
        self._wait = 0.0
        self._next = 0.0
        self.opened = 0

    @property
    def is_open(self) -> bool:
        """Whether the last call failed."""
        return self._wait > 0

    def lets(self) -> bool:
        """Whether to ask the store now; where it is open, one call at a time finds out."""
        if not self._wait:
            return True
        with self._lock:
            now = self._clock()
            if now < self._next:
                return False
            self._next = now + self._wait
            return True

    def failed(self) -> None:
        """Note that a call failed: it opens, or waits twice as long."""
        with self._lock:
            if not self._wait:
                self.opened += 1
            self._wait = min(max(self._wait * 2, _SHORTEST), _LONGEST)
            self._next = self._clock() + self._wait

    def succeeded(self) -> None:
        """Note that a call was answered: it closes."""
        if self._wait:
            with self._lock:
                self._wait = 0.0
