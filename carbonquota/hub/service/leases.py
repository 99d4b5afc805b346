"""Until when this server may grant, and what becomes of grants of those that are gone.

A server renews its lease again and again. One that cannot renew it grants nothing more when it ends: from then on its
grants count as made before that end, and are forgotten once a later measurement has them, by whichever server is there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import RLock
from typing import Final

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.grants import GrantBook
from carbonquota.hub.service.reserving import Reserving, Row
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import reservations
from carbonquota.model import Clock

_log = logging.getLogger(__name__)

LENGTH: Final = 15.0
"""Seconds of a lease; it is renewed every third of that."""


class Leases:
    """The lease of one server, and its care for those of others."""

    def __init__(
        self, synchronizer: Synchronizer, book: Book, grants: GrantBook, reserving: Reserving, clock: Clock, name: str
    ) -> None:
        """Nothing is leased yet."""
        self._reserving = reserving
        self._synchronizer = synchronizer
        self._database = synchronizer.database
        self._book = book
        self._grants = grants
        self._clock = clock
        self._name = name
        self.lock = RLock()
        """Held while our number may change, and while something is reserved or released under it."""
        self.server = 0
        """Our number; 0 before the first lease."""
        self.until = 0.0
        """When we stop granting, in seconds since the epoch, by our clock."""
        self.servers = 1
        """How many there are."""
        self.trouble = ""
        """Why it could not be renewed last time; empty if it could."""
        self._is_lost = False

    def renew(self) -> None:
        """Go on for the length of a lease; UnavailableError."""
        with self.lock:
            try:
                self._renew()
            except UnavailableError as error:
                self.trouble = str(error)
                raise
            self.trouble = ""

    def _renew(self) -> None:
        now = self._clock()
        if not self._reserving.confirm():
            self._is_lost = True
        with self._database.writing() as connection:
            is_over = self.server and (now >= self.until or self._is_lost)
            if is_over or not (self.server and reservations.renew(connection, self.server, now + LENGTH)):
                number = reservations.new_server(connection, self._name, now + LENGTH)
            else:
                number = self.server
            self.servers = max(1, sum(until > now for until in reservations.leases(connection).values()))
        if number != self.server:
            # What was reserved under the number before is lost with it, and counts until it is measured.
            self._grants.forget()
        self.server, self.until = number, now + LENGTH - self._grants.terms.skew
        self._is_lost = False

    def hand_back(self, *, everything: bool = False) -> None:
        """Tell the database of what was freed, and of what is not needed; UnavailableError, and it is told later."""
        with self.lock:
            self._hand_back(everything=everything)

    def _hand_back(self, *, everything: bool) -> None:
        self._grants.hand_back(self._clock(), everything=everything)
        returned = self._grants.take_returned()
        if not returned:
            return
        try:
            ids = self._book.held.ids
            self._reserving.release(
                self.server, [(at, control, ids[some], less) for at, control, some, less in returned]
            )
        except BaseException:
            self._grants.put_returned(returned)
            raise

    def end(self) -> None:
        """Grant nothing more, and leave what was granted to those who go on; UnavailableError."""
        if not self.server:
            return
        self.until = 0.0
        self.hand_back(everything=True)
        with self._database.writing() as connection:
            reservations.renew(connection, self.server, self._clock())

    def bury(self) -> None:
        """Forget grants of servers that are gone where they were measured since; UnavailableError."""
        now = self._clock()
        with self._database.reading() as connection:
            gone = {one: until for one, until in reservations.leases(connection).items() if until < now}
        for server in gone.keys() - {self.server}:
            reserved = self._reserving.rows(server)
            measured = self._measured(reserved, gone[server])
            if (reserved and not measured) or not self._reserving.drop(server, measured, now):
                continue
            if len(measured) == len(reserved):
                with self._database.writing() as connection:
                    reservations.drop_server(connection, server)

    def _measured(self, rows: Sequence[Row], until: float) -> list[Row]:
        """Those of which a measurement has all that was granted until then."""
        enough = until + self._grants.terms.counts
        times = self._synchronizer.measured(rows)
        return [row for row, measured in zip(rows, times, strict=True) if measured >= enough]
