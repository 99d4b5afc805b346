"""The sliding window, in slots. State: number of the running slot, then the hits in it and in the slots before it.

Six whole slots before the running one are counted in full, so no time of a window's length has more hits than the
limit; the window that is counted is up to a sixth longer than the rule's. Weighing the oldest part instead, as if its
hits had come evenly, would let half as many again pass.
"""

from __future__ import annotations

from carbonquota.limiter.algorithms.policy import NEVER, SLOTS, Outcome, Policy, State, passed, refused


def slots(policy: Policy, state: State | None, now: int) -> State:
    """The hits by slot, the running one first; slots that are still to come, as the clock was set, count as running."""
    if state is None:
        return (0,) * (SLOTS + 1)
    passed = min(max(now // policy.per_hit - state[0], 0), SLOTS + 1)
    return (0,) * passed + state[1 : SLOTS + 2 - passed]


def ask(policy: Policy, state: State | None, now: int, hits: int) -> Outcome:
    """Whether hits fit."""
    counts = slots(policy, state, now)
    used = sum(counts)
    if used + hits <= policy.capacity:
        reset = _wait(policy, (counts[0] + hits, *counts[1:]), now, 0)
        return passed(policy.capacity - used - hits, reset)
    retry = _wait(policy, counts, now, policy.capacity - hits) if hits <= policy.capacity else NEVER
    return refused(max(policy.capacity - used, 0), _wait(policy, counts, now, 0), retry)


def _wait(policy: Policy, counts: State, now: int, most: int) -> int:
    """The microseconds until at most so many hits are counted."""
    used = sum(counts)
    if used <= most:
        return 0
    until = policy.per_hit - now % policy.per_hit
    for hits in counts[:0:-1]:
        used -= hits
        if used <= most:
            return until
        until += policy.per_hit
    return until


def take(policy: Policy, state: State | None, now: int, hits: int) -> State:
    """The state behind hits."""
    first, *others = slots(policy, state, now)
    return now // policy.per_hit, first + hits, *others


def expiry(policy: Policy, state: State) -> int:
    """When no slot counts any more."""
    return (state[0] + SLOTS + 1) * policy.per_hit
