"""What one server may grant, and has granted: the decision about a write, without asking anybody.

Theory of operation. What all servers together may grant of a quota is what its usage leaves. A server reserves a part
of that in the database before it grants any (`allowed`), so that the sum of usage and reservations never passes the
quota, whoever decides and whoever dies. A write takes from `allowed` in memory.

What was granted counts until it shows in the usage. A grant is good for a `lifetime`: what is not written by then needs
a new one. So a usage measured at least a lifetime after a grant has all that was written of it, and the grant is
forgotten: it comes back, used or not. Grants are not remembered one by one. There are two sums a customer and
provider, of those before a boundary (`older`) and since (`newer`), and the time of the last one. A measurement that is
late enough for the last frees both; one that is late enough for the boundary frees the older ones, and moves the
boundary on. So a grant may count a little longer than it has to, and never shorter.

What is freed, and what of `allowed` is not needed any more, is gathered in `returned` until the database is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.hub.domain.grid import Grid, View
from carbonquota.hub.domain.usages import Usages

Numbers = NDArray[np.int64]


_NOTHING: Final[View] = memoryview(np.zeros(0, np.int64))  # type: ignore[arg-type] # numpy's types hide its buffer


MAX_GRANT: Final = 10 * 1024 * 1024
"""What is granted at a time, in the unit of the control."""


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """How writes are granted; sizes in the unit of the control, times in seconds.

    A write of more than `max_grant` is granted in slices of it. A grant is good for `lifetime`; clocks may be `skew`
    apart. What was reserved and not needed for `idle` seconds is handed back.
    """

    max_grant: int = MAX_GRANT
    lifetime: float = 30.0
    skew: float = 1.0
    idle: float = 5.0

    @property
    def counts(self) -> float:
        """Seconds between a grant and a measurement that has it for sure."""
        return self.lifetime + self.skew


@dataclass(frozen=True, slots=True)
class GrantAnswer:
    """Whether a write may go on (`ok`): `granted` of it may now, for `valid_for` seconds.

    `delay` is how many seconds to wait before the next one. Where it was refused, `left` is what the quota leaves and
    `retry_after` in how many seconds to ask again; `reason` is for a person.
    """

    ok: bool
    granted: int
    delay: float = 0.0
    left: int = -1
    retry_after: float = 0.0
    reason: str = ""
    valid_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to many writes, by position: what is granted of each, and how many seconds to wait after it.

    `refused` has the whole answer of those that may not go on; their `granted` is 0.
    """

    granted: list[int]
    delays: list[float]
    refused: dict[int, GrantAnswer]
    valid_for: float


