"""The counters of this process: the compiled ones where they were built, unless the plain kernel is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from carbonquota.kernel import COMPILED
from carbonquota.limiter.abuse import Bans, Brownout, Counts
from carbonquota.limiter.charge import Counters
from carbonquota.limiter.model import Answer, Entry, Request
from carbonquota.limiter.reference import PlainCounters
from carbonquota.limiter.rules import Domain, DomainRules
from carbonquota.model import Clock

MOST_KEYS: Final = 1_000_000
"""Keys that are held if nobody says otherwise: 59 MB, which are touched as they fill."""


def local_counters(clock: Clock = time.time, most: int = MOST_KEYS) -> Counters:
    """Counters of `most` keys; `clock` gives seconds since the epoch."""
    if not COMPILED:
        return PlainCounters(clock, most)
    from carbonquota.limiter.native import NativeCounters  # noqa: PLC0415 - only where it was built

    return NativeCounters(clock, most, is_system_clock=clock is time.time)


class RuleDecider(Protocol):
    """Decides by rules in one step, where it can, and has all else decided in several."""

    def apply(self, rules: DomainRules) -> None:
        """Decide by these rules from here on."""

    def check(self, request: Request) -> Answer:
        """The answer to a request, which is counted."""

    def check_one(self, domain: str, entries: tuple[Entry, ...], hits: int = 1) -> Answer:
        """The same for a request with one descriptor."""

    def allows(self, domain: str, entries: tuple[Entry, ...], hits: int = 1) -> bool:
        """Whether such a request passes; it is counted as well."""


def make_counts() -> Counts:
    """Counts that a `RuleDecider` can add to."""
    if not COMPILED:
        return Counts()
    from carbonquota.limiter.native import Tally  # noqa: PLC0415 - only where it was built

    return Counts(Tally)


def make_decider(
    counters: Counters,
    counts: Counts,
    bans: Bans,
    brownout: Brownout,
    refused: Callable[[Domain, Request], object],
    in_steps: Callable[[Request], Answer],
) -> RuleDecider | None:
    """What decides in one step on the compiled counters; None on all others.

    `refused` is told who did not pass, and `in_steps` decides on what is too rare for one step.
    """
    if not COMPILED:
        return None
    from carbonquota.limiter.native import NativeCounters, RuleDecider  # noqa: PLC0415 - only where it was built

    if not isinstance(counters, NativeCounters):
        return None
    return RuleDecider(counters.table, counts.tally, refused, bans.denied, brownout, in_steps)
