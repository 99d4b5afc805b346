"""What servers of the quota service reserve of quotas, in the store.

One call is one atomic step of `grants.lua`, where the theory of it stands. This file packs and unpacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple

from carbonquota.cluster.store import MOST_SHARED, Membership, Store, StoreClient

_MOST: Final = 1_000
"""Places in one call, so that the store answers others in between."""
_GIVEN: Final = 1


class Place(NamedTuple):
    """Where something is reserved, by numbers."""

    control: int
    customer: int
    provider: int


class ReserveRequest(NamedTuple):
    """Reserve for a write: a `piece` of it now, of `size` in all, with what is `held` of before and not granted.

    `in_all` and `there` are what both quotas leave beside what is reserved, None for no limit; the usage in them is as
    the database had it at `version`.
    """

    place: Place
    version: int
    piece: int
    size: int
    held: int
    in_all: int | None
    there: int | None


class Reserved(NamedTuple):
    """What came of it: `given` is reserved from now on, -1 is that the write would pass a quota.

    `in_all` and `there` are what both quotas had left before.
    """

    given: int
    in_all: int
    there: int


class Less(NamedTuple):
    """So much less is reserved at a place; None is that nothing is any more."""

    place: Place
    amount: int | None


class ForgetfulStoreError(Exception):
    """The store may have forgotten what was reserved: it was restarted, flushed, or evicted a key."""


class GrantStore:
    """The calls. May be used from any thread."""

    def __init__(self, connect: Callable[[], StoreClient], cluster: str) -> None:
        """`connect` gives a client; it is called anew after an error."""
        self._store = Store(connect, cluster, Membership(""))
        self._lock = Lock()

    def since(self) -> int:
        """Since when, in ms, nothing can be missing from the store; StoreError, as all calls."""
        return int(self._call("cq1_grants_since", [self._store.key("server")], []))

    def reserve(
        self, since: int, server: int, servers: int, most: int, requests: Sequence[ReserveRequest]
    ) -> list[Reserved | None]:
        """Reserve for a server, one of so many, `most` ahead; None is that the database has to be read first.

        ForgetfulStoreError where something can be missing since then.
        """
        found: list[Reserved | None] = []
        for start in range(0, len(requests), _MOST):
            some = requests[start : start + _MOST]
            keys, numbers = self._grant_keys(one.place for one in some)
            args: list[Any] = [since, server, servers, min(most, MOST_SHARED)]
            for one in some:
                place = one.place
                args += (numbers[place[:2]], f"{place.control}:{place.customer}", place.provider, one.version)
                args += (one.piece, one.size, one.held, _room(one.in_all), _room(one.there))
            answer = self._call("cq1_reserve", [self._store.key("server"), self._held(server), *keys], args)
            if len(answer) == 1:
                raise ForgetfulStoreError
            found += [
                Reserved(*answer[at + 1 : at + 4]) if answer[at] == _GIVEN else None for at in range(0, len(answer), 4)
            ]
        return found

    def release(self, server: int, fence: int, places: Sequence[Less]) -> None:
        """Have less be reserved for a server, as usage has it from a version of the database on."""
        for start in range(0, len(places), _MOST):
            some = places[start : start + _MOST]
            keys, numbers = self._grant_keys(one.place for one in some)
            args: list[Any] = [server, fence]
            for place, amount in some:
                args += (numbers[place[:2]], f"{place.control}:{place.customer}", place.provider)
                args.append("" if amount is None else amount)
            self._call("cq1_let_off", [self._held(server), *keys], args)

    def reserved(self, control: int, customer: int) -> dict[int, int]:
        """What all servers have reserved of a customer's quotas, by provider."""
        found: dict[int, int] = {}
        flat = self._call("cq1_reserved", [self._grant(control, customer)], [])
        for field, amount in zip(flat[::2], flat[1::2], strict=True):
            provider = int(field.split(b":")[0])
            found[provider] = found.get(provider, 0) + int(amount)
        return found

    def held(self, server: int) -> list[Place]:
        """Where a server has something reserved."""
        fields = self._call("cq1_held", [self._held(server)], [])
        return [Place(*map(int, field.split(b":"))) for field in fields]

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._store.close()

    def _call(self, function: str, keys: Sequence[str], args: Sequence[Any]) -> Any:  # noqa: ANN401 - as it comes
        with self._lock:
            return self._store.call(function, keys, args)

    def _grant_keys(self, places: Any) -> tuple[list[str], dict[tuple[int, int], int]]:  # noqa: ANN401 - an iterator
        """The keys of these customers, and which is whose, from 1 on."""
        numbers: dict[tuple[int, int], int] = {}
        for control, customer, _ in places:
            numbers.setdefault((control, customer), len(numbers) + 1)
        return [self._grant(*one) for one in numbers], numbers

    def _grant(self, control: int, customer: int) -> str:
        return self._store.key(f"grant:{control}:{customer}")

    def _held(self, server: int) -> str:
        return self._store.key(f"held:{server}")


def _room(left: int | None) -> int | str:
    """What a quota leaves, as the store can count it."""
    return "" if left is None else max(-MOST_SHARED, min(left, MOST_SHARED))
