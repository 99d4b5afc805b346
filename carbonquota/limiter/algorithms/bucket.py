"""The token bucket, as GCRA keeps it: one level that falls with time. State: level, when it was, per hit.

In any time t, at most burst + rate x t hits fit. `per hit` is that of the policy which wrote the state: another policy
takes over what is used, in hits.
"""

from __future__ import annotations

from carbonquota.limiter.algorithms.policy import MOST_LEVEL, NEVER, Outcome, Policy, State, passed, refused


def level(policy: Policy, state: State | None, now: int) -> int:
    """How full of hits the bucket is now."""
    if state is None:
        return 0
    used, then, per_hit = state
    if per_hit != policy.per_hit:
        used = min(-(-used * policy.per_hit // per_hit), MOST_LEVEL)
    return max(used - max(now - then, 0) * policy.rate, 0)


def ask(policy: Policy, state: State | None, now: int, hits: int) -> Outcome:
    """Whether hits fit."""
    used = level(policy, state, now)
    over = used + hits * policy.per_hit - policy.capacity
    remaining = max(policy.capacity - used, 0) // policy.per_hit
    reset = -(-used // policy.rate)
    if over <= 0:
        return passed(remaining - hits, -(-(used + hits * policy.per_hit) // policy.rate))
    retry = -(-over // policy.rate) if hits * policy.per_hit <= policy.capacity else NEVER
    return refused(remaining, reset, retry)


def take(policy: Policy, state: State | None, now: int, hits: int) -> State:
    """The state behind hits."""
    return min(level(policy, state, now) + hits * policy.per_hit, MOST_LEVEL), now, policy.per_hit


def expiry(policy: Policy, state: State) -> int:
    """When the bucket has room for all again."""
    used, then, per_hit = state
    return then - (-used * policy.per_hit // per_hit // policy.rate)


def penalize(policy: Policy, state: State | None, now: int, hits: int) -> State:
    """The state behind hits that were refused: full at most, so that it takes one hit's time of quiet to pass again."""
    used = level(policy, state, now)
    return max(used, min(used + hits * policy.per_hit, policy.capacity)), now, policy.per_hit
