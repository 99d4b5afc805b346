"""All that a server knows, in memory: names, limits and usage of every customer, as columns.

It is written by who reads the database, one change after the other, and read by everybody at any time: single entries
are whole, and what belongs together is read under `lock`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from carbonquota.hub.domain.controls import CONTROLS, Amounts
from carbonquota.hub.domain.errors import NotFoundError
from carbonquota.hub.domain.grid import TOTAL, Grid
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.domain.values import AGGREGATE, Provider

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


class Book:
    """Customers and providers by name and number, and their columns."""

    def __init__(self) -> None:
        """Know nobody."""
        self.lock = Lock()
        self.numbers: dict[str, int] = {}
        """Of the customers that there are, by name."""
        self.names: list[str] = []
        """By number; empty where there is no such customer."""
        self.providers: dict[str, int] = {}
        self.provider_at: dict[int, Provider] = {}
        self.limits: Grid[np.int64] = Grid(np.int64)
        """The complement (`~`) of each limit; 0 is none."""
        self.usage: Grid[np.int64] = Grid(np.int64)
        """The last known usage, and in the place of provider 0 the sum over all."""
        self.times: Grid[np.float64] = Grid(np.float64)
        """When it was so, in seconds since the epoch; 0 is never."""

    def customer(self, name: str) -> int:
        """A customer's number; NotFoundError."""
        number = self.numbers.get(name)
        if number is None:
            raise NotFoundError(f"there is no customer called {name!r}")
        return number

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

    def put_customers(self, rows: Sequence[tuple[int, str, bool, int]]) -> None:
        """Know customers by number and name, or know that they are gone."""
        self.reserve(max(row[0] for row in rows) + 1)
        names, numbers = self.names, self.numbers
        for number, name, deleted, _ in rows:
            if deleted:
                names[number] = ""
                numbers.pop(name, None)
                self.limits.wipe(number)
            else:
                names[number] = name
                numbers[name] = number

    def reserve(self, size: int) -> None:
        """Have room for customers with numbers below `size`, and some more."""
        if size <= len(self.names):
            return
        size += size // 8 + 256
        self.names.extend([""] * (size - len(self.names)))
        for grid in (self.limits, self.usage, self.times):
            grid.reserve(size)

    def put_provider(self, number: int, provider: Provider, *, deleted: bool = False) -> None:
        """Know a provider, or know that it is gone."""
        if deleted:
            self.provider_at.pop(number, None)
            self.providers.pop(provider.name, None)
            for control in range(len(CONTROLS)):
                if self.usage.has(number, control):
                    self.usage.column(TOTAL, control)[:] -= self.usage.column(number, control)
            for grid in (self.limits, self.usage, self.times):
                grid.drop(number)
        else:
            self.provider_at[number] = provider
            self.providers[provider.name] = number

    def put_limits(self, provider: int, control: int, customers: Numbers, limits: Numbers) -> None:
        """Put limits in force; -1 is none."""
        # No column is made for what nobody has.
        if (limits >= 0).any() or self.limits.has(provider, control):
            self.limits.column(provider, control)[customers] = ~limits

    def limits_of(self, customer: int, provider: int = TOTAL) -> Amounts:
        """The limits of a customer, in all or at one provider."""
        found = (self.limits.get(provider, control, customer) for control in range(len(CONTROLS)))
        return Amounts(*(~limit if limit else None for limit in found))

    def limited_providers(self, customer: int) -> Iterator[int]:
        """Where a customer has limits, 0 first if it has some in all."""
        for provider in sorted({provider for provider, _ in self.limits.keys()}):  # noqa: SIM118 - not a dict
            if next(self.limits_of(customer, provider).given(), None) is not None:
                yield provider

    def put_usage(self, usages: Usages) -> None:
        """Take what is known, where it is not older than what was. A customer stands once in `usages`."""
        place = usages.provider, usages.control
        column, seen = self.usage.column(*place), self.times.column(*place)
        newer = np.flatnonzero(usages.times >= seen[usages.customers])
        customers, amounts = usages.customers[newer], usages.amounts[newer]
        self.usage.column(TOTAL, usages.control)[customers] += amounts - column[customers]
        column[customers] = amounts
        seen[customers] = usages.times[newer]
