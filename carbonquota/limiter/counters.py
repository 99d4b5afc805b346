"""The counters of this process: the compiled ones where they were built, unless the plain kernel is asked for."""

from __future__ import annotations

import time
from typing import Final

from carbonquota.kernel import COMPILED
from carbonquota.limiter.charge import Counters
from carbonquota.limiter.reference import PlainCounters
from carbonquota.model import Clock

MOST_KEYS: Final = 1_000_000
"""Keys that are held if nobody says otherwise: 59 MB, which are touched as they fill."""


def local_counters(clock: Clock = time.time, most: int = MOST_KEYS) -> Counters:
    """Counters of `most` keys; `clock` gives seconds since the epoch."""
    if not COMPILED:
        return PlainCounters(clock, most)
    from carbonquota.limiter.native import NativeCounters  # noqa: PLC0415 - only where it was built

    return NativeCounters(clock, most, is_system_clock=clock is time.time)
