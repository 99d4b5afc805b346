"""All that a server knows, in memory: names, limits and usage of the customers that it holds, as columns.

It is written by who reads the database, one change after the other, and read by everybody at any time: single entries
are whole, and what belongs together is read under `lock`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.hub.domain.controls import CONTROLS, Amounts
from carbonquota.hub.domain.errors import NotFoundError
from carbonquota.hub.domain.grid import TOTAL, Grid
from carbonquota.hub.domain.held_customers import HeldCustomers
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.domain.values import AGGREGATE, Provider

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]

MOST_HELD: Final = 2_000_000
"""Customers in memory: with three providers some 700 MB."""


class Book:
    """Customers and providers by name and number, and their columns."""

    def __init__(self, most: int = MOST_HELD) -> None:
        """Know nobody, and hold not more than `most` customers for long."""
        self.lock = Lock()
        self.held = HeldCustomers(most)
        self.numbers, self.names = self.held.numbers, self.held.names
        self.total = 0
        """Customers that there are, in memory or not."""
        self.providers: dict[str, int] = {}
        self.provider_at: dict[int, Provider] = {}
        self.limits: Grid[np.int64] = Grid(np.int64)
        """The complement (`~`) of each limit; 0 is none."""
        self.changes: Grid[np.int64] = Grid(np.int64)
        """The change that made a quota what it is, in the place of the first control."""
        self.usage: Grid[np.int64] = Grid(np.int64)
        """The last known usage, and in the place of provider 0 the sum over all."""
        self.times: Grid[np.float64] = Grid(np.float64)
        """When it was so, in seconds since the epoch; 0 is never."""

    def provider(self, name: str) -> int:
        """A provider's number, 0 for all of them; NotFoundError."""
        if name == AGGREGATE:
            return TOTAL
        number = self.providers.get(name)
        if number is None:
            raise NotFoundError(f"there is no provider called {name!r}: an administrator makes it")
        return number

    def provider_name(self, number: int) -> str:
        """The other way round."""
        return self.provider_at[number].name if number in self.provider_at else AGGREGATE

    def hold(self, customers: Sequence[tuple[int, str]], now: float) -> None:
        """Have customers in memory, by id and name; what is known of them is put there next."""
        self.held.put([one[0] for one in customers], [one[1] for one in customers], now)
        for grid in self._grids():
            grid.reserve(self.held.size)

    def _grids(self) -> tuple[Grid[np.int64] | Grid[np.float64], ...]:
        return self.limits, self.changes, self.usage, self.times

    def delete(self, id: int, name: str, now: float) -> None:  # noqa: A002 - it is called so
        """There is no such customer any more."""
        if number := self.held.delete(id, name, now):
            self.limits.wipe(number)
            self.changes.wipe(number)

    def free(self, number: int) -> None:
        """Nothing is known any more of a customer that was let go, and its number is free."""
        for grid in self._grids():
            grid.wipe(number)
        self.held.free(number)

    def put_provider(self, number: int, provider: Provider, *, deleted: bool = False) -> None:
        """Know a provider, or know that it is gone."""
        if deleted:
            self.provider_at.pop(number, None)
            self.providers.pop(provider.name, None)
            for control in range(len(CONTROLS)):
                if self.usage.has(number, control):
                    self.usage.column(TOTAL, control)[:] -= self.usage.column(number, control)
            for grid in self._grids():
                grid.drop(number)
        else:
            self.provider_at[number] = provider
            self.providers[provider.name] = number

    def put_limits(self, provider: int, control: int, customers: Numbers, limits: Numbers) -> None:
        """Put limits in force; -1 is none."""
        # No column is made for what nobody has.
        if (limits >= 0).any() or self.limits.has(provider, control):
            self.limits.column(provider, control)[customers] = ~limits

    def put_changes(self, provider: int, customers: Numbers, changes: Numbers) -> None:
        """Know which changes made quotas what they are."""
        self.changes.column(provider, 0)[customers] = changes

    def limits_of(self, customer: int, provider: int = TOTAL) -> Amounts:
        """The limits of a customer, in all or at one provider."""
        found = (self.limits.get(provider, control, customer) for control in range(len(CONTROLS)))
        return Amounts(*(~limit if limit else None for limit in found))

    def limited_providers(self, customer: int) -> Iterator[int]:
        """Where a customer has limits, 0 first if it has some in all."""
        for provider in sorted({provider for provider, _ in self.limits.keys()}):  # noqa: SIM118 - not a dict
            if next(self.limits_of(customer, provider).given(), None) is not None:
                yield provider

    def here(self, usages: Usages) -> Usages:
        """Those of customers in memory, who stand by number instead of by id."""
        numbers = self.held.at(usages.customers)
        there = np.flatnonzero(numbers)
        return Usages(
            usages.provider, usages.control, numbers[there], usages.amounts[there], usages.times[there]
        )  # fmt: skip

    def put_usage(self, usages: Usages) -> None:
        """Take what is known, by number, where it is not older than what was. A customer stands once in `usages`."""
        place = usages.provider, usages.control
        column, seen = self.usage.column(*place), self.times.column(*place)
        newer = np.flatnonzero(usages.times >= seen[usages.customers])
        customers, amounts = usages.customers[newer], usages.amounts[newer]
        self.usage.column(TOTAL, usages.control)[customers] += amounts - column[customers]
        column[customers] = amounts
        seen[customers] = usages.times[newer]
