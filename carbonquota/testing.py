"""What tests of quota code need: a clock that moves only when told."""

from __future__ import annotations


class ManualClock:
    """A clock for tests: calling it gives the seconds set last, so nothing ever has to sleep."""

    def __init__(self, now: float = 0.0) -> None:
        """Start at `now`, in seconds since the epoch."""
        self._now = now

    def __call__(self) -> float:
        """The seconds since the epoch that the clock shows."""
        return self._now

    def now(self) -> float:
        """The same as calling the clock."""
        return self._now

    def set(self, now: float) -> None:
        """Show `now` from here on; it may lie in the past."""
        self._now = now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self._now += seconds
