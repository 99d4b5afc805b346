"""Brownout: all limits of a tier multiplied, until a time, when a service cannot bear what it usually does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from threading import Lock
from typing import Final

from carbonquota.limiter.algorithms import scaled
from carbonquota.limiter.rules.model import CompiledLimit
from carbonquota.limiter.stats import Sample
from carbonquota.model import Clock

ALL: Final = "*"
"""Every tier, and requests without one, where a tier has no switch of its own."""


@dataclass(frozen=True, slots=True)
class Dimming:
    """The limits of a tier are multiplied by a factor until a time, in seconds since the epoch."""

    tier: str
    factor: Fraction
    until: float


class Brownout:
    """The switches that are on. Safe to use from any thread."""

    def __init__(self, clock: Clock) -> None:
        """None is."""
        self._clock = clock
        self._lock = Lock()
        self._tell: list[Callable[[str, Dimming | None], object]] = []
        self.switches: dict[str, Dimming] = {}
        """By tier, to be read alone."""
        self._scaled: dict[tuple[CompiledLimit, Fraction], CompiledLimit] = {}

    def set(self, tier: str, factor: Fraction | float, seconds: float) -> Dimming:
        """Multiply the limits of a tier, `*` for all, by a factor of 0 to 10 for a while; ValueError for another."""
        exact = Fraction(factor).limit_denominator(1_000)
        if not 0 <= exact <= 10 or not seconds > 0:
            raise ValueError(f"a brownout has a factor from 0 to 10, and seconds above 0, not {factor} for {seconds} s")
        dimming = Dimming(tier, exact, self._clock() + seconds)
        with self._lock:
            self.switches[tier] = dimming
        self._note(tier, dimming)
        return dimming

    def listen(self, tell: Callable[[str, Dimming | None], object]) -> None:
        """Call `tell` with each tier that is dimmed, or is no more."""
        self._tell.append(tell)

    def take_over(self, switches: Mapping[str, Dimming], own: frozenset[str]) -> None:
        """Have the switches of other limiters on, and no others but those of `own`; nobody is told."""
        with self._lock:
            for tier in [tier for tier in self.switches if tier not in switches and tier not in own]:
                del self.switches[tier]
            for tier, dimming in switches.items():
                if tier not in own:
                    self.switches[tier] = dimming

    def _note(self, tier: str, dimming: Dimming | None) -> None:
        for tell in self._tell:
            tell(tier, dimming)

    def lift(self, tier: str) -> bool:
        """Have a tier's limits be as its rules say; False where they were."""
        with self._lock:
            was = self.switches.pop(tier, None) is not None
        if was:
            self._note(tier, None)
        return was

    def listed(self) -> list[Dimming]:
        """The switches that are on now."""
        now = self._clock()
        with self._lock:
            return [one for one in self.switches.values() if one.until > now]

    def factor(self, tier: str) -> Fraction | None:
        """By what the limits of a tier are multiplied now; None where they are as its rules say."""
        if not self.switches:
            return None
        found = self.switches.get(tier) or self.switches.get(ALL)
        if found is None:
            return None
        if found.until <= self._clock():
            self.lift(found.tier)
            return self.factor(tier)
        return found.factor

    def dimmed(self, grant: CompiledLimit, factor: Fraction) -> CompiledLimit:
        """A limit multiplied."""
        key = (grant, factor)
        found = self._scaled.get(key)
        if found is None:
            if len(self._scaled) > 10_000:
                self._scaled = {}
            limit = replace(grant.limit, requests=int(grant.limit.requests * factor))
            found = self._scaled[key] = replace(grant, limit=limit, policy=scaled(grant.policy, factor))
        return found

    def samples(self) -> Iterator[Sample]:
        """The factor of each switch that is on."""
        for one in self.listed():
            yield Sample("limiter_brownout", float(one.factor), (one.tier,))
