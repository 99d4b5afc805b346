"""The quota service in one place: its parts, made and wired; every face is given this."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from carbonquota.cluster.grant_store import GrantStore
from carbonquota.hub.domain.book import Book, Numbers
from carbonquota.hub.domain.grants import GrantBook, GrantTerms
from carbonquota.hub.domain.ranking import UsageHistory
from carbonquota.hub.domain.rules import RuleKind
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.service.drops import Drops
from carbonquota.hub.service.grants import Granting
from carbonquota.hub.service.history import History
from carbonquota.hub.service.holding import Holding
from carbonquota.hub.service.leases import LENGTH, Leases
from carbonquota.hub.service.lost_grants import LostGrants
from carbonquota.hub.service.providers import Providers
from carbonquota.hub.service.quotas import CustomerQuotas
from carbonquota.hub.service.reserving import DatabaseReserving, Reserving
from carbonquota.hub.service.rules import CheckRules, Rules, not_checked
from carbonquota.hub.service.scraper import Scraper
from carbonquota.hub.service.store_reserving import StoreReserving
from carbonquota.hub.service.synchronizer import BookListeners, Synchronizer
from carbonquota.hub.service.tokens import Tokens
from carbonquota.hub.service.utilization import Utilization
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.migrate import migrate
from carbonquota.model import Clock
from carbonquota.web.listener import ConnectionStats


class Hub:
    """One server of the quota service. May be used from any thread."""

    def __init__(
        self,
        database: Database,
        clock: Clock = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        terms: GrantTerms | None = None,
        check_limits: CheckRules = not_checked,
        store: GrantStore | None = None,
    ) -> None:
        """Nothing is read yet. `clock` gives seconds since the epoch, `monotonic` such that never go back.

        `check_limits` is given texts of limits; whoever makes a hub knows the rate limiter's rules. Parts of quotas are
        reserved in the `store`, where there is one, else in the database.
        """
        terms = terms or GrantTerms()
        self.database = database
        self.clock = clock
        self.book = Book()
        self._grants = GrantBook(terms)
        listeners = BookListeners(self._settle, self._limits_changed, self._grants.drop)
        self.synchronizer = Synchronizer(database, self.book, clock, monotonic, listeners)
        self.history = UsageHistory()
        self.holding = Holding(self.book, self.synchronizer, self._grants, self.history, clock)
        self.writing = Writing(database, self.synchronizer, clock)
        self.providers = Providers(self.writing, self.book)
        self.quotas = CustomerQuotas(self.writing, self.book, self.holding, self.synchronizer)
        self.tokens = Tokens(self.writing, clock, monotonic)
        self.rules = Rules(self.writing, clock)
        self.drops = Drops(self.writing, self.rules, clock)
        self.limits = Rules(self.writing, clock, RuleKind.LIMITS, check_limits)
        self.utilization = Utilization(self.book, self.holding, self.synchronizer, clock, terms.skew)
        self.scraper = Scraper(database, self.book, self.utilization, clock)
        self.stored_history = History(database, self.book, self.holding, clock)
        name = f"{socket.gethostname()}:{os.getpid()}"
        reserving = self._make_reserving(terms, store)
        self.leases = Leases(self.synchronizer, self.book, self._grants, reserving, clock, name)
        self.grants = Granting(self.holding, self._grants, self.leases, self.synchronizer, reserving, clock)
        self.store = store
        self.calls = ConnectionStats()
        """What the gRPC side counts."""

    def _make_reserving(self, terms: GrantTerms, store: GrantStore | None) -> Reserving:
        """Where parts of quotas are reserved."""
        lost = LostGrants(self.database, self.book, terms, self.clock, LENGTH)
        parts = self.database, self.book, self.synchronizer, terms, lost
        return DatabaseReserving(*parts) if store is None else StoreReserving(store, *parts)

    def _settle(self, usages: Usages) -> None:
        """Usage was measured: grants that it has for sure come back."""
        self._grants.settle(usages, self.clock())
        self.grants.room_may_be(usages.customers)

    def _limits_changed(self, customers: Numbers) -> None:
        """CustomerQuotas were changed: what was reserved of them is given up."""
        self._grants.give_up(customers)
        self.grants.room_may_be(customers)

    def open(self) -> None:
        """Bring the tables up to date and read all there is; a HubError where that cannot be."""
        migrate(self.database)
        self.synchronizer.sync()
        self.refresh_rules()
        self.leases.renew()

    def refresh_rules(self) -> None:
        """Read what others released; UnavailableError."""
        self.rules.refresh()
        self.limits.refresh()

    @property
    def trouble(self) -> str:
        """Why the database or the store cannot be used; empty if they can."""
        return self.synchronizer.trouble or self.leases.trouble

    def tend(self) -> None:
        """What is due every few seconds: read what others changed, renew the lease, hand back what is not needed."""
        self.synchronizer.sync()
        self.leases.renew()
        self.leases.hand_back()
        self.leases.bury()
        with self.leases.lock:
            self.holding.tend()
        if self.history.is_due(now := self.clock()):
            self.history.look(self.book, now)
        self.stored_history.record()

    def close(self) -> None:
        """Let go of the database, and of the store."""
        self.database.close()
        if self.store is not None:
            self.store.close()
