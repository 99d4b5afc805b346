"""What a limit comes to for an algorithm, in whole numbers that the compiled counters and the store hold exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction
from math import gcd
from typing import Final, NamedTuple

NEVER: Final = -1
"""The microseconds to wait where waiting does not help."""

_MOST: Final = 2**52
"""The store counts in doubles; a level stays well below what these hold exactly."""

MOST_LEVEL: Final = 2**53
"""What a bucket's level never passes: a bucket that takes over the hits of a much faster one is twice full at most."""

SLOTS: Final = 6
"""Parts of a sliding window. So many whole ones and the running one are counted: a window and up to a sixth."""

State = tuple[int, ...]
"""What is kept of a key; each algorithm says what the numbers are."""


class Algorithm(IntEnum):
    """How requests are counted; the values are those that the compiled counters and the store know them by."""

    TOKEN_BUCKET = 1
    FIXED_WINDOW = 2
    SLIDING_WINDOW = 3
    CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class Policy:
    """A limit made ready for its algorithm; `policy_of` makes them.

    token bucket: a hit adds `per_hit` to a level, which falls by `rate` each microsecond and may reach `capacity`.
    windows: `capacity` hits in `per_hit` microseconds, which is the length of a window, or of one slot of it.
    concurrency: `capacity` requests in flight, each for `per_hit` microseconds at most.
    """

    algorithm: Algorithm
    capacity: int
    per_hit: int
    rate: int = 1

    @property
    def most(self) -> int:
        """How many hits fit at once, into a state that is new."""
        return self.capacity // self.per_hit if self.algorithm is Algorithm.TOKEN_BUCKET else self.capacity


class Outcome(NamedTuple):
    """Whether hits fit, how many more do now, and the microseconds until all is free, and until they would fit."""

    fits: bool
    remaining: int
    reset: int
    retry: int


def passed(remaining: int, reset: int) -> Outcome:
    """Hits that fit."""
    return Outcome(fits=True, remaining=remaining, reset=reset, retry=0)


def refused(remaining: int, reset: int, retry: int) -> Outcome:
    """Hits that do not fit."""
    return Outcome(fits=False, remaining=remaining, reset=reset, retry=retry)


def policy_of(algorithm: Algorithm, requests: int, seconds: float, burst: int | None = None) -> Policy:
    """The policy for so many requests in so many seconds; `burst` is what a bucket holds, `requests` if not given.

    Of concurrency, `seconds` is how long a request may be in flight. Where the numbers are too large to be held
    exactly, a bucket fills a little slower, and never faster, than was asked for.
    """
    period = max(round(seconds * 1e6), 1)
    if algorithm is Algorithm.TOKEN_BUCKET:
        return _bucket(requests, period, requests if burst is None else burst)
    if algorithm is Algorithm.SLIDING_WINDOW:
        return Policy(algorithm, requests, -(-period // SLOTS))
    return Policy(algorithm, requests, period)


def scaled(policy: Policy, factor: Fraction) -> Policy:
    """A policy that grants so many times as much, rounded down; the lengths of times stay."""
    if policy.algorithm is not Algorithm.TOKEN_BUCKET:
        return replace(policy, capacity=int(policy.capacity * factor))
    requests, period = policy.rate * factor.numerator, policy.per_hit * factor.denominator
    return _bucket(requests, period, int(policy.most * factor))


def _bucket(requests: int, period: int, burst: int) -> Policy:
    """A bucket of `burst` hits that gets `requests` of them back in a period, in microseconds."""
    if requests == 0 or burst == 0:
        return Policy(Algorithm.TOKEN_BUCKET, 0, 1, 1)
    common = gcd(requests, period)
    rate, per_hit = requests // common, period // common
    if burst * per_hit > _MOST:
        coarse = max(_MOST // burst, 1)
        rate, per_hit = max(rate * coarse // per_hit, 1), coarse
    return Policy(Algorithm.TOKEN_BUCKET, burst * per_hit, per_hit, rate)
