"""Refusals of a moment ago, so that whoever asks again and again for more than there is costs no transaction.

One holds for a second at most: so long what another server has made room by may be overlooked. What this server hears
of itself ends it at once. The least recently noted go first where there are too many.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.hub.domain.grants import GrantAnswer

HELD: Final = 1.0
"""Seconds."""
_MOST: Final = 20_000
"""Customers."""

_Place = tuple[int, int]


class Refusals:
    """What was refused lately, by customer. May be used from any thread."""

    def __init__(self) -> None:
        """Nothing was."""
        self._lock = Lock()
        self._by_customer: dict[int, dict[_Place, tuple[float, GrantAnswer]]] = {}

    def known(self, provider: int, control: int, customer: int, size: int, now: float) -> GrantAnswer | None:
        """The refusal of such a write, if one as small was refused a moment ago."""
        there = self._by_customer.get(customer)
        found = there.get((provider, control)) if there else None
        if found is None:
            return None
        noted, answer = found
        if size <= answer.left or not 0 <= now - noted < HELD:
            return None
        wait = max(answer.retry_after - (now - noted), HELD)
        reason = f"{size:,} would pass the quota, which has {answer.left:,} left"
        return replace(answer, retry_after=wait, reason=reason)

    def note(self, provider: int, control: int, customer: int, answer: GrantAnswer, now: float) -> None:
        """A write was refused, with what is left."""
        with self._lock:
            there = self._by_customer.pop(customer, {})
            self._by_customer[customer] = there | {(provider, control): (now, answer)}
            if len(self._by_customer) > _MOST:
                del self._by_customer[next(iter(self._by_customer))]

    def forget(self, customers: NDArray[np.int64]) -> None:
        """There may be room for these again."""
        if not self._by_customer:
            return
        with self._lock:
            known = np.fromiter(self._by_customer, np.int64, len(self._by_customer))
            for customer in known[np.isin(known, customers)].tolist():
                del self._by_customer[customer]
