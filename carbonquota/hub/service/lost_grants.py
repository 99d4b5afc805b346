"""Grants that nobody knows any more, as what kept them lost them: until when, and whose usage may lack them.

The database keeps where parts of quotas are reserved: 0 is in the database itself, and any other number is a store, by
the time since when that has lost nothing. Where that changes, all that may have been granted before is unknown: all
servers begin anew, and nobody is granted anything until each provider was measured after the last of these grants had
ended.
"""

from __future__ import annotations

import logging
from typing import Final

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.grants import GrantTerms
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.storage import counters, reservations
from carbonquota.hub.storage.database import Database
from carbonquota.model import Clock

_log = logging.getLogger(__name__)

_SINCE: Final = "store since"
_MEASURED: Final = "store measured"
"""The counter with the second at which a measurement has all that was granted before."""

LOST: Final = "the store has lost what was granted: nothing is granted here before usage is told anew"


class LostGrants:
    """What one server knows of them."""

    def __init__(self, database: Database, book: Book, terms: GrantTerms, clock: Clock, lease: float) -> None:
        """Nothing is read yet. Servers grant for `lease` seconds at most without hearing of what keeps them."""
        self._database = database
        self._book = book
        self._clock = clock
        self._ended = lease + terms.counts
        self._since = -1
        self._measured = 0

    @property
    def since(self) -> int:
        """Where parts of quotas are reserved, as all servers have agreed."""
        return self._since

    def agree(self, since: int) -> bool:
        """Have all servers reserve there; False where this one has to begin anew. UnavailableError."""
        with self._database.reading() as connection:
            known = counters.read(connection, _SINCE)
        if known != since and (since or known):
            self._change(since)
        elif since != self._since:
            with self._database.reading() as connection:
                self._measured = counters.read(connection, _MEASURED) or 0
        elif not since or known == since:
            return True
        is_first, self._since = self._since < 0, since
        return is_first

    def _change(self, since: int) -> None:
        with self._database.writing() as connection:
            reservations.lock(connection)
            known = counters.read(connection, _SINCE)
            if known != since:
                # Where nobody has ever reserved anything, nothing can be lost.
                is_new = known is None and not reservations.has_any(connection)
                counters.put(connection, _SINCE, since)
                counters.put(connection, _MEASURED, 0 if is_new else int(self._clock() + self._ended) + 1)
                if not is_new:
                    _log.warning("%s", LOST)
            self._measured = counters.read(connection, _MEASURED) or 0

    def may_be_of(self, customer: int, provider: int, control: int) -> bool:
        """Whether some may count against a write there, without being in the usage that is known."""
        if not self._measured:
            return False
        times = self._book.times
        is_in_all = self._book.limits.get(TOTAL, control, customer)
        for at in tuple(self._book.provider_at) if is_in_all else (provider,):
            told = times.get(at, control, customer)
            if not told and times.has(at, control):
                # Of whom a provider tells nothing, it holds nothing there.
                told = times.column(at, control).max(initial=0.0)
            if told < self._measured:
                return True
        return False
