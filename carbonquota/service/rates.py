"""What came in and what became of it over the last hour: counters looked at every few seconds, kept as rates.

Bounds: `MOST` looks at a few numbers each, some 30 KB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import Final

from carbonquota.model import Clock
from carbonquota.service.health import HealthSample

EVERY: Final = 10.0
"""Seconds between two looks."""
MOST: Final = 361
"""Looks that are kept: an hour of them."""

COUNTERS: Final = ("received", "accepted", "dropped", "malformed")
"""The counters of health that are kept, each summed over its labels."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Data points a second by counter, each value being the mean since the look before; `times` are their ends."""

    times: tuple[float, ...]
    per_second: dict[str, tuple[float, ...]]


class RateHistory:
    """The last looks at the counters. `look` is for one thread at a time, all else for any."""

    def __init__(self, samples: Callable[[], Iterable[HealthSample]], clock: Clock, most: int = MOST) -> None:
        """Look at `samples`, by `clock` in seconds since the epoch."""
        self._samples = samples
        self._clock = clock
        self._looks: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=most)
        self._lock = Lock()

    def look(self) -> None:
        """Note how the counters stand."""
        sums = dict.fromkeys(COUNTERS, 0.0)
        for sample in self._samples():
            if sample.stat in sums:
                sums[sample.stat] += sample.value
        with self._lock:
            self._looks.append((self._clock(), tuple(sums.values())))

    def rates(self) -> Rates:
        """What was counted between each two looks, per second; none where the clock did not go on."""
        with self._lock:
            looks = list(self._looks)
        steps = [(before, after) for before, after in pairwise(looks) if after[0] > before[0]]
        times = tuple(after[0] for _, after in steps)
        columns = {
            name: tuple(max(after[1][at] - before[1][at], 0.0) / (after[0] - before[0]) for before, after in steps)
            for at, name in enumerate(COUNTERS)
        }
        return Rates(times, columns)
