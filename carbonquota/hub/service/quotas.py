"""Customers and their quotas: got and changed in the database, each change with its entry of the audit.

While the database is away quotas are told as they are in memory, with how old that may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import Amounts, checked
from carbonquota.hub.domain.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from carbonquota.hub.domain.names import checked_name
from carbonquota.hub.domain.scraping import pattern_of
from carbonquota.hub.domain.values import Actor, AuditEntry, Customer, Quota, QuotaChange
from carbonquota.hub.service.holding import Holding
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage.customers import (
    customer_of,
    mark_deleted,
    numbers_of,
    page_of_customers,
    put_customers,
    rows_of,
)
from carbonquota.hub.storage.quotas import Place, Stored, read_quotas, write_quotas

MOST: Final = 10_000
"""Quotas or customers changed in one call."""

_NONE: Final[Stored] = (Amounts(), 0)


class CustomerQuotas:
    """Customers and their quotas."""

    def __init__(self, writing: Writing, book: Book, holding: Holding, synchronizer: Synchronizer) -> None:
        """Change them by `writing`, and read them from there or from `book`."""
        self._writing = writing
        self._book = book
        self._holding = holding
        self._synchronizer = synchronizer

    def quota(self, customer: str, provider: str = "") -> Quota:
        """A quota with its change; NotFoundError."""
        self._book.provider(provider)
        found = next((one for one in self.quotas(customer) if one.provider == provider), None)
        if found is None:
            raise NotFoundError(f"{customer!r} has no quota {_where(provider)}")
        return found

    def quotas(self, customer: str) -> list[Quota]:
        """All quotas of a customer with their changes, that over all providers first."""
        number = self._holding.number(customer)
        stored, age = self._stored(number)
        return [
            Quota(customer, limits, self._book.provider_name(provider), change, age)
            for provider, (limits, change) in sorted(stored.items())
            if limits != Amounts()
        ]

    def several(self, customers: Sequence[str]) -> dict[tuple[str, str], Quota]:
        """All quotas of these customers, by customer and provider, from the database; who is not known has none."""
        ids = self._holding.ids(customers)
        names = {one: name for one, name in zip(ids, customers, strict=True) if one}
        with self._writing.database.reading() as connection:
            stored = read_quotas(connection, names)
        found = {}
        for (customer, at), (limits, change) in stored.items():
            if limits != Amounts():
                quota = Quota(names[customer], limits, self._book.provider_name(at), change)
                found[quota.customer, quota.provider] = quota
        return dict(sorted(found.items()))

    def _stored(self, number: int) -> tuple[dict[int, Stored], float]:
        """Quotas by provider, and how old they may be: from memory where the database was away a moment ago."""
        if not self._synchronizer.trouble:
            with suppress(UnavailableError), self._writing.database.reading() as connection:
                found = read_quotas(connection, [self._holding.id(number)])
                return {provider: stored for (_, provider), stored in found.items()}, 0.0
        with self._book.lock:
            known = {
                provider: (self._book.limits_of(number, provider), int(self._book.changes.get(provider, 0, number)))
                for provider in self._book.limited_providers(number)
            }
        return known, self._synchronizer.age

    def change(self, actor: Actor, changes: Sequence[QuotaChange]) -> int:
        """Set or delete quotas, all or none of them; the number of the change.

        A customer who is not known is made. ConflictError where one of them is not as it was expected to be.
        """
        _check(changes)
        places = [(one.customer, self._book.provider(one.provider)) for one in changes]
        if len(set(places)) < len(places):
            raise InvalidError("a quota stands twice in this change: give each once")
        with self._writing.change() as (connection, number):
            customers = self._customers(connection, changes, number)
            at = [(customers[name], provider) for name, provider in places]
            before = read_quotas(connection, (customer for customer, _ in at))
            for place, one in zip(at, changes, strict=True):
                _expect(one, before.get(place, _NONE))
            after = {place: one.limits or Amounts() for place, one in zip(at, changes, strict=True)}
            write_quotas(connection, after, number)
            self._writing.audit(connection, [
                self._entry(actor, one, before.get(place, _NONE)) for place, one in zip(at, changes, strict=True)
            ])  # fmt: skip
        return number

    def _customers(self, connection: Connection, changes: Sequence[QuotaChange], change: int) -> dict[str, int]:
        """The numbers of all customers; those that are to have a quota are made."""
        found = numbers_of(connection, (one.customer for one in changes))
        new = sorted({one.customer for one in changes if one.limits is not None and one.customer not in found})
        found.update(put_customers(connection, [Customer(name) for name in new], change))
        for one in changes:
            if one.customer not in found:
                raise NotFoundError(f"there is no customer called {one.customer!r}")
        return found

    def _entry(self, actor: Actor, one: QuotaChange, before: Stored) -> AuditEntry:
        """What the audit says of one change."""
        action = "set quota" if one.limits is not None else "delete quota"
        subject = f"customer/{one.customer}" + (f"/{one.provider}" if one.provider else "")
        return self._writing.entry(actor, action, subject, _limits(before[0]), _limits(one.limits))

    def customer(self, name: str) -> Customer:
        """A customer from the database; NotFoundError."""
        with self._writing.database.reading() as connection:
            row = rows_of(connection, [name]).get(name)
        if row is None or row["deleted"]:
            raise NotFoundError(f"there is no customer called {name!r}")
        return customer_of(row)

    def customers(self, *, after: str = "", limit: int = 100, begin: str = "") -> list[Customer]:
        """Customers by name, those behind `after`, whose names begin so."""
        with self._writing.database.reading() as connection:
            return page_of_customers(connection, after=after, limit=limit, begin=begin)

    def put_customer(self, actor: Actor, customer: Customer, expected: int | None = None) -> int:
        """Make a customer, or change it; the number of the change."""
        checked_name("customer", customer.name)
        for pattern in customer.namespaces:
            pattern_of(pattern)
        with self._writing.change() as (connection, number):
            row = rows_of(connection, [customer.name]).get(customer.name)
            before = None if row is None or row["deleted"] else customer_of(row)
            _expect_change(f"customer {customer.name!r}", expected, before.change if before else 0)
            put_customers(connection, [customer], number)
            entry = self._writing.entry(actor, "set customer", f"customer/{customer.name}", _document(before),
                                        _document(customer))  # fmt: skip
            self._writing.audit(connection, [entry])
        return number

    def delete_customer(self, actor: Actor, name: str, expected: int | None = None) -> None:
        """Delete a customer with its quotas."""
        with self._writing.change() as (connection, number):
            row = rows_of(connection, [name]).get(name)
            if row is None or row["deleted"]:
                raise NotFoundError(f"there is no customer called {name!r}")
            _expect_change(f"customer {name!r}", expected, row["change"])
            stored = {place: limits for place, (limits, _) in read_quotas(connection, [row["id"]]).items()}
            write_quotas(connection, dict.fromkeys(stored, Amounts()), number)
            mark_deleted(connection, row["id"], number)
            before = (_document(customer_of(row)) or {}) | {"quotas": self._by_provider(stored)}
            entry = self._writing.entry(actor, "delete customer", f"customer/{name}", before, None)
            self._writing.audit(connection, [entry])

    def _by_provider(self, stored: dict[Place, Amounts]) -> dict[str, Any]:
        """Quotas of a customer as the audit has them."""
        return {self._book.provider_name(provider): _limits(limits) for (_, provider), limits in stored.items()}


def _check(changes: Sequence[QuotaChange]) -> None:
    """InvalidError where a change cannot be."""
    if not changes:
        raise InvalidError("there is no quota in this change: give at least one")
    if len(changes) > MOST:
        raise InvalidError(f"there are {len(changes):,} quotas in this change: at most {MOST:,} are changed in one")
    for one in changes:
        checked_name("customer", one.customer)
        if one.limits is not None and checked(one.limits) == Amounts():
            raise InvalidError(f"the quota of {one.customer!r} has no limit: give at least one, or delete it")


def _expect(one: QuotaChange, before: Stored) -> None:
    """ConflictError where a quota is not as it was expected to be, NotFoundError where one to delete is not there."""
    limits, change = before
    there = change if limits != Amounts() else 0
    if one.limits is None and not there:
        raise NotFoundError(f"{one.customer!r} has no quota {_where(one.provider)}")
    _expect_change(f"the quota of {one.customer!r} {_where(one.provider)}", one.expected, there)


def _expect_change(what: str, expected: int | None, there: int) -> None:
    if expected is not None and expected != there:
        seen = f"it was expected to be version {expected}" if expected else "it was expected not to be there"
        now = f"is version {there} now" if there else "is not there"
        raise ConflictError(f"{what} {now}, and {seen}: somebody changed it meanwhile; read it anew")


def _where(provider: str) -> str:
    return f"at provider {provider!r}" if provider else "over all providers"


def _limits(limits: Amounts | None) -> dict[str, Any] | None:
    return dict(limits.given()) or None if limits is not None else None


def _document(customer: Customer | None) -> dict[str, Any] | None:
    if customer is None:
        return None
    document = asdict(customer)
    del document["change"]
    return document
