"""What a request asks of counters: charges, which are all made, or none of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag
from typing import Final, NamedTuple, Protocol

from carbonquota.limiter.algorithms import Outcome, Policy


class Kind(IntFlag):
    """What a charge is for."""

    PLAIN = 0
    SHADOW = 1
    """It refuses nothing."""
    CHARGE_DENIED = 2
    """It is made even where the request is refused."""
    GUARANTEE = 4
    """It refuses nothing; where it fits, the charge behind it is made whether it fits or not."""


class Charge(NamedTuple):
    """So many hits on the counter of a key, by a policy."""

    key: str
    policy: Policy
    hits: int = 1
    kind: int = Kind.PLAIN


class Decision(NamedTuple):
    """Whether the charges were made, an outcome each, and the tokens of leases by the charges' positions."""

    passes: bool
    outcomes: Sequence[Outcome]
    tokens: dict[int, int]


NOTHING: Final = Decision(passes=True, outcomes=(), tokens={})
"""The decision on no charges."""


class Counters(Protocol):
    """Where hits are counted: in this process, or in a store. Safe to use from any thread."""

    def decide(self, charges: Sequence[Charge]) -> Decision:
        """Make all charges or none, as one step."""

    def release(self, key: str, token: int) -> None:
        """End a lease, if it still runs."""
