"""Throughput: how one offer is held against the points still left in this interval.

Every quota above an offer is asked, root first; they are charged only once the whole offer is accepted.
"""

from __future__ import annotations

from carbonquota.controls.table import THROUGHPUT
from carbonquota.model import MAXIMUM
from carbonquota.trie import NO_QUOTA, Quotas


def over(quotas: Quotas, quota: int, control: int, points: int) -> bool:
    """Count an offer over this quota's limit; whether it is thereby rejected."""
    quotas.throttle_at[quota] = min(quotas.throttle_at[quota] + points, MAXIMUM)
    if not quotas.is_enforcing(quota):
        return False
    dropped = quotas.dropped_at[control]
    dropped[quota] = min(dropped[quota] + points, MAXIMUM)
    return True


def ask(quotas: Quotas, chain: tuple[int, ...], points: int) -> int:
    """The first quota of a flow chain that rejects an offer of `points`, or NO_QUOTA. Charges nothing."""
    remaining = quotas.remaining_at
    for quota in chain:
        if remaining[quota] < points and over(quotas, quota, THROUGHPUT, points):
            return quota
    return NO_QUOTA


def charge(quotas: Quotas, chain: tuple[int, ...], points: int) -> None:
    """Count an accepted offer at every quota of a flow chain, each up to 2^63 - 1 points."""
    remaining, limit = quotas.remaining_at, quotas.limit_at
    for quota in chain:
        remaining[quota] = max(remaining[quota] - points, limit[quota] - MAXIMUM)


def take(quotas: Quotas, chain: tuple[int, ...], points: int) -> int:
    """`ask`, and `charge` where nothing rejects; quicker than both where nothing is over."""
    remaining = quotas.remaining_at
    for quota in chain:
        if remaining[quota] < points:
            break
    else:
        for quota in chain:
            remaining[quota] -= points
        return NO_QUOTA
    rejecter = ask(quotas, chain, points)
    if rejecter == NO_QUOTA:
        charge(quotas, chain, points)
    return rejecter
