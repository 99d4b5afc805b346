"""The fixed window, aligned to the epoch. State: number of the window, hits in it.

Around the end of a window, twice the limit may pass within one window's length; the other algorithms do not have that.
"""

from __future__ import annotations

from carbonquota.limiter.algorithms.policy import NEVER, Outcome, Policy, State, passed, refused


def count(policy: Policy, state: State | None, now: int) -> int:
    """The hits of the running window; one that is still to come, as the clock was set, counts as running."""
    return 0 if state is None or state[0] < now // policy.per_hit else state[1]


def ask(policy: Policy, state: State | None, now: int, hits: int) -> Outcome:
    """Whether hits fit."""
    used = count(policy, state, now)
    reset = policy.per_hit - now % policy.per_hit
    if used + hits <= policy.capacity:
        return passed(policy.capacity - used - hits, reset)
    retry = reset if hits <= policy.capacity else NEVER
    return refused(max(policy.capacity - used, 0), reset, retry)


def take(policy: Policy, state: State | None, now: int, hits: int) -> State:
    """The state behind hits."""
    return now // policy.per_hit, count(policy, state, now) + hits


def expiry(policy: Policy, state: State) -> int:
    """The end of the window."""
    return (state[0] + 1) * policy.per_hit
