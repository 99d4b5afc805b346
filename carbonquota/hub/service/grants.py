"""May somebody write? Decided in memory where enough is reserved, else by reserving more in the database.

Theory of operation. A server grants from what it reserved (`domain.grants`). Where that does not suffice, one thread at
a time reserves more, for all that wait: within a transaction it reads what all servers have reserved, then limits and
usage, and takes what the write needs and some more, the less the nearer the quota is. What everybody reserved is read
before the usage, since reservations only end after the usage that has them is stored: so nothing can be missing from
both. What was deleted is read last, since it ends with the very transaction that stores the usage without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from sqlalchemy import Connection

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import GRANTED, NUMBER
from carbonquota.hub.domain.errors import InvalidError, UnavailableError
from carbonquota.hub.domain.grants import Answers, GrantAnswer, GrantBook
from carbonquota.hub.domain.grid import TOTAL, Grid
from carbonquota.hub.domain.pressure import delay
from carbonquota.hub.service.leases import LENGTH, Leases
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import reservations
from carbonquota.hub.storage.reservations import Sums
from carbonquota.model import MAXIMUM, Clock

_COLUMN: Final = {control: NUMBER[control] for control in GRANTED}

_SOON: Final = 1.0
"""Seconds after which to ask again at the earliest."""

MOST_WRITES: Final = 10_000
"""Writes of one batch."""

_UNKNOWN: Final = GrantAnswer(ok=False, granted=0, reason="there is no such customer or provider")

_HELD: Final = GrantAnswer(ok=True, granted=0)


@dataclass(slots=True)
class _Want:
    """A write that memory cannot grant: a `piece` of it now, of `size` in all; the answer comes into it."""

    customer: int
    provider: int
    control: int
    piece: int
    size: int
    held: int = 0
    given: int = 0
    answer: GrantAnswer = _HELD


@dataclass(slots=True)
class _Batch:
    """The wants of one caller, and how it went."""

    wants: list[_Want]
    is_done: bool = False
    error: UnavailableError | None = None


@dataclass(slots=True)
class _Left:
    """What is left of the quotas of the customers of a batch, as the transaction sees it."""

    book: Book
    control: int
    reserved: Sums
    deleted: Sums
    taken: dict[tuple[int, int], int] = field(default_factory=dict)

    def of(self, customer: int, provider: int) -> list[tuple[int, int]]:
        """Limit and what is left of it, of each quota that such a write counts against."""
        found = []
        for where in (TOTAL, provider):
            limit = self.book.limits.get(where, self.control, customer)
            if limit:
                found.append((~limit, ~limit - self.held(customer, where)))
        return found

    def held(self, customer: int, where: int) -> int:
        """Usage, and all that may be written since, at a provider or in all."""
        used = int(self.book.usage.get(where, self.control, customer))
        reserved, deleted = self.reserved.get(customer, {}), self.deleted.get(customer, {})
        if where == TOTAL:
            return used + sum(reserved.values()) - sum(deleted.values())
        return used + reserved.get(where, 0) - deleted.get(where, 0)

    def take(self, customer: int, provider: int, amount: int) -> None:
        """So much was reserved."""
        by_provider = self.reserved.setdefault(customer, {})
        by_provider[provider] = by_provider.get(provider, 0) + amount
        self.taken[customer, provider] = self.taken.get((customer, provider), 0) + amount


class Granting:
    """Decides about writes. May be used from any thread."""

    def __init__(self, book: Book, grants: GrantBook, leases: Leases, synchronizer: Synchronizer, clock: Clock) -> None:
        """Decide by `grants`, and reserve more under the lease."""
        self._book = book
        self._grants = grants
        self._leases = leases
        self._synchronizer = synchronizer
        self._clock = clock
        self._most, self._lifetime = grants.terms.max_grant, grants.terms.lifetime
        self._last = GrantAnswer(ok=True, granted=0, valid_for=self._lifetime)
        self._numbers, self._providers = book.numbers.get, book.providers.get
        self._waiting: list[_Batch] = []
        self._waiting_lock = Lock()
        self._reserving = Lock()

    def write_ok(self, customer: str, provider: str, size: int, control: str = "bytes") -> GrantAnswer:
        """Whether a customer may write so much at a provider, and how much of it now.

        NotFoundError, InvalidError; UnavailableError where more has to be reserved and the database is away.
        """
        if (answer := self.write_ok_here(customer, provider, size, control)) is not None:
            return answer
        number, at = self._book.customer(customer), self._book.provider(provider)
        column = _granted(control)
        if at == TOTAL:
            raise InvalidError("a write goes to a provider: name it")
        if not 0 <= size <= MAXIMUM:
            raise InvalidError(f"size: {size} is not a whole number from 0 to {MAXIMUM}")
        want = _Want(number, at, column, min(size, self._most), size)
        if size > self._most and size > (left := self._known_left(number, at, column)):
            return self._refusal(want, max(left, 0))
        self._reserve([want])
        return want.answer

    def write_ok_here(self, customer: str, provider: str, size: int, control: str = "bytes") -> GrantAnswer | None:
        """The same, if memory can grant it: waits for nothing, and raises nothing."""
        number, at, column = self._numbers(customer), self._providers(provider), _COLUMN.get(control)
        if number is None or at is None or column is None or size < 0:
            return None
        now = self._clock()
        piece = min(size, self._most)
        if now >= self._leases.until or (piece < size and size > self._known_left(number, at, column)):
            return None
        pause = self._grants.spend(Grid.key(at, column), number, piece, now)
        if not pause and self._last.granted == piece:
            # Most answers are alike, and making one takes as long as all the rest.
            return self._last
        if pause < 0:
            return None
        answer = GrantAnswer(ok=True, granted=piece, delay=pause, valid_for=self._lifetime)
        if not pause:
            self._last = answer
        return answer

    def _known_left(self, customer: int, provider: int, control: int) -> int:
        """What usage alone leaves: no more than that can be granted by anybody."""
        left = MAXIMUM
        for where in (TOTAL, provider):
            if limit := self._book.limits.get(where, control, customer):
                left = min(left, ~limit - int(self._book.usage.get(where, control, customer)))
        return left

    def write_ok_many(
        self, customers: Sequence[str], providers: Sequence[str], sizes: Sequence[int], control: str = "bytes"
    ) -> Answers:
        """The same for many writes, by position. Who is not known is refused, and the others are decided."""
        if not len(customers) == len(providers) == len(sizes) <= MOST_WRITES:
            raise InvalidError(f"give as many customers as providers and sizes, and {MOST_WRITES:,} at most")
        column, most, now = _granted(control), self._grants.terms.max_grant, self._clock()
        if sizes and not 0 <= min(sizes) <= max(sizes) <= MAXIMUM:
            raise InvalidError(f"sizes: all of them are whole numbers from 0 to {MAXIMUM}")
        numbers = [number or 0 for number in map(self._book.numbers.get, customers)]
        key_of = {name: Grid.key(number, column) for name, number in self._book.providers.items()}
        keys = [key or 0 for key in map(key_of.get, providers)]
        # What memory cannot decide has a size that nobody has reserved.
        asked = [size if size <= most else MAXIMUM for size in sizes] if max(sizes, default=0) > most else sizes
        if now >= self._leases.until:
            asked = [MAXIMUM] * len(sizes)
        delays, missed = self._grants.spend_many(keys, numbers, asked, now)
        answers = Answers(list(sizes), delays, {}, self._grants.terms.lifetime)
        if missed:
            self._decide_missed(answers, missed, keys, numbers)
        return answers

    def _decide_missed(self, answers: Answers, missed: list[int], keys: list[int], numbers: list[int]) -> None:
        """Decide those writes of a batch that memory cannot grant, all in one transaction."""
        wants: list[tuple[int, _Want]] = []
        most = self._grants.terms.max_grant
        for position in missed:
            provider, control = Grid.place(keys[position])
            size = answers.granted[position]
            if not numbers[position] or not provider:
                answers.refused[position] = _UNKNOWN
            elif size > most and size > (left := self._known_left(numbers[position], provider, control)):
                want = _Want(numbers[position], provider, control, most, size)
                answers.refused[position] = self._refusal(want, max(left, 0))
            else:
                wants.append((position, _Want(numbers[position], provider, control, min(size, most), size)))
        if wants:
            self._reserve([want for _, want in wants])
        for position, want in wants:
            answers.granted[position], answers.delays[position] = want.answer.granted, want.answer.delay
            if not want.answer.ok:
                answers.refused[position] = want.answer
        for position in answers.refused:
            answers.granted[position] = 0

    def deleted(self, customer: str, provider: str, size: int, control: str = "bytes") -> int:
        """A customer has deleted so much: it may be written again at once. How much of it counts.

        It is not more than what is known to be held.
        """
        number, at = self._book.customer(customer), self._book.provider(provider)
        column = _granted(control)
        if at == TOTAL:
            raise InvalidError("something is deleted at a provider: name it")
        if not 0 <= size <= MAXIMUM:
            raise InvalidError(f"size: {size} is not a whole number from 0 to {MAXIMUM}")
        with self._synchronizer.database.writing() as connection:
            reservations.lock(connection)
            now = self._clock()
            left = self._left(connection, column, [number])
            held = left.held(number, at)
            # A measurement of after the deletion has it already.
            is_measured = self._book.times.get(at, column, number) >= now
            amount = 0 if is_measured else max(0, min(size, held))
            if amount:
                reservations.give_back(connection, column, {(number, at): amount}, now)
        return amount

    def _left(self, connection: Connection, control: int, customers: Iterable[int]) -> _Left:
        """What is left of quotas, as this transaction sees it; the order of reading matters."""
        some = list(customers)
        reserved = reservations.reserved(connection, control, some)
        self._synchronizer.read_in(connection)
        return _Left(self._book, control, reserved, reservations.deleted(connection, control, some))

    def _reserve(self, wants: list[_Want]) -> None:
        """Decide about wants together with all others that wait; UnavailableError."""
        batch = _Batch(wants)
        with self._waiting_lock:
            self._waiting.append(batch)
        with self._reserving:
            if not batch.is_done:
                with self._waiting_lock:
                    batches, self._waiting = self._waiting, []
                self._reserve_for(batches)
        if batch.error is not None:
            raise batch.error

    def _reserve_for(self, batches: list[_Batch]) -> None:
        """One transaction for all; each batch is told how it went."""
        limited = [want for batch in batches for want in batch.wants if not self._is_free(want)]
        error: UnavailableError | None = UnavailableError("a bug kept the write from being decided: see the log")
        try:
            if limited:
                with self._leases.lock:
                    self._reserve_under_lease(limited)
            error = None
        except UnavailableError as raised:
            error = raised
        finally:
            for batch in batches:
                batch.error, batch.is_done = error, True

    def _reserve_under_lease(self, wants: list[_Want]) -> None:
        """Reserve and answer. What was reserved under a lease that has ended is not granted any more."""
        # In good time, as whoever renews leases may have to wait for us.
        if self._clock() >= self._leases.until - LENGTH / 2:
            self._leases.renew()
        for want in wants:
            want.held = self._grants.draw(Grid.key(want.provider, want.control), want.customer)
        try:
            self._transact(wants)
        except BaseException:
            for want in wants:
                want.given, want.answer = 0, _HELD
            self._put(wants)
            raise
        if self._clock() >= self._leases.until:
            raise UnavailableError("the database took so long that the lease has ended: try again")
        self._put(wants)

    def _is_free(self, want: _Want) -> bool:
        """Answer a write that no quota limits."""
        limits = self._book.limits
        is_free = not (
            limits.get(TOTAL, want.control, want.customer) or limits.get(want.provider, want.control, want.customer)
        )
        if is_free:
            want.answer = GrantAnswer(ok=True, granted=want.piece, valid_for=self._grants.terms.lifetime)
        return is_free

    def _transact(self, wants: list[_Want]) -> None:
        """Reserve and answer."""
        with self._synchronizer.database.writing() as connection:
            reservations.lock(connection)
            for control in sorted({want.control for want in wants}):
                some = [want for want in wants if want.control == control]
                left = self._left(connection, control, {want.customer for want in some})
                for want in some:
                    self._answer(want, left)
                reservations.reserve(connection, self._leases.server, control, left.taken)

    def _answer(self, want: _Want, left: _Left) -> None:
        """Decide about one write, and reserve for it and for those to come."""
        quotas = left.of(want.customer, want.provider)
        least = min((rest for _, rest in quotas), default=MAXIMUM)
        if want.size > least + want.held:
            want.answer = self._refusal(want, max(least, 0) + want.held)
            return
        needed = max(want.piece - want.held, 0)
        terms = self._grants.terms
        want.given = max(needed, min(terms.max_grant, least // (2 * self._leases.servers)))
        left.take(want.customer, want.provider, want.given)
        pause = max((delay(limit, rest - needed) for limit, rest in quotas), default=0.0)
        want.answer = GrantAnswer(ok=True, granted=want.piece, delay=pause, valid_for=terms.lifetime)

    def _refusal(self, want: _Want, left: int) -> GrantAnswer:
        """What a writer is told who would pass the quota."""
        provider = self._book.provider_at[want.provider]
        measured = float(self._book.times.get(want.provider, want.control, want.customer))
        wait = measured + provider.interval - self._clock() if measured else provider.interval
        retry = min(max(wait, _SOON), provider.interval)
        reason = f"{want.size:,} would pass the quota, which has {left:,} left"
        return GrantAnswer(ok=False, granted=0, left=left, retry_after=retry, reason=reason)

    def _put(self, wants: list[_Want]) -> None:
        """Have memory know what was reserved and what of it was granted."""
        now = self._clock()
        for want in wants:
            granted = want.answer.granted
            self._grants.put(
                want.provider, want.control, want.customer, spare=want.held + want.given - granted, granted=granted,
                delay=want.answer.delay, now=now,
            )  # fmt: skip


def _granted(control: str) -> int:
    """The column of a control that writes are granted of; InvalidError."""
    if control not in _COLUMN:
        raise InvalidError(f"control: {control!r} is none that writes are granted of: {', '.join(GRANTED)}")
    return _COLUMN[control]
