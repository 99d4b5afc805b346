"""How a rate comes back: in fixed windows, the throughput intervals; and which counts a report is to give.

Intervals are aligned to the epoch. One ends when the clock passes its end, whether or not a report comes then, or
early by a report in it. A report gives the intervals that ended since the last one; only if there are none does it
end the running one. So a late report takes nothing from a new interval, and none loses or doubles a point.
"""

from __future__ import annotations

from math import floor
from typing import Final, Protocol

from carbonquota.model import Clock

_TOLERANCE: Final = 0.5
"""Seconds that a clock may be moved without being set: it is brought into line bit by bit."""


class ClockWatch:
    """Tells whether a clock was set, by another one that never is."""

    def __init__(self, steady: Clock, now: float) -> None:
        """`steady` gives seconds that never go back; `now` is what the clock says."""
        self._steady = steady
        self._ahead = now - steady()

    def was_set(self, now: float) -> bool:
        """Whether the clock, which says `now`, was set since it was last asked."""
        before, self._ahead = self._ahead, now - self._steady()
        return abs(self._ahead - before) > _TOLERANCE


class Refill(Protocol):
    """When what a rate has used comes back: `quotas.close` is called whenever a window ends. Times are seconds."""

    length: float
    floor: float
    """At times before this, and from `end` on, the running window is over."""
    end: float

    @property
    def start(self) -> float:
        """When the running window began."""

    def is_over(self, now: float) -> bool:
        """Whether the running window has ended by now."""

    def is_near(self, one: float, other: float) -> bool:
        """Whether two boundaries of windows are the same."""

    def advance(self, now: float, *, counted: bool) -> None:
        """Go to the window of `now`; `counted` tells whether the last one has counts that no report gave."""

    def report(self) -> bool:
        """Note a report; whether it ends the running window."""


class FixedWindow:
    """The running interval, of `length` seconds. Times are seconds since the epoch."""

    def __init__(self, length: float, now: float) -> None:
        """Be in the interval that `now` lies in."""
        self.length = length
        self.floor = self.end = 0.0
        self._reported = False
        self._ended = False
        self._begin(now)

    def _begin(self, now: float) -> None:
        """Be in the interval of `now`, of which nothing is reported yet."""
        self.end = (floor(now / self.length) + 1) * self.length
        if self.end <= now:
            # The quotient was rounded down over a boundary.
            self.end += self.length
        # A clock that steps back a little must not end an interval twice; one that was set back must not stop it.
        self.floor = self.end - 2 * self.length
        self._reported = False

    def is_near(self, one: float, other: float) -> bool:
        """Whether two boundaries are the same: they come from sums and differences of lengths that may be fractions."""
        return abs(one - other) < self.length / 4

    @property
    def start(self) -> float:
        """When the running interval began."""
        return self.end - self.length

    def is_over(self, now: float) -> bool:
        """Whether the interval has ended: its end has passed, or `now` lies before its floor."""
        return now >= self.end or now < self.floor

    def advance(self, now: float, *, counted: bool) -> None:
        """Go to the interval of `now`, as the running one is over; `counted` tells whether it has unreported counts.

        An interval that was reported early and counted more since is not reported: the next report gives that rest.
        So a program that always reports in mid-interval does not end an interval each time.
        """
        ended = self.end
        self._ended = self._ended or counted or not self._reported
        self._begin(now)
        # An interval in which nobody called ended all the same; half a length is more than rounding can come to.
        self._ended = self._ended or self.end - self.length > ended + self.length / 2

    def report(self) -> bool:
        """Note a report; whether it ends the running interval because no earlier one is still to be reported."""
        early = not self._ended
        self._ended = False
        self._reported = self._reported or early
        return early
