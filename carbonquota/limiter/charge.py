"""What a request asks of counters: charges, which are all made, or none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from typing import Final, NamedTuple, Protocol

from carbonquota.limiter.algorithms import Outcome, Policy
from carbonquota.limiter.model import Lease
from carbonquota.limiter.stats import Sample


class ChargeKind(IntFlag):
    """What a charge is for."""

    PLAIN = 0
    SHADOW = 1
    """It refuses nothing."""
    CHARGE_DENIED = 2
    """It is made even where the request is refused."""
    GUARANTEE = 4
    """It refuses nothing; where it fits, the charge behind it is made whether it fits or not."""
    FAIL_OPEN = 8
    """While the store is away, it fits."""
    FAIL_CLOSED = 16
    """While the store is away, it does not fit; without either of the two, this process has its share."""
    QUOTA = 32
    """It is of one of several quotas, of which one that fits is enough; only where none does is the request refused."""
    QUOTA_BEGINS = 64
    """It is the first one of its quota; the others of it follow."""


class Charge(NamedTuple):
    """So many hits on the counter of a key, by a policy."""

    key: str
    policy: Policy
    hits: int = 1
    kind: int = 0


class Decision(NamedTuple):
    """Whether the charges were made, an outcome each, and the tokens of leases by the charges' positions.

    `outage` says that this was decided without the store, as it is away.
    """

    passes: bool
    outcomes: Sequence[Outcome]
    tokens: dict[int, int]
    outage: bool = False


NOTHING: Final = Decision(passes=True, outcomes=(), tokens={})
"""The decision on no charges."""


Done = Callable[[Decision | Exception], object]
"""Is told of a decision, or of a bug, on the event loop."""


class KeyedLimit(Protocol):
    """One limit, asked by key: no rules are matched, and nothing is counted but hits."""

    def check(self, key: str, hits: int = 1) -> bool:
        """Whether hits of a key pass; then they are charged."""

    def ask(self, key: str, hits: int = 1) -> Outcome:
        """The same, with all there is to know of the outcome."""

    def check_many(self, keys: list[str]) -> bytes:
        """Whether one hit of each key passes, in their order: a byte each, 1 or 0."""


class Counters(Protocol):
    """Where hits are counted: in this process, or in a store. Safe to use from any thread."""

    @property
    def is_local(self) -> bool:
        """Whether it never waits for a store."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it now, for health."""

    def samples(self) -> Iterator[Sample]:
        """How it is."""

    def decide(self, charges: Sequence[Charge]) -> Decision:
        """Make all charges or none, as one step."""

    def decide_soon(self, charges: Sequence[Charge], done: Done) -> Decision | None:
        """The same, for an event loop: None where a store is asked first, and `done` is called with it then."""

    def keyed(self, policy: Policy, prefix: str, suffix: str) -> KeyedLimit:
        """Checks by one policy of keys that stand between `prefix` and `suffix`."""

    def release(self, lease: Lease) -> None:
        """End a lease, if it still runs."""

    def close(self) -> None:
        """Let go of what it holds."""
