"""Metrics that were not seen for long stop counting; a clock that is set forward is no such time.

When metrics were last seen is known by the wall clock, which an operator, a time server or a machine that wakes up may
set forward by hours at once: then all metrics look as if they had not sent for so long. So the wall clock is held
against one that only runs. After a jump nothing expires for a whole `ttl` of that one, in which every metric that still
sends is seen again. A clock that is set back makes metrics only last longer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Lock
from time import monotonic
from typing import Final, Protocol

from carbonquota.model import Clock
from carbonquota.service.health import HealthSample

_log = logging.getLogger(__name__)

_SHARE: Final = 10
"""A jump counts from this part of the time to live on; each one less may only expire a metric that much too early."""


_LEAST: Final = 1.0
"""The seconds that a jump has at least: the two clocks are not read at the very same moment."""


class ExpiringIndex(Protocol):
    """As much of `QuotaEngine` as expiry needs."""

    def expire(self, before: float) -> list[str]:
        """Take some of the metrics out that were last seen before this time."""


class Expiry:
    """Has metrics that were not seen for long count no more. May be used from any thread."""

    def __init__(self, engine: ExpiringIndex, ttl: float, clock: Clock, steady: Clock = monotonic) -> None:
        """`ttl` is how long, in seconds; `clock` gives seconds since the epoch, `steady` seconds that only run."""
        self._engine = engine
        self._ttl = ttl
        self._clock = clock
        self._steady = steady
        self._lock = Lock()
        self._ahead = clock() - steady()
        self._rests_until = float("-inf")
        self._expired = 0

    def is_clock_trusted(self) -> bool:
        """Whether the clock has not been set forward a short while ago, so that times can be held against it."""
        if not self._ttl:
            return True
        with self._lock:
            steady = self._steady()
            ahead = self._clock() - steady
            jump, self._ahead = ahead - self._ahead, ahead
            if jump > max(self._ttl / _SHARE, _LEAST):
                self._rests_until = steady + self._ttl
                _log.warning(
                    "the clock was set forward by %d s: for %d s no metric counts as gone because it does not send",
                    round(jump),
                    round(self._ttl),
                )
            return steady >= self._rests_until

    def run(self) -> None:
        """Take out all that are due; may take long."""
        if not self.is_clock_trusted():
            return
        before = self._clock() - self._ttl
        while gone := self._engine.expire(before):
            self._expired += len(gone)

    def health(self) -> Iterator[HealthSample]:
        """How many there were."""
        yield HealthSample("expired", self._expired)
