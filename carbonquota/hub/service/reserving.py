"""Where servers reserve parts of quotas before they grant from them: in the database, or in a store that they share.

`Reserving` is what both have in common; `store_reserving` is the other one. In the database, all happens in one
transaction: it reads what all servers have reserved, then limits and usage, and takes what a write needs and some more,
the less the nearer the quota is. What everybody reserved is read before the usage, since reservations only end after
the usage that has them is stored: so nothing can be missing from both. What was deleted is read last, since it ends
with the very transaction that stores the usage without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.grants import GrantTerms
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.service.lost_grants import LOST, LostGrants
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import reservations
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.reservations import Sums
from carbonquota.model import MAXIMUM

Row = tuple[int, int, int]
"""Control, customer (its id) and provider of what a server has reserved."""

Returned = Sequence[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]
"""Provider, control, customers (their ids) and amounts of what is not reserved any more."""


@dataclass(slots=True)
class Want:
    """A write that memory cannot grant: a `piece` of it now, of `size` in all, with `held` reserved already.

    `customer` is the number in memory, `id` that in the database.

    `given` is how much more was reserved for it, -1 where it would pass a quota; `quotas` are limit and what was left
    of each. Where it has to wait for something else, `waits_for` says for what.
    """

    customer: int
    id: int
    provider: int
    control: int
    piece: int
    size: int
    held: int = 0
    given: int = 0
    quotas: list[tuple[int, int]] = field(default_factory=list)
    waits_for: str = ""


class Reserving(Protocol):
    """A place where servers reserve. Each call raises UnavailableError where it cannot be done now."""

    def confirm(self) -> bool:
        """Find out whether all is there that was reserved; False where it may be lost, and all begin anew."""

    def reserve(self, wants: Sequence[Want], server: int, servers: int) -> None:
        """Reserve for the wants of a server, one of so many."""

    def release(self, server: int, returned: Returned) -> None:
        """Have less be reserved for a server."""

    def rows(self, server: int) -> list[Row]:
        """Where a server has something reserved."""

    def drop(self, server: int, rows: Sequence[Row], now: float) -> bool:
        """A server that is gone has nothing reserved there any more; False where it is not gone."""

    def gave_back(self) -> None:
        """Something that was deleted was noted in the database, and counts from now on."""

    def held(self, connection: Connection, want: Want) -> int:
        """Usage at a provider, and all that may be written there since, within a transaction that has the lock."""


def known(wants: Iterable[Want], lost: LostGrants) -> list[Want]:
    """Those of whom no grants were lost; the others are told what they wait for."""
    found = []
    for want in wants:
        if lost.may_be_of(want.customer, want.provider, want.control):
            want.waits_for = LOST
        else:
            found.append(want)
    return found


@dataclass(slots=True)
class _Left:
    """What is left of the quotas of the customers of a batch, as the transaction sees it."""

    book: Book
    control: int
    reserved: Sums
    deleted: Sums
    taken: dict[tuple[int, int], int] = field(default_factory=dict)

    def of(self, want: Want) -> list[tuple[int, int]]:
        """Limit and what is left of it, of each quota that such a write counts against."""
        found = []
        for where in (TOTAL, want.provider):
            limit = self.book.limits.get(where, self.control, want.customer)
            if limit:
                found.append((~limit, ~limit - self.held(want, where)))
        return found

    def held(self, want: Want, where: int) -> int:
        """Usage, and all that may be written since, at a provider or in all."""
        used = int(self.book.usage.get(where, self.control, want.customer))
        reserved, deleted = self.reserved.get(want.id, {}), self.deleted.get(want.id, {})
        if where == TOTAL:
            return used + sum(reserved.values()) - sum(deleted.values())
        return used + reserved.get(where, 0) - deleted.get(where, 0)

    def take(self, want: Want) -> None:
        """What is given was reserved."""
        place, by_provider = (want.id, want.provider), self.reserved.setdefault(want.id, {})
        by_provider[want.provider] = by_provider.get(want.provider, 0) + want.given
        self.taken[place] = self.taken.get(place, 0) + want.given


class DatabaseReserving:
    """Reserves in the database."""

    def __init__(
        self, database: Database, book: Book, synchronizer: Synchronizer, terms: GrantTerms, lost: LostGrants
    ) -> None:
        """Nothing is reserved yet."""
        self._lost = lost
        self._database = database
        self._book = book
        self._synchronizer = synchronizer
        self._most = terms.max_grant

    def confirm(self) -> bool:
        """A database forgets nothing, but a store that was in its place may have been left."""
        return self._lost.agree(0)

    def reserve(self, wants: Sequence[Want], server: int, servers: int) -> None:
        """One transaction for all."""
        with self._database.writing() as connection:
            reservations.lock(connection)
            for control in sorted({want.control for want in wants}):
                some = known([want for want in wants if want.control == control], self._lost)
                left = self._left(connection, control, {want.id for want in some})
                for want in some:
                    self._decide(want, left, servers)
                reservations.reserve(connection, server, control, left.taken)

    def _decide(self, want: Want, left: _Left, servers: int) -> None:
        want.quotas = left.of(want)
        least = min((rest for _, rest in want.quotas), default=MAXIMUM)
        if want.size > least + want.held:
            want.given = -1
            return
        want.given = max(want.piece - want.held, 0, min(self._most, least // (2 * servers)))
        left.take(want)

    def _left(self, connection: Connection, control: int, ids: Iterable[int]) -> _Left:
        """What is left of quotas of customers, as this transaction sees it; the order of reading matters."""
        some = list(ids)
        reserved = reservations.reserved(connection, control, some)
        self._synchronizer.read_in(connection)
        return _Left(self._book, control, reserved, reservations.deleted(connection, control, some))

    def release(self, server: int, returned: Returned) -> None:
        """One transaction for all."""
        with self._database.writing() as connection:
            for provider, control, customers, amounts in returned:
                less = dict(zip(customers.tolist(), amounts.tolist(), strict=True))
                reservations.release(connection, server, control, provider, less)

    def rows(self, server: int) -> list[Row]:
        """As the database has them."""
        with self._database.reading() as connection:
            return reservations.rows_of_server(connection, server)

    def drop(self, server: int, rows: Sequence[Row], now: float) -> bool:
        """In a transaction that sees it gone."""
        with self._database.writing() as connection:
            if reservations.leases(connection).get(server, now) >= now:
                return False
            reservations.drop_rows(connection, server, rows)
        return True

    def gave_back(self) -> None:
        """The next transaction reads it."""

    def held(self, connection: Connection, want: Want) -> int:
        """With what was deleted already."""
        return self._left(connection, want.control, [want.id]).held(want, want.provider)
