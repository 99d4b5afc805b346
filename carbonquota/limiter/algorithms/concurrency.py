"""Requests in flight. State: for each that is, when its lease runs out, its token, and how many places it has.

A lease ends when its request does, or, where the client died, by itself. `take` gives the state with one more lease,
the last of it; its token is the time, or one more than the highest. `give_back` ends a lease.
"""

from __future__ import annotations

from itertools import chain

from carbonquota.limiter.algorithms.policy import NEVER, Outcome, Policy, State, passed, refused


def leases(state: State | None) -> list[tuple[int, int, int]]:
    """The leases of a state."""
    parts = state or ()
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))


def running(policy: Policy, state: State | None, now: int) -> list[tuple[int, int, int]]:
    """The leases that still run; where the clock was set back, none runs longer than a whole one from now."""
    longest = now + policy.per_hit
    return [(min(end, longest), token, places) for end, token, places in leases(state) if end > now]


def ask(policy: Policy, state: State | None, now: int, hits: int) -> Outcome:
    """Whether so many places are free."""
    held = running(policy, state, now)
    used = sum(places for _, _, places in held)
    if used + hits <= policy.capacity:
        return passed(policy.capacity - used - hits, policy.per_hit)
    reset = max((end - now for end, _, _ in held), default=0)
    return refused(max(policy.capacity - used, 0), reset, _wait(policy, held, now, hits))


def _wait(policy: Policy, held: list[tuple[int, int, int]], now: int, hits: int) -> int:
    """The microseconds until so many places are free at the latest."""
    if hits > policy.capacity:
        return NEVER
    used = sum(places for _, _, places in held)
    for end, _, places in sorted(held):
        used -= places
        if used + hits <= policy.capacity:
            return end - now
    return 0


def take(policy: Policy, state: State | None, now: int, hits: int) -> State:
    """The state with one more lease, which comes last."""
    held = running(policy, state, now)
    token = max([now, *(token + 1 for _, token, _ in held)])
    return tuple(chain(*held, (now + policy.per_hit, token, hits)))


def penalize(policy: Policy, state: State | None, now: int, hits: int) -> State:  # noqa: ARG001 - as all have it
    """The same leases: a request that was refused is not in flight."""
    return tuple(chain(*running(policy, state, now)))


def give_back(state: State | None, token: int) -> State:
    """The state without a lease."""
    return tuple(chain(*(lease for lease in leases(state) if lease[1] != token)))


def expiry(policy: Policy, state: State) -> int:  # noqa: ARG001 - as all algorithms have it
    """When the last lease runs out."""
    return max((end for end, _, _ in leases(state)), default=0)
