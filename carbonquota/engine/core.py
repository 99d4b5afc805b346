"""What every call of an engine stands on: the parts behind one lock, and the clock that ends intervals.

The clock is read under the lock, which is why counts never fall between two intervals.
"""

from __future__ import annotations

import threading
from math import floor, isfinite
from time import time
from typing import Final, get_args

from carbonquota.controls import (
    ClockWatch,
    Decider,
    FixedWindow,
    Refill,
    ThroughputUnit,
    Turn,
    backend_of,
    compiled_rules,
)
from carbonquota.kernel import Lock
from carbonquota.model import Clock, SizeOf, Storable
from carbonquota.rules import RuleSet, Schemas
from carbonquota.trie import Index

TURN: Final = 0.0005
"""Seconds between two stretches: a thread that waits for the lock, asleep, takes some time to wake and have it."""


def _check_settings(interval: float, throughput_unit: ThroughputUnit, max_creates_per_second: int | None) -> None:
    """ValueError says which of an engine's settings is out of range."""
    if not (interval >= 1 and isfinite(interval)):
        raise ValueError(f"the interval must be at least 1 second, not {interval}")
    if throughput_unit not in get_args(ThroughputUnit):
        raise ValueError(f"throughput_unit must be {' or '.join(get_args(ThroughputUnit))}, not {throughput_unit}")
    if max_creates_per_second is not None and max_creates_per_second < 1:
        raise ValueError(f"max_creates_per_second must be at least 1, or None, not {max_creates_per_second}")


class EngineCore:
    """An engine without its calls."""

    def __init__(  # noqa: PLR0913 - all but the rules are named, and have defaults
        self,
        rules: RuleSet,
        *,
        size_of: SizeOf | None = None,
        clock: Clock = time,
        interval: float = 60.0,
        throughput_unit: ThroughputUnit = "interval",
        record_changes: bool = False,
        keep_seen: bool = False,
        max_creates_per_second: int | None = None,
        storable: Storable | None = None,
        prepaid: bool = False,
        hold_new: bool = False,
        steady: Clock | None = None,
    ) -> None:
        """Start without metrics.

        `size_of` gives the size of a new metric (without it: what no schema means, 172,800 points); it is called
        under the engine's lock, so it must be quick and not call the engine. What it says of a metric that is then
        rejected may be remembered until `apply` gives another. `clock` gives the seconds since the
        epoch, `interval` is the length of a report interval in seconds, at least 1, and `throughput_unit` tells whether
        throughput limits are per interval or per minute. `record_changes` is for `take_changes` and `dump`, and
        `keep_seen` for `expire`. `max_creates_per_second`, at least 1, bounds the metrics that offers may create in a
        second of the clock. What is not `storable` is malformed, as nobody is to be charged for what is lost;
        without it the engine knows no store. `prepaid` has throughput limits that reject begin with nothing, until
        `grant` is called. `hold_new` has `admit` and `admit_names` hold new metrics back, for `take_new` of the answer,
        until `admit_new` or `admit_new_names` is called. `steady` gives seconds that never go back: where it is given,
        an interval that begins by the clock's being set begins with nothing of prepaid limits. ValueError says what is
        out of range.
        """
        _check_settings(interval, throughput_unit, max_creates_per_second)
        self._lock = Lock()
        self._reload_lock = threading.Lock()
        self._clock = clock
        self._interval: Refill = FixedWindow(interval, clock())
        self._unit: ThroughputUnit = throughput_unit
        self._rules = rules
        compiled = compiled_rules(rules.rules, interval, throughput_unit)
        self._index = Index(rules.matcher(), compiled, record_changes=record_changes, keep_seen=keep_seen)
        size_of = Schemas.from_text("") if size_of is None else size_of
        self._decider = Decider(self._index, compiled, size_of, max_creates_per_second, storable, hold_new=hold_new)
        self._unclaimed: tuple[list[str], list[str]] | None = None
        self._timed = keep_seen or max_creates_per_second is not None
        if prepaid:
            self._index.quotas.parts = self._index.quotas.next_parts = 0
            self._decider.divide(0)
        self._parts = self._index.quotas.parts
        self._is_shared = prepaid
        self._clock_watch = None if steady is None else ClockWatch(steady, clock())
        turn = Turn(self._lock, clock, clock_is_system=clock is time, begin=self._keep_time)
        self._backend = backend_of(self._decider, turn)
        # Until the clock leaves this stretch, it is the same interval and, where these matter, the same second.
        self._quiet_from, self._quiet_until = 0.0, 0.0

    def _keep_time(self) -> None:
        """End the running interval if its time has passed."""
        if not self._quiet_from <= (now := self._clock()) < self._quiet_until:
            self._turn_to(now)

    def _turn_to(self, now: float) -> None:
        """Have it be another interval, or another second where these matter."""
        interval = self._interval
        if interval.is_over(now):
            self._index.note_absent()
            quotas = self._index.quotas
            expected = interval.end
            interval.advance(now, counted=quotas.have_counts())
            was_set = self._clock_watch is not None and self._clock_watch.was_set(now)
            quotas.close(in_order=interval.is_near(interval.start, expected) and not was_set)
            if quotas.parts != self._parts:
                self._parts = quotas.parts
                self._decider.divide(self._parts)
                self._backend.rebind()
        self._quiet_from, self._quiet_until = interval.floor, interval.end
        if self._timed:
            self._decider.keep_time(now)
            self._quiet_from = max(self._quiet_from, floor(now))
            self._quiet_until = min(self._quiet_until, floor(now) + 1)
        self._backend.set_time(self._quiet_from, self._quiet_until)
