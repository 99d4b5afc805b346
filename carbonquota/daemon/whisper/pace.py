"""How often: so many a second at most, and rests that grow with every failure. Both by a clock that may be set back."""

from __future__ import annotations

from typing import Final

from carbonquota.model import Clock

LONGEST_REST: Final = 60.0
"""Seconds that a rest grows to, from 1 s, doubling."""


class WritePace:
    """So many a second at most, a second's worth at once; a rate of 0 is no limit."""

    def __init__(self, rate: float, clock: Clock) -> None:
        """Start with a second's worth."""
        self._rate = rate
        self._clock = clock
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._filled_at = clock()

    def delay(self) -> float:
        """The seconds until the next one is due, 0 for now."""
        if not self._rate:
            return 0.0
        now = self._clock()
        elapsed = max(0.0, now - self._filled_at)
        self._filled_at = now
        self._tokens = min(self._capacity, self._tokens + elapsed * self._rate)
        return max(0.0, 1 - self._tokens) / self._rate

    def spend(self) -> None:
        """Count one."""
        self._tokens -= 1


def rest_after(failures: int) -> float:
    """The seconds to rest after so many failures in a row, the first being 1."""
    return min(LONGEST_REST, 2.0 ** min(failures - 1, 10))


class WriteRest:
    """A rest after failures in a row: none after a success."""

    def __init__(self, clock: Clock) -> None:
        """Start without a failure."""
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def begin(self, longest: float = LONGEST_REST) -> None:
        """Rest, for twice as long as the last time if nothing succeeded since, but no longer than so many seconds."""
        self._failures += 1
        self._until = self._clock() + min(rest_after(self._failures), longest)

    def end(self) -> None:
        """There was a success."""
        self._failures = 0
        self._until = 0.0

    def left(self) -> float:
        """The seconds that it still lasts, 0 if none."""
        left = self._until - self._clock()
        # A longer one than there is means that the clock was set back.
        return left if 0 < left <= LONGEST_REST else 0.0
