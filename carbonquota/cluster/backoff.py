"""When a store that was away is tried again: after pauses that double, with jitter, lest all nodes come at once."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, wait_exponential


class Backoff:
    """Times in seconds of any clock. The first pause is some 0.2 s, the longest some 5 s."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        """Nothing has failed yet; `jitter` is between 0 and 1, and a pause is by half of itself shorter to longer."""
        self._jitter = jitter
        self._wait = wait_exponential(multiplier=0.2, max=5.0)
        self._failures = RetryCallState(Retrying(), None, (), {})
        self._retry_at = -math.inf

    def is_due(self, now: float) -> bool:
        """Whether it is time to try again."""
        return now >= self._retry_at

    def fail(self, now: float) -> None:
        """It failed: have a pause, longer than the last."""
        self._retry_at = now + self._wait(self._failures) * (0.5 + self._jitter())
        self._failures.attempt_number += 1

    def succeed(self) -> None:
        """It did not: the next pause is a short one again."""
        self._failures.attempt_number = 1
