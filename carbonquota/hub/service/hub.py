"""The quota service in one place: its parts, made and wired; every face is given this."""

from __future__ import annotations

import time
from collections.abc import Callable

from carbonquota.hub.domain.book import Book
from carbonquota.hub.service.quotas import Quotas
from carbonquota.hub.service.rules import Rules
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.service.tokens import Tokens
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.migrate import migrate
from carbonquota.model import Clock


class Hub:
    """One server of the quota service. May be used from any thread."""

    def __init__(
        self, database: Database, clock: Clock = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is read yet. `clock` gives seconds since the epoch, `monotonic` such that never go back."""
        self.database = database
        self.clock = clock
        self.book = Book()
        self.synchronizer = Synchronizer(database, self.book, monotonic)
        self.writing = Writing(database, self.synchronizer, clock)
        self.quotas = Quotas(self.writing, self.book)
        self.tokens = Tokens(self.writing, clock, monotonic)
        self.rules = Rules(self.writing, clock)

    def open(self) -> None:
        """Bring the tables up to date and read all there is; a HubError where that cannot be."""
        migrate(self.database)
        self.synchronizer.sync()
        self.rules.refresh()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()
