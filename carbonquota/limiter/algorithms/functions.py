"""The algorithms by number: one `ask`, `take` and `expiry` each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from carbonquota.limiter.algorithms import bucket, concurrency, fixed, sliding
from carbonquota.limiter.algorithms.policy import Algorithm, Outcome, Policy, State


@dataclass(frozen=True, slots=True)
class Functions:
    """An algorithm: policy, state, now, hits -> outcome, or the state behind hits that fit, or that were refused.

    `expiry` takes a policy and a state, and tells when that is as good as none.
    """

    ask: Callable[[Policy, State | None, int, int], Outcome]
    take: Callable[[Policy, State | None, int, int], State]
    penalize: Callable[[Policy, State | None, int, int], State]
    expiry: Callable[[Policy, State], int]


FUNCTIONS: Final = {
    Algorithm.TOKEN_BUCKET: Functions(bucket.ask, bucket.take, bucket.penalize, bucket.expiry),
    Algorithm.FIXED_WINDOW: Functions(fixed.ask, fixed.take, fixed.take, fixed.expiry),
    Algorithm.SLIDING_WINDOW: Functions(sliding.ask, sliding.take, sliding.take, sliding.expiry),
    Algorithm.CONCURRENCY: Functions(concurrency.ask, concurrency.take, concurrency.penalize, concurrency.expiry),
}


def functions_of(policy: Policy) -> Functions:
    """The functions of a policy's algorithm."""
    return FUNCTIONS[policy.algorithm]


def ask(policy: Policy, state: State | None, now: int, hits: int = 1) -> Outcome:
    """Whether so many hits fit now; nothing is charged."""
    return FUNCTIONS[policy.algorithm].ask(policy, state, now, hits)


def take(policy: Policy, state: State | None, now: int, hits: int = 1) -> State:
    """The state behind so many hits, whether they fit or not."""
    return FUNCTIONS[policy.algorithm].take(policy, state, now, hits)


def penalize(policy: Policy, state: State | None, now: int, hits: int = 1) -> State:
    """The state behind so many hits that were refused, where a rule charges these."""
    return FUNCTIONS[policy.algorithm].penalize(policy, state, now, hits)


def expiry(policy: Policy, state: State) -> int:
    """From when on, in microseconds since the epoch, the state is as good as none."""
    return FUNCTIONS[policy.algorithm].expiry(policy, state)