class GrantBook:
    """The columns of one server's grants, by provider and control. May be used from any thread."""

    def __init__(self, terms: GrantTerms) -> None:
        """Nothing may be granted yet."""
        self.terms = terms
        self.lock = Lock()
        self.allowed: Grid[np.int64] = Grid(np.int64)
        self.newer: Grid[np.int64] = Grid(np.int64)
        self.older: Grid[np.int64] = Grid(np.int64)
        self.returned: Grid[np.int64] = Grid(np.int64)
        self.boundary: Grid[np.float64] = Grid(np.float64)
        self.last: Grid[np.float64] = Grid(np.float64)
        self.delays: Grid[np.float64] = Grid(np.float64)
        self.spent = 0
        """Writes that were granted from what was reserved."""

    def _grids(self) -> Iterator[Grid[np.int64] | Grid[np.float64]]:
        yield from (self.allowed, self.newer, self.older, self.returned)
        yield from (self.boundary, self.last, self.delays)

    def reserve(self, capacity: int) -> None:
        """Have room for customers with numbers below `capacity`."""
        with self.lock:
            for grid in self._grids():
                grid.reserve(capacity)

    def spend(self, key: int, customer: int, size: int, now: float) -> float:
        """Grant a write from what was reserved; seconds to wait after it, or -1 where that does not suffice.

        `key` is that of provider and control in the grids.
        """
        with self.lock:
            allowed = self.allowed.views.get(key)
            if allowed is None or customer >= len(allowed) or (left := allowed[customer]) < size:
                return -1.0
            allowed[customer] = left - size
            self.newer.views[key][customer] += size
            self.last.views[key][customer] = now
            self.spent += 1
            return float(self.delays.views[key][customer])

    def spend_many(
        self, keys: Sequence[int], customers: Sequence[int], sizes: Sequence[int], now: float
    ) -> tuple[list[float], list[int]]:
        """The same for many writes: seconds to wait, by position, and the positions where it does not suffice."""
        delays, missed = [0.0] * len(sizes), []
        key_before, size_of = -1, 0
        # Views over no memory, until the first key.
        allowed = newer = last = pauses = _NOTHING
        with self.lock:
            for position, (key, customer, size) in enumerate(zip(keys, customers, sizes, strict=True)):
                if key != key_before:
                    key_before = key
                    allowed, newer = self.allowed.views.get(key, _NOTHING), self.newer.views.get(key, _NOTHING)
                    last, pauses = self.last.views.get(key, _NOTHING), self.delays.views.get(key, _NOTHING)
                    size_of = len(allowed)
                if customer >= size_of or (left := allowed[customer]) < size:
                    missed.append(position)
                    continue
                allowed[customer] = left - size
                newer[customer] += size
                last[customer] = now
                if pause := pauses[customer]:
                    delays[position] = pause
            self.spent += len(sizes) - len(missed)
        return delays, missed

    def draw(self, key: int, customer: int) -> int:
        """All that is reserved and not granted; it is not to be granted by others until it is put back."""
        with self.lock:
            allowed = self.allowed.views.get(key)
            if allowed is None or customer >= len(allowed):
                return 0
            left, allowed[customer] = int(allowed[customer]), 0
            return left

    def put(  # noqa: PLR0913 - a row of a column each
        self, provider: int, control: int, customer: int, *, spare: int, granted: int, delay: float, now: float
    ) -> None:
        """So much more is reserved for this server to grant, and so much was granted of what was reserved."""
        with self.lock:
            for grid in self._grids():
                grid.reserve(customer + 1)
                grid.column(provider, control)
            key = Grid.key(provider, control)
            self.allowed.views[key][customer] += spare
            self.delays.views[key][customer] = delay
            if granted:
                self.newer.views[key][customer] += granted
                self.last.views[key][customer] = now

    def settle(self, usages: Usages, now: float) -> None:
        """Usage was measured: forget the grants that it has for sure."""
        provider, control = usages.provider, usages.control
        with self.lock:
            if not self.newer.has(provider, control):
                return
            newer, older = self.newer.column(provider, control), self.older.column(provider, control)
            boundary, last = self.boundary.column(provider, control), self.last.column(provider, control)
            known = usages.customers < len(newer)
            customers, measured = usages.customers[known], usages.times[known]
            some = (newer[customers] != 0) | (older[customers] != 0)
            customers, measured = customers[some], measured[some] - self.terms.counts
            done = measured >= last[customers]
            moved = ~done & ((measured >= boundary[customers]) | (older[customers] == 0))
            freed = np.where(done, newer[customers] + older[customers], np.where(moved, older[customers], 0))
            self.returned.column(provider, control)[customers] += freed
            older[customers] = np.where(done, 0, np.where(moved, newer[customers], older[customers]))
            newer[customers] = np.where(done | moved, 0, newer[customers])
            boundary[customers] = np.where(moved, now, boundary[customers])

    def hand_back(self, now: float, *, everything: bool = False) -> None:
        """Give up what was reserved and has not been needed lately."""
        with self.lock:
            for provider, control in self.allowed.keys():  # noqa: SIM118 - not a dict
                allowed, last = self.allowed.column(provider, control), self.last.column(provider, control)
                idle = allowed > 0
                if not everything:
                    idle &= last <= now - self.terms.idle
                rows = np.flatnonzero(idle)
                self.returned.column(provider, control)[rows] += allowed[rows]
                allowed[rows] = 0

    def drop(self, provider: int) -> None:
        """A provider is gone, and with it all that was reserved there."""
        with self.lock:
            for grid in self._grids():
                grid.drop(provider)

    def give_up(self, customers: Numbers) -> None:
        """Give up what was reserved for these customers, as their quotas were changed."""
        with self.lock:
            for provider, control in self.allowed.keys():  # noqa: SIM118 - not a dict
                allowed = self.allowed.column(provider, control)
                here = customers[customers < len(allowed)]
                self.returned.column(provider, control)[here] += allowed[here]
                allowed[here] = 0

    def is_free(self, customers: Numbers) -> NDArray[np.bool_]:
        """Of which of these nothing is reserved or granted here."""
        free = np.ones(len(customers), np.bool_)
        with self.lock:
            for grid in (self.allowed, self.newer, self.older, self.returned):
                for place in grid.keys():  # noqa: SIM118 - not a dict
                    column = grid.column(*place)
                    here = np.flatnonzero(customers < len(column))
                    free[here] &= column[customers[here]] == 0
        return free

    def wipe(self, customer: int) -> None:
        """Another customer has this number from now on."""
        with self.lock:
            for grid in self._grids():
                grid.wipe(customer)

    def take_returned(self) -> list[tuple[int, int, Numbers, Numbers]]:
        """Provider, control, customers, amounts of what the database is to be told of; they count as told."""
        found = []
        with self.lock:
            for provider, control in self.returned.keys():  # noqa: SIM118 - not a dict
                column = self.returned.column(provider, control)
                rows = np.flatnonzero(column)
                if len(rows):
                    found.append((provider, control, rows, column[rows].copy()))
                    column[rows] = 0
        return found

    def put_returned(self, returned: list[tuple[int, int, Numbers, Numbers]]) -> None:
        """The database could not be told: keep it for later."""
        with self.lock:
            for provider, control, customers, amounts in returned:
                self.returned.column(provider, control)[customers] += amounts

    def forget(self) -> None:
        """Nothing is reserved any more: another server's lease will see to what was granted."""
        with self.lock:
            capacity = max((len(view) for view in self.allowed.views.values()), default=0)
            for grid in self._grids():
                grid.clear()
                grid.reserve(capacity)
