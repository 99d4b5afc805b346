"""Whether the event loop turns: all traffic is decided on it, so a daemon whose loop stands is none.

Theory of operation. The loop notes the time twice a second. Other threads look at how long ago that was: HTTP for
`/health`, scrapes for the metric. What tells systemd's watchdog is the loop itself, which is how systemd notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from carbonquota.service.health import HealthSample

BEAT: Final = 0.5
"""Seconds between two notes."""
STALL: Final = 1.0
"""Seconds without a turn that count as a stall."""
FAILING: Final = 30.0
"""Seconds without a turn after which only a restart is likely to help."""


class LoopWatch:
    """Knows when the event loop last turned. `begin` and `end` are for the loop's thread, all else is for any."""

    def __init__(self, clock: Callable[[], float], on_beat: Callable[[], None]) -> None:
        """`clock` gives seconds that never go back; `on_beat` is called at each note, on the loop's thread."""
        self._clock = clock
        self._on_beat = on_beat
        self._turned = clock()
        self._stalls = 0
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Note the time from now on."""
        self._turned = self._clock()
        self._beat(asyncio.get_running_loop())

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        self._stalls += now - self._turned >= STALL
        self._turned = now
        self._next = loop.call_later(BEAT, self._beat, loop)
        self._on_beat()

    def end(self) -> None:
        """Note it no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    @property
    def lag(self) -> float:
        """The seconds since it last turned; 0 before the first and after the last note."""
        return self._clock() - self._turned if self._next is not None else 0.0

    @property
    def failing(self) -> tuple[str, ...]:
        """Why the daemon should be restarted, one line; nothing where the loop turns."""
        lag = self.lag
        return (f"the event loop has not turned for {lag:.0f} s: no data point is read",) if lag > FAILING else ()

    def health(self) -> Iterator[HealthSample]:
        """The time since the last turn, and how often that was long."""
        yield HealthSample("event_loop_lag_seconds", self.lag)
        yield HealthSample("event_loop_stalls", self._stalls)
