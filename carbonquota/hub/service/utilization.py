"""What customers hold, as providers tell it: stored, put into memory, and told on with its age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from sqlalchemy import Connection

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import CONTROLS, NUMBER
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.domain.values import AGGREGATE, Provider
from carbonquota.hub.service.holding import Holding
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import counters, reservations
from carbonquota.hub.storage.utilization import known_customers, write_usages
from carbonquota.model import MAXIMUM, Clock

MOST: Final = 100_000
"""Customers of one batch."""

_MOST_NAMED: Final = 20
"""Customers that are named in an answer."""

_AHEAD: Final = 5.0
"""Seconds that a provider's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one provider knows: an amount (None: not known) a customer, by control; measured at `time`, if told.

    Where it is `complete`, customers that are not named hold nothing there.
    """

    provider: str
    customers: Sequence[str]
    amounts: Mapping[str, Sequence[int | None]]
    time: float | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class TakenMeasurement:
    """What became of a measurement: how many values were stored, and customers that nobody knows, some by name."""

    values: int
    unknown: int
    such_as: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownValue:
    """One known value. `age` is in seconds; a `stale` one is of a provider that is late, and may be more by now."""

    provider: str
    control: str
    usage: int
    limit: int | None
    age: float | None
    stale: bool


class Utilization:
    """Usage, stored and told."""

    def __init__(self, book: Book, holding: Holding, synchronizer: Synchronizer, clock: Clock, skew: float) -> None:
        """Clocks of servers may be `skew` seconds apart."""
        self._book = book
        self._holding = holding
        self._synchronizer = synchronizer
        self._clock = clock
        self._skew = skew
        self.values = 0
        self.unknown = 0
        """What was told here: values, and customers in these that nobody knows."""
        self._counting = Lock()

    def put(self, measurement: Measurement) -> TakenMeasurement:
        """Store a measurement, all of it or nothing; NotFoundError, InvalidError, UnavailableError."""
        now = self._clock()
        measured = now if measurement.time is None else measurement.time
        _check(measurement, measured, now)
        provider = self._book.provider(measurement.provider)
        if provider == TOTAL:
            raise InvalidError("usage is measured at a provider: name it")
        ids = self._holding.ids(measurement.customers)
        unknown = [name for name, one in zip(measurement.customers, ids, strict=True) if not one]
        columns = [
            _column(provider, control, ids, amounts, min(measured, now))
            for control, amounts in measurement.amounts.items()
        ]
        if not measurement.complete:
            columns = [usages for usages in columns if len(usages.customers)]
        if columns:
            columns = self._store(columns, min(measured, now) if measurement.complete else None)
        values = sum(len(usages.customers) for usages in columns)
        with self._counting:
            self.values += values
            self.unknown += len(unknown)
        return TakenMeasurement(values, len(unknown), tuple(unknown[:_MOST_NAMED]))

    def _store(self, columns: Sequence[Usages], complete: float | None) -> list[Usages]:
        """In the database first, then in memory; all that was stored. Others held nothing at `complete`, if given."""
        with self._synchronizer.database.writing(quick=True) as connection:
            change = counters.take(connection, "utilization")
            stored = [usages if complete is None else _completed(connection, usages, complete) for usages in columns]
            for usages in stored:
                write_usages(connection, usages, change)
            # What was deleted by then is measured now, and counts as deleted no more.
            reservations.lock(connection)
            for usages in stored:
                since = reservations.places_given_back(connection, usages.control, usages.provider)
                if since:
                    measured = dict(zip(usages.customers.tolist(), usages.times.tolist(), strict=True))
                    seen = [one for one, at in since.items() if measured.get(one, 0.0) + self._skew >= at]
                    reservations.clear_given_back(connection, usages.control, usages.provider, seen)
        for usages in stored:
            self._synchronizer.put_usages(usages, change)
        return stored

    def heard(self) -> list[tuple[Provider, float]]:
        """When each provider last told something, in seconds since the epoch; 0 is never."""
        times, found = self._book.times, []
        with self._book.lock:
            for number, provider in sorted(self._book.provider_at.items()):
                columns = [times.column(number, one) for one in range(len(CONTROLS)) if times.has(number, one)]
                found.append((provider, max((float(column.max(initial=0.0)) for column in columns), default=0.0)))
        return found

    def of(self, customer: str) -> list[KnownValue]:
        """All that is known of a customer, and limits of which nothing is; the sums over all providers come first."""
        number, now = self._holding.number(customer), self._clock()
        with self._book.lock:
            found = [
                self._value(number, provider, control, now)
                for provider in (TOTAL, *sorted(self._book.provider_at))
                for control in range(len(CONTROLS))
            ]
        return [value for value in found if value.age is not None or value.limit is not None]

    def _value(self, customer: int, provider: int, control: int, now: float) -> KnownValue:
        """One value; the sum is as old as the oldest part of it, and stale where one of them is."""
        book = self._book
        limit = book.limits.get(provider, control, customer)
        parts = book.provider_at.items() if provider == TOTAL else [(provider, book.provider_at[provider])]
        ages = {
            at: (now - measured, now - measured > known.stale_after)
            for at, known in parts
            if (measured := book.times.get(at, control, customer))
        }
        return KnownValue(
            provider=book.provider_name(provider) if provider != TOTAL else AGGREGATE,
            control=CONTROLS[control],
            usage=int(book.usage.get(provider, control, customer)),
            limit=~limit if limit else None,
            age=max((age for age, _ in ages.values()), default=None),
            stale=any(stale for _, stale in ages.values()),
        )


def _column(provider: int, control: str, ids: Sequence[int], amounts: Sequence[int | None], measured: float) -> Usages:
    """One control of a measurement, of the customers that are known."""
    pairs = [(one, amount) for one, amount in zip(ids, amounts, strict=True) if one and amount is not None]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return Usages(
        provider, NUMBER[control], table[:, 0].copy(), table[:, 1].copy(), np.full(len(table), measured)
    )  # fmt: skip


def _completed(connection: Connection, usages: Usages, measured: float) -> Usages:
    """The same, with all others of whom the provider has told something: they hold nothing."""
    others = np.setdiff1d(known_customers(connection, usages.provider, usages.control), usages.customers)
    return Usages(
        usages.provider,
        usages.control,
        np.concatenate((usages.customers, others)),
        np.concatenate((usages.amounts, np.zeros(len(others), np.int64))),
        np.full(len(usages.customers) + len(others), measured),
    )


def _check(measurement: Measurement, measured: float, now: float) -> None:
    """InvalidError where a measurement cannot be."""
    count = len(measurement.customers)
    if count > MOST:
        raise InvalidError(f"there are {count:,} customers in this batch: at most {MOST:,} are taken at once")
    if len(set(measurement.customers)) < count:
        twice = next(name for name in measurement.customers if list(measurement.customers).count(name) > 1)
        raise InvalidError(f"customers: {twice!r} stands twice: give each once")
    if not 0 < measured <= now + _AHEAD:
        raise InvalidError(f"time: {measured:.0f} is not in the past, in seconds since the epoch; it is {now:.0f} here")
    for control, amounts in measurement.amounts.items():
        if control not in NUMBER:
            raise InvalidError(f"there is no control called {control!r}: they are {', '.join(CONTROLS)}")
        if len(amounts) != count:
            raise InvalidError(f"{control}: there are {len(amounts):,} amounts for {count:,} customers: give one each")
        known = [amount for amount in amounts if amount is not None]
        if known and not 0 <= min(known) <= max(known) <= MAXIMUM:
            raise InvalidError(f"{control}: all amounts are whole numbers from 0 to {MAXIMUM}, or null for not known")
