"""Histories of requests for the limiter's counters, and slow models of what they may let pass."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from carbonquota.limiter.algorithms import Algorithm, Policy, policy_of
from carbonquota.limiter.charge import Charge, ChargeKind

EPOCH = 1_700_000_000_000_000
"""Microseconds; a time like ours."""


@dataclass(frozen=True)
class Step:
    """Charges, `wait` microseconds after the step before; the clock may be set back by it."""

    wait: int
    charges: tuple[Charge, ...]


POLICIES: tuple[Policy, ...] = (
    policy_of(Algorithm.TOKEN_BUCKET, 5, 1.0),
    policy_of(Algorithm.TOKEN_BUCKET, 7, 60.0, burst=3),
    policy_of(Algorithm.TOKEN_BUCKET, 4_000_000_000, 86_400.0 * 365),
    policy_of(Algorithm.FIXED_WINDOW, 4, 1.0),
    policy_of(Algorithm.FIXED_WINDOW, 9, 60.0),
    policy_of(Algorithm.SLIDING_WINDOW, 4, 1.0),
    policy_of(Algorithm.SLIDING_WINDOW, 9, 60.0),
    policy_of(Algorithm.TOKEN_BUCKET, 0, 1.0),
)

KINDS = (
    ChargeKind.PLAIN,
    ChargeKind.PLAIN,
    ChargeKind.PLAIN,
    ChargeKind.SHADOW,
    ChargeKind.CHARGE_DENIED,
    ChargeKind.GUARANTEE,
    ChargeKind.QUOTA,
    ChargeKind.QUOTA | ChargeKind.QUOTA_BEGINS,
)

CHARGES = st.builds(
    lambda at, hits, kind: Charge(f"d\x1fk{at}", POLICIES[at], hits, int(kind)),
    st.integers(0, len(POLICIES) - 1),
    st.integers(0, 6),
    st.sampled_from(KINDS),
)

WAITS = st.one_of(
    st.integers(0, 400_000),
    st.integers(0, 400_000),
    st.sampled_from([0, 1, 166_667, 1_000_000, 10_000_000, 61_000_000, 86_400_000_000]),
    st.sampled_from([-1, -50_000, -3_000_000, -7_200_000_000]),
)

STEPS = st.lists(st.builds(Step, WAITS, st.lists(CHARGES, min_size=1, max_size=3).map(tuple)), max_size=40)
