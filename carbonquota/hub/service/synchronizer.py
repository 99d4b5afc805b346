"""Keeps the book in memory in line with the database: all of it at the start, then what was changed, again and again.

A server that has changed something reads it back at once; others hear of it within the interval. While the database is
away the book stays as it is, and `age` says how old that is.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.storage.changes import changed_customers, changed_providers, changed_quotas
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.utilization import changed_usages

Numbers = NDArray[np.int64]


class Synchronizer:
    """Reads changes of one database into one book. May be used from any thread."""

    def __init__(
        self,
        database: Database,
        book: Book,
        monotonic: Callable[[], float],
        on_usages: Callable[[Usages], None],
        on_limits: Callable[[Numbers], None],
        on_gone: Callable[[int], None],
    ) -> None:
        """Nothing is read yet. Listeners hear of usages, of customers with other limits, and of providers gone."""
        self.database = database
        self._book = book
        self._monotonic = monotonic
        self._on_usages = on_usages
        self._on_limits = on_limits
        self._on_gone = on_gone
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
        self._read_customers(connection)
        self._read_quotas(connection)
        self._read_usages(connection)
        for listener in self._on_read:
            listener(connection)

    def _read_providers(self, connection: Connection) -> None:
        for number, provider, deleted, change in changed_providers(connection, self._since["providers"]):
            with self._book.lock:
                self._book.put_provider(number, provider, deleted=deleted)
            if deleted:
                self._on_gone(number)
            self._note("providers", change)

    def _read_customers(self, connection: Connection) -> None:
        highest = 0
        for rows in changed_customers(connection, self._since["customers"]):
            with self._book.lock:
                self._book.put_customers(rows)
            highest = max(highest, *(row[3] for row in rows))
        self._note("customers", highest)

    def _read_quotas(self, connection: Connection) -> None:
        highest = 0
        for rows in changed_quotas(connection, self._since["quotas"]):
            with self._book.lock:
                self._book.reserve(int(rows[:, 0].max()) + 1)
                for provider in np.unique(rows[:, 1]).tolist():
                    some = rows[rows[:, 1] == provider]
                    for control in range(len(CONTROLS)):
                        self._book.put_limits(provider, control, some[:, 0], some[:, 3 + control])
            self._on_limits(np.unique(rows[:, 0]))
            highest = max(highest, int(rows[:, 2].max()))
        self._note("quotas", highest)

    def _read_usages(self, connection: Connection) -> None:
        for usages, change in changed_usages(connection, self._since["utilization"]):
            self._put_usages(usages, change)
            self._note("utilization", change)

    def put_usages(self, usages: Usages, change: int) -> None:
        """Take usages that this server has stored by a change; those not newer than what is known change nothing."""
        with self._lock:
            self._put_usages(usages, change)

    def _put_usages(self, usages: Usages, change: int) -> None:
        self.newest_usage = max(self.newest_usage, change)
        with self._book.lock:
            for listener in self._before_usages:
                listener(usages)
            self._book.reserve(int(usages.customers.max(initial=0)) + 1)
            self._book.put_usage(usages)
        self._on_usages(usages)

    def _note(self, topic: str, change: int) -> None:
        self._since[topic] = max(self._since[topic], change)
