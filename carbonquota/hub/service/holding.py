"""Customers in memory: found by name, read where they are not held, and let go where there are too many.

Those that were asked for least recently go first, and nobody goes of whose quotas something is reserved or granted
here. While the database is away those in memory are told of on; of others it cannot be said whether they exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from carbonquota.hub.domain.book import Book, Numbers
from carbonquota.hub.domain.errors import NotFoundError
from carbonquota.hub.domain.grants import GrantBook
from carbonquota.hub.domain.ranking import UsageHistory
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.model import Clock

LEAVING: Final = 120.0
"""Seconds that a number stays a customer's who was let go: longer than anything that is begun with it takes."""
_SLACK: Final = 32
"""So many parts of all are let go one part at a time, as each time all have to be looked through."""


class Holding:
    """Finds customers. May be used from any thread."""

    def __init__(
        self, book: Book, synchronizer: Synchronizer, grants: GrantBook, history: UsageHistory, clock: Clock
    ) -> None:
        """Of customers in `book`."""
        self.book = book
        self._held = book.held
        self._synchronizer = synchronizer
        self._grants = grants
        self._history = history
        self._clock = clock

    def number(self, name: str) -> int:
        """A customer's number; NotFoundError, or UnavailableError where that cannot be known."""
        number = self.numbers([name])[0]
        if not number:
            raise NotFoundError(f"there is no customer called {name!r}")
        return number

    def knows(self, name: str) -> bool:
        """Whether there is such a customer; UnavailableError where that cannot be known."""
        return bool(self.numbers([name])[0])

    def id(self, number: int) -> int:
        """The id of a customer in memory."""
        return int(self._held.ids[number])

    def numbers(self, names: Sequence[str]) -> list[int]:
        """The numbers of customers, 0 where there is none called so; UnavailableError where that cannot be known."""
        found = self._in_memory(names)
        if 0 in found and not self._held.is_complete:
            self._synchronizer.hold(name for name, number in zip(names, found, strict=True) if not number)
            found = self._in_memory(names)
            self._let_go()
        return found

    def _in_memory(self, names: Sequence[str]) -> list[int]:
        found = list(map(self.book.numbers.get, names))
        now = self._clock()
        if None in found and not self._held.is_complete:
            with self.book.lock:
                found = [self._held.found(name, now) for name in names]
        numbers = [number or 0 for number in found] if None in found else cast("list[int]", found)
        self._held.note_used(numbers, now)
        return numbers

    def ids(self, names: Sequence[str]) -> list[int]:
        """The ids of customers, 0 where there is none called so; nobody is read into memory for that."""
        numbers = [number or 0 for number in map(self.book.numbers.get, names)]
        ids: list[int] = self._held.ids[numbers].tolist()
        if 0 in ids and not self._held.is_complete:
            there = self._synchronizer.ids(name for name, one in zip(names, ids, strict=True) if not one)
            ids = [one or there.get(name, 0) for name, one in zip(names, ids, strict=True)]
        return ids

    def tend(self) -> None:
        """Let go whoever is too many, and have the numbers of those who left be free; the lease's lock is held."""
        self._let_go()
        with self.book.lock:
            left = self._held.left_before(self._clock() - LEAVING)
            left = left[self._grants.is_free(left)]
            for number in left.tolist():
                self._grants.wipe(number)
                self.book.free(number)
            if len(left):
                self._history.forget(left)

    def _let_go(self) -> None:
        """Have as many be held as may be, and some fewer."""
        with self.book.lock:
            most, count = self._held.most, len(self.book.numbers)
            if count <= most:
                return
            oldest = self._held.least_used()
            free = oldest[self._grants.is_free(oldest)]
            self._held.let_go(_first(free, count - most + most // _SLACK), self._clock())


def _first(numbers: Numbers, count: int) -> list[int]:
    found: list[int] = numbers[:count].tolist()
    return found
