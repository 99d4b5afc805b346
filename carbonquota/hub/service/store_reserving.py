"""Reserves in a store that servers share (a Valkey), so that the database is not asked when a quota runs short.

Theory of operation. The store keeps what is reserved, as slices of what quotas leave (`cluster/grants.lua`); limits,
usage and what was deleted come out of memory, as they were in the database at one version. Reservations end once usage
has them: whoever ends them tells the version of the database that has it, and a server whose memory is older reads
first. So nothing can be missing from both.

A store can lose what it was told: by a restart, a flush, an eviction, or as a replica takes over. `lost_grants` has
what follows from that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import Connection

from carbonquota.cluster.grant_store import ForgetfulStoreError, GrantStore, Less, Place, ReserveRequest
from carbonquota.cluster.store import StoreError
from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.grants import GrantTerms
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.domain.usages import Usages
from carbonquota.hub.service.lost_grants import LOST, LostGrants
from carbonquota.hub.service.reserving import Returned, Row, Want, known
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import reservations
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.reservations import Credits
from carbonquota.model import MAXIMUM

_ATTEMPTS: Final = 3
_Value = TypeVar("_Value")


class StoreReserving:
    """Reserves in a store."""

    def __init__(
        self,
        store: GrantStore,
        database: Database,
        book: Book,
        synchronizer: Synchronizer,
        terms: GrantTerms,
        lost: LostGrants,
    ) -> None:
        """Nothing is asked yet."""
        self._store = store
        self._database = database
        self._book = book
        self._synchronizer = synchronizer
        self._terms = terms
        self._lost = lost
        self._credits: Credits = {}
        synchronizer.on_read(self._read_credits)
        synchronizer.before_usages(self._forget_credits)

    def confirm(self) -> bool:
        """Ask the store since when it has lost nothing."""
        return self._lost.agree(_told(self._store.since))

    def reserve(self, wants: Sequence[Want], server: int, servers: int) -> None:
        """One round trip for all, and another one for those that have to know more of the database first."""
        left = known(wants, self._lost)
        for _ in range(_ATTEMPTS):
            if not left:
                return
            requests = [self._request(want) for want in left]
            try:
                most = self._terms.max_grant
                reserved = _told(partial(self._store.reserve, self._lost.since, server, servers, most, requests))
            except ForgetfulStoreError:
                raise UnavailableError(f"{LOST}: try again") from None
            behind = []
            for want, request, found in zip(left, requests, reserved, strict=True):
                if found is None:
                    behind.append(want)
                    continue
                want.given = found.given
                rooms = ((request.in_all, found.in_all, TOTAL), (request.there, found.there, want.provider))
                want.quotas = [(self._limit(want, at), rest) for room, rest, at in rooms if room is not None]
            left = behind
            if left:
                self._synchronizer.sync()
        raise UnavailableError("usage changes faster than it can be read: try again")

    def _request(self, want: Want) -> ReserveRequest:
        place = Place(want.control, want.id, want.provider)
        version = self._synchronizer.usage_version
        with self._book.lock:
            in_all, there = self._room(want, TOTAL), self._room(want, want.provider)
        return ReserveRequest(place, version, want.piece, want.size, want.held, in_all, there)

    def _room(self, want: Want, where: int) -> int | None:
        """What a quota leaves beside what is reserved; None for no quota."""
        limit = self._limit(want, where)
        if limit > MAXIMUM:
            return None
        credit = self._credits.get((want.control, want.id), {})
        deleted = sum(credit.values()) if where == TOTAL else credit.get(where, 0)
        return limit - int(self._book.usage.get(where, want.control, want.customer)) + deleted

    def _limit(self, want: Want, where: int) -> int:
        limit = self._book.limits.get(where, want.control, want.customer)
        return ~limit if limit else MAXIMUM + 1

    def _read_credits(self, connection: Connection) -> None:
        """What was deleted, as a transaction sees it that has read usage before."""
        found = reservations.all_given_back(connection)
        with self._book.lock:
            self._credits = found

    def _forget_credits(self, usages: Usages) -> None:
        """Usage may have these deletions; called under the book's lock, before it is put into the book."""
        if not self._credits:
            return
        there = set(usages.customers.tolist())
        for (control, customer), credit in self._credits.items():
            if control == usages.control and customer in there:
                credit.pop(usages.provider, None)

    def release(self, server: int, returned: Returned) -> None:
        """One call for all."""
        fence = self._synchronizer.newest_usage
        places = [
            Less(Place(control, customer, provider), amount)
            for provider, control, customers, amounts in returned
            for customer, amount in zip(customers.tolist(), amounts.tolist(), strict=True)
        ]
        _told(lambda: self._store.release(server, fence, places))

    def rows(self, server: int) -> list[Row]:
        """As the store has them."""
        return [(one.control, one.customer, one.provider) for one in _told(lambda: self._store.held(server))]

    def drop(self, server: int, rows: Sequence[Row], now: float) -> bool:
        """Once the database sees it gone."""
        fence = self._synchronizer.newest_usage
        with self._database.reading() as connection:
            if reservations.leases(connection).get(server, now) >= now:
                return False
        _told(lambda: self._store.release(server, fence, [Less(Place(*row), None) for row in rows]))
        return True

    def gave_back(self) -> None:
        """Read it now, as nothing else does before more is reserved."""
        self._synchronizer.sync()

    def held(self, connection: Connection, want: Want) -> int:
        """Usage, and what is reserved, less what was deleted already."""
        self._synchronizer.read_in(connection)
        control, provider = want.control, want.provider
        reserved = _told(lambda: self._store.reserved(control, want.id)).get(provider, 0)
        credit = reservations.deleted(connection, control, [want.id]).get(want.id, {}).get(provider, 0)
        return int(self._book.usage.get(provider, control, want.customer)) + reserved - credit


def _told(call: Callable[[], _Value]) -> _Value:
    """What the store says; UnavailableError where it does not."""
    try:
        return call()
    except StoreError as error:
        raise UnavailableError(f"{error}: nothing was changed, try again") from error
