"""What a process does that is one of several on one limit; it imports little, as it is begun for a moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge
from carbonquota.limiter.stores import StoreCounters, StoreSettings

ENDLESS = policy_of(Algorithm.FIXED_WINDOW, 100, 86_400 * 365 * 30)
"""A hundred in a window that does not end while a test runs."""


def spend(url: str, name: str, requests: int) -> int:
    """How many of so many requests, eight at a time, pass."""
    subject = StoreCounters(StoreSettings(url, name, timeout=5.0))
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda _: subject.decide([Charge("d\x1fk", ENDLESS)]).passes, range(requests)))
