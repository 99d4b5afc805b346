"""Checks of keys by one policy, on plain counters: the definition of the compiled ones."""

from __future__ import annotations

from collections.abc import Sequence

from carbonquota.limiter.algorithms import Outcome, Policy
from carbonquota.limiter.charge import Charge, Counters


class PlainLimit:
    """A `KeyedLimit` on any counters."""

    def __init__(self, counters: Counters, policy: Policy, prefix: str = "", suffix: str = "") -> None:
        """A key stands between `prefix` and `suffix`."""
        self._counters = counters
        self._policy = policy
        self._prefix, self._suffix = prefix, suffix

    def check(self, key: str, hits: int = 1) -> bool:
        """Whether hits of a key pass; then they are charged."""
        return self.ask(key, hits).fits

    def ask(self, key: str, hits: int = 1) -> Outcome:
        """The same, with all there is to know of the outcome."""
        if hits < 0:
            raise ValueError(f"hits are from 0 on, not {hits}")
        charge = Charge(f"{self._prefix}{key}{self._suffix}", self._policy, hits)
        return self._counters.decide([charge]).outcomes[0]

    def check_many(self, keys: Sequence[str]) -> bytes:
        """Whether one hit of each key passes, in their order: a byte each, 1 or 0."""
        return bytes(self.check(key) for key in keys)
