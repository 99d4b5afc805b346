"""Keeps the book in memory in line with the database: all of it at the start, then what was changed, again and again.

A server that has changed something reads it back at once; others hear of it within the interval. While the database is
away the book stays as it is, and `age` says how old that is. Where there are more customers than the book holds, the
newest are read at the start, and others once they are asked for (`hold`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.storage.changes import (
    changed_customers,
    changed_providers,
    changed_quotas,
    count_customers,
    customers_called,
    last_change,
    newest_customers,
    quotas_of,
)
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.tables import customers, quotas, utilization
from carbonquota.hub.storage.utilization import changed_usages, usages_of
from carbonquota.model import Clock

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BookListeners:
    """Who hears of usages, of customers with other limits (both by number), and of providers that are gone."""

    on_usages: Callable[[Usages], None]
    on_limits: Callable[[Numbers], None]
    on_gone: Callable[[int], None]


class Synchronizer:
    """Reads changes of one database into one book. May be used from any thread."""

    def __init__(
        self,
        database: Database,
        book: Book,
        clock: Clock,
        monotonic: Callable[[], float],
        listeners: BookListeners,
    ) -> None:
        """Nothing is read yet. `clock` gives seconds since the epoch, `monotonic` such that never go back."""
        self.database = database
        self._book = book
        self._clock = clock
        self._monotonic = monotonic
        self._listeners = listeners
        self._lock = Lock()
        self._on_read: list[Callable[[Connection], None]] = []
        self._before_usages: list[Callable[[Usages], None]] = []
        self.newest_usage = 0
        """The last change of utilization that this server has heard of, or made itself."""
        self._since = {"customers": 0, "providers": 0, "quotas": 0, "utilization": 0}
        self._read_at: float | None = None
        self.trouble = ""
        """Why the database could not be read last time; empty if it could."""

    @property
    def usage_version(self) -> int:
        """The change of utilization up to which all are known here."""
        return self._since["utilization"]

    def on_read(self, listener: Callable[[Connection], None]) -> None:
        """Call this behind all else that is read, within the same transaction."""
        self._on_read.append(listener)

    def before_usages(self, listener: Callable[[Usages], None]) -> None:
        """Call this before usages are put into the book, under its lock."""
        self._before_usages.append(listener)

    @property
    def age(self) -> float:
        """For how many seconds at most others may have changed what is not known here."""
        return float("inf") if self._read_at is None else self._monotonic() - self._read_at

    def read_in(self, connection: Connection) -> None:
        """Read what was changed as a transaction sees it, which has the book as new as that transaction."""
        with self._lock:
            self._read(connection)

    def sync(self) -> None:
        """Read what was changed; UnavailableError where that cannot be done."""
        with self._lock:
            begun = self._monotonic()
            try:
                with self.database.reading() as connection:
                    self._read(connection)
            except UnavailableError as error:
                self.trouble = str(error)
                raise
            self._read_at, self.trouble = begun, ""

    def _read(self, connection: Connection) -> None:
        """One topic after the other."""
        self._read_providers(connection)
        first = self._read_customers(connection)
        self._read_quotas(connection, first)
        self._read_usages(connection, first)
        for listener in self._on_read:
            listener(connection)

    def _read_providers(self, connection: Connection) -> None:
        for number, provider, deleted, change in changed_providers(connection, self._since["providers"]):
            with self._book.lock:
                self._book.put_provider(number, provider, deleted=deleted)
            if deleted:
                self._listeners.on_gone(number)
            self._note("providers", change)

    def _read_customers(self, connection: Connection) -> int:
        """Read customers; the first id of those that can be held, 0 if all can."""
        since, highest, first, held = self._since["customers"], 0, 0, self._book.held
        if not since:
            first = newest_customers(connection, held.most)
            held.is_complete = not first
        for rows in changed_customers(connection, since, first):
            there = [(row[0], row[1]) for row in rows if not row[2]]
            with self._book.lock:
                for row in rows if len(there) < len(rows) else ():
                    if row[2]:
                        self._book.delete(row[0], row[1], self._clock())
                if there and not since:
                    self._book.hold(there, self._clock())
            if there and since:
                self._read_new(connection, [one for one in there if not self._is_held(one[0])])
            highest = max(highest, *map(itemgetter(3), rows))
        self._note("customers", last_change(connection, customers) if first else highest)
        if highest or first:
            self._book.total = len(self._book.numbers) if held.is_complete else count_customers(connection)
        return first

    def _is_held(self, id: int) -> bool:  # noqa: A002 - it is called so
        held = self._book.held
        return bool(held.names[held.at_one(id)])

    def _read_new(self, connection: Connection, new: Sequence[tuple[int, str]]) -> None:
        """Hold customers that were changed, and are not held, as far as there is room."""
        held = self._book.held
        room = max(held.most - len(held.numbers), 0)
        held.is_complete &= len(new) <= room
        if new[:room]:
            self._load(connection, new[:room])

    def hold(self, names: Iterable[str]) -> None:
        """Read customers that are not held, if there are any called so; UnavailableError."""
        with self._lock, self.database.reading() as connection:
            if found := customers_called(connection, names):
                self._load(connection, found)
                for listener in self._on_read:
                    listener(connection)

    def ids(self, names: Iterable[str]) -> dict[str, int]:
        """The ids of those that there are, by name; UnavailableError."""
        with self.database.reading() as connection:
            return {name: number for number, name in customers_called(connection, names)}

    def _load(self, connection: Connection, found: Sequence[tuple[int, str]]) -> None:
        """Hold these, with all that is stored of them."""
        with self._book.lock:
            self._book.hold(found, self._clock())
        ids = np.array([one[0] for one in found], np.int64)
        for rows in quotas_of(connection, ids.tolist()):
            self._put_quotas(rows)
        for usages, change in usages_of(connection, list(self._book.provider_at), ids.tolist()):
            self._put_usages(usages.of(ids), change)

    def _read_quotas(self, connection: Connection, first: int) -> None:
        highest = 0
        for rows in changed_quotas(connection, self._since["quotas"], first):
            self._put_quotas(rows)
            highest = max(highest, int(rows[:, 2].max()))
        self._note("quotas", last_change(connection, quotas) if first else highest)

    def _put_quotas(self, rows: Numbers) -> None:
        """Take rows of quotas, as far as their customers are held."""
        with self._book.lock:
            numbers = self._book.held.at(rows[:, 0])
            rows, numbers = rows[numbers > 0], numbers[numbers > 0]
            for provider in np.unique(rows[:, 1]).tolist():
                there = rows[:, 1] == provider
                some, here = rows[there], numbers[there]
                for control in range(len(CONTROLS)):
                    self._book.put_limits(provider, control, here, some[:, 3 + control])
                self._book.put_changes(provider, here, some[:, 2])
        self._listeners.on_limits(np.unique(numbers))

    def _read_usages(self, connection: Connection, first: int) -> None:
        for usages, change in changed_usages(connection, self._since["utilization"], first):
            self._put_usages(usages, change)
            self._note("utilization", change)
        if first:
            self._note("utilization", last_change(connection, utilization))

    def put_usages(self, usages: Usages, change: int) -> None:
        """Take usages that this server has stored by a change; those not newer than what is known change nothing."""
        with self._lock:
            self._put_usages(usages, change)

    def _put_usages(self, usages: Usages, change: int) -> None:
        self.newest_usage = max(self.newest_usage, change)
        with self._book.lock:
            for listener in self._before_usages:
                listener(usages)
            here = self._book.here(usages)
            self._book.put_usage(here)
        self._listeners.on_usages(here)

    def measured(self, rows: Sequence[tuple[int, int, int]]) -> list[float]:
        """When each control of a customer was last measured at a provider; UnavailableError."""
        ids = np.array([row[1] for row in rows], np.int64)
        with self._book.lock:
            numbers = self._book.held.at(ids).tolist()
            times = [
                self._book.times.get(provider, control, number) if number else 0.0
                for (control, _, provider), number in zip(rows, numbers, strict=True)
            ]
        away = ids[np.array(numbers, np.int64) == 0]
        return times if not len(away) else self._with_stored(rows, times, away)

    def _with_stored(self, rows: Sequence[tuple[int, int, int]], times: list[float], away: Numbers) -> list[float]:
        """The same, with what is stored of customers that are not held."""
        stored: dict[tuple[int, int, int], float] = {}
        with self._lock, self.database.reading() as connection:
            for usages, change in usages_of(connection, sorted({row[2] for row in rows}), away.tolist()):
                self.newest_usage = max(self.newest_usage, change)
                some = usages.of(away)
                stored.update(
                    ((some.control, customer, some.provider), time)
                    for customer, time in zip(some.customers.tolist(), some.times.tolist(), strict=True)
                )
        return [time or stored.get(row, 0.0) for row, time in zip(rows, times, strict=True)]

    def _note(self, topic: str, change: int) -> None:
        self._since[topic] = max(self._since[topic], change)
