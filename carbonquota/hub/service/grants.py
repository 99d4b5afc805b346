"""May somebody write? Decided in memory where enough is reserved, else by reserving more.

Theory of operation. A server grants from what it reserved (`domain.grants`). Where that does not suffice, one thread at
a time reserves more, for all that wait (`service.reserving`). A refusal is remembered for a second, or until something
that may make room is heard of: whoever asks again and again for more than there is costs nobody a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from carbonquota.hub.domain.book import Numbers
from carbonquota.hub.domain.controls import GRANTED, NUMBER
from carbonquota.hub.domain.errors import InvalidError, UnavailableError
from carbonquota.hub.domain.grants import Answers, GrantAnswer, GrantBook
from carbonquota.hub.domain.grid import TOTAL, Grid
from carbonquota.hub.domain.pressure import delay
from carbonquota.hub.domain.refusals import Refusals
from carbonquota.hub.service.holding import Holding
from carbonquota.hub.service.leases import LENGTH, Leases
from carbonquota.hub.service.reserving import Reserving, Want
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import reservations
from carbonquota.model import MAXIMUM, Clock

_COLUMN: Final = {control: NUMBER[control] for control in GRANTED}

_SOON: Final = 1.0
"""Seconds after which to ask again at the earliest."""

MOST_WRITES: Final = 10_000
"""Writes of one batch."""

_UNKNOWN: Final = GrantAnswer(ok=False, granted=0, reason="there is no such customer or provider")


@dataclass(slots=True)
class _Batch:
    """The wants of one caller, and how it went: an answer each."""

    wants: list[Want]
    answers: list[GrantAnswer] = field(default_factory=list)
    is_done: bool = False
    error: UnavailableError | None = None


@dataclass(slots=True)
class GrantCounts:
    """Rounds in which more was reserved, and writes that were decided otherwise than from what was reserved already."""

    rounds: int = 0
    granted: int = 0
    refused: int = 0
    lock: Lock = field(default_factory=Lock)

    def note(self, granted: int, refused: int) -> None:
        """So many more."""
        with self.lock:
            self.granted += granted
            self.refused += refused


class Granting:
    """Decides about writes. May be used from any thread."""

    def __init__(
        self,
        holding: Holding,
        grants: GrantBook,
        leases: Leases,
        synchronizer: Synchronizer,
        reserving: Reserving,
        clock: Clock,
    ) -> None:
        """Decide by `grants`, and reserve more under the lease."""
        self._reserving_at = reserving
        self._refusals = Refusals()
        self.counts = GrantCounts()
        self._book = book = holding.book
        self._holding = holding
        self._grants = grants
        self._leases = leases
        self._synchronizer = synchronizer
        self._clock = clock
        self._most, self._lifetime = grants.terms.max_grant, grants.terms.lifetime
        self._last = GrantAnswer(ok=True, granted=0, valid_for=self._lifetime)
        self._numbers, self._providers, self._held = book.numbers.get, book.providers.get, book.held
        self._waiting: list[_Batch] = []
        self._waiting_lock = Lock()
        self._reserving = Lock()

    def write_ok(self, customer: str, provider: str, size: int, control: str = "bytes") -> GrantAnswer:
        """Whether a customer may write so much at a provider, and how much of it now.

        NotFoundError, InvalidError; UnavailableError where more has to be reserved and the database is away.
        """
        if (answer := self.write_ok_here(customer, provider, size, control)) is not None:
            return answer
        column, at = _granted(control), self._book.provider(provider)
        if at == TOTAL:
            raise InvalidError("a write goes to a provider: name it")
        if not 0 <= size <= MAXIMUM:
            raise InvalidError(f"size: {size} is not a whole number from 0 to {MAXIMUM}")
        number = self._holding.number(customer)
        want = self._want(number, at, column, size)
        is_too_large = size > self._most and size > self._known_left(number, at, column)
        answer = self._refuse(want) if is_too_large else self._reserve([want])[0]
        self.counts.note(answer.ok, not answer.ok)
        return answer

    def _refuse(self, want: Want) -> GrantAnswer:
        """The answer to a write that usage alone leaves no room for; what is left is told with all that was granted."""
        known = self._refusals.known(want.provider, want.control, want.customer, want.size, self._clock())
        if known is not None:
            return known
        try:
            return self._reserve([want])[0]
        except UnavailableError:
            return self._refusal(want, max(self._known_left(want.customer, want.provider, want.control), 0))

    def decided(self) -> dict[str, int]:
        """How many writes were granted and refused here."""
        return {"granted": self._grants.spent + self.counts.granted, "refused": self.counts.refused}

    def write_ok_here(self, customer: str, provider: str, size: int, control: str = "bytes") -> GrantAnswer | None:
        """The same, if memory can decide it: waits for nothing, and raises nothing."""
        number, at, column = self._numbers(customer), self._providers(provider), _COLUMN.get(control)
        if number is None or at is None or column is None or size < 0:
            return None
        now = self._clock()
        self._held.used[number] = now
        piece = min(size, self._most)
        if now >= self._leases.until or (piece < size and size > self._known_left(number, at, column)):
            return None
        pause = self._grants.spend(Grid.key(at, column), number, piece, now)
        if not pause and self._last.granted == piece:
            # Most answers are alike, and making one takes as long as all the rest.
            return self._last
        if pause < 0:
            refused = self._refusals.known(at, column, number, size, now)
            if refused is not None:
                self.counts.note(0, 1)
            return refused
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
        numbers = self._holding.numbers(customers)
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
            self.counts.note(len(missed) - len(answers.refused), len(answers.refused))
        return answers

    def _decide_missed(self, answers: Answers, missed: list[int], keys: list[int], numbers: list[int]) -> None:
        """Decide those writes of a batch that memory cannot grant, all in one transaction."""
        wants: list[tuple[int, Want]] = []
        now = self._clock()
        for position in missed:
            provider, control = Grid.place(keys[position])
            size = answers.granted[position]
            if not numbers[position] or not provider:
                answers.refused[position] = _UNKNOWN
            elif refused := self._refusals.known(provider, control, numbers[position], size, now):
                answers.refused[position] = refused
            else:
                wants.append((position, self._want(numbers[position], provider, control, size)))
        decided = self._reserve([want for _, want in wants]) if wants else []
        for (position, _), answer in zip(wants, decided, strict=True):
            answers.granted[position], answers.delays[position] = answer.granted, answer.delay
            if not answer.ok:
                answers.refused[position] = answer
        for position in answers.refused:
            answers.granted[position] = 0

    def deleted(self, customer: str, provider: str, size: int, control: str = "bytes") -> int:
        """A customer has deleted so much: it may be written again at once. How much of it counts.

        It is not more than what is known to be held.
        """
        column, at = _granted(control), self._book.provider(provider)
        if at == TOTAL:
            raise InvalidError("something is deleted at a provider: name it")
        if not 0 <= size <= MAXIMUM:
            raise InvalidError(f"size: {size} is not a whole number from 0 to {MAXIMUM}")
        number = self._holding.number(customer)
        want = self._want(number, at, column, size)
        with self._synchronizer.database.writing() as connection:
            reservations.lock(connection)
            now = self._clock()
            held = self._reserving_at.held(connection, want)
            # A measurement of after the deletion has it already.
            is_measured = self._book.times.get(at, column, number) >= now
            amount = 0 if is_measured else max(0, min(size, held))
            if amount:
                reservations.give_back(connection, column, {(want.id, at): amount}, now)
        if amount:
            self._reserving_at.gave_back()
            self.room_may_be(np.array([number]))
        return amount

    def room_may_be(self, customers: Numbers) -> None:
        """Something was heard that may make room for these: a measurement, another quota, a deletion."""
        self._refusals.forget(customers)

    def _want(self, customer: int, provider: int, control: int, size: int) -> Want:
        return Want(customer, self._holding.id(customer), provider, control, min(size, self._most), size)

    def _reserve(self, wants: list[Want]) -> list[GrantAnswer]:
        """Decide about wants together with all others that wait, an answer each; UnavailableError."""
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
        return batch.answers

    def _reserve_for(self, batches: list[_Batch]) -> None:
        """One round for all; each batch is told how it went."""
        error: UnavailableError | None = UnavailableError("a bug kept the write from being decided: see the log")
        try:
            wants = [want for batch in batches for want in batch.wants]
            limited = [want for want in wants if self._is_limited(want)]
            self._check_numbers(wants)
            if limited:
                # As long as we have this lock, no number becomes another customer's.
                with self._leases.lock:
                    self._check_numbers(limited)
                    self._reserve_under_lease(limited)
            for batch in batches:
                batch.answers = [self._answer(want) for want in batch.wants]
            error = None
        except UnavailableError as raised:
            error = raised
        finally:
            for batch in batches:
                batch.error, batch.is_done = error, True

    def _check_numbers(self, wants: Iterable[Want]) -> None:
        """UnavailableError where a number has become another customer's while its write had to wait."""
        if any(self._holding.id(want.customer) != want.id for want in wants):
            raise UnavailableError("the write had to wait for too long: nothing was changed, try again")

    def _reserve_under_lease(self, wants: list[Want]) -> None:
        """Reserve. What was reserved under a lease that has ended is not granted any more."""
        # In good time, as whoever renews leases may have to wait for us.
        if self._clock() >= self._leases.until - LENGTH / 2:
            self._leases.renew()
        for want in wants:
            want.held = self._grants.draw(Grid.key(want.provider, want.control), want.customer)
        self.counts.rounds += 1
        server = self._leases.server
        try:
            self._reserving_at.reserve(wants, server, self._leases.servers)
        except BaseException:
            if server == self._leases.server:
                self._put([(want, 0, 0, 0.0) for want in wants])
            raise
        if self._clock() >= self._leases.until:
            raise UnavailableError("the database took so long that the lease has ended: try again")
        self._put([(want, max(want.given, 0), *self._granted(want)) for want in wants])

    def _is_limited(self, want: Want) -> bool:
        """Whether a quota limits a write at all."""
        limits = self._book.limits
        return bool(
            limits.get(TOTAL, want.control, want.customer) or limits.get(want.provider, want.control, want.customer)
        )

    def _granted(self, want: Want) -> tuple[int, float]:
        """How much of a write is granted, and how many seconds to wait after it."""
        if want.given < 0 or want.waits_for:
            return 0, 0.0
        needed = max(want.piece - want.held, 0)
        return want.piece, max((delay(limit, rest - needed) for limit, rest in want.quotas), default=0.0)

    def _answer(self, want: Want) -> GrantAnswer:
        """What a writer is told."""
        if want.given < 0:
            least = min((rest for _, rest in want.quotas), default=MAXIMUM)
            refusal = self._refusal(want, max(least, 0) + want.held)
            self._refusals.note(want.provider, want.control, want.customer, refusal, self._clock())
            return refusal
        if want.waits_for:
            provider = self._book.provider_at[want.provider]
            return GrantAnswer(ok=False, granted=0, retry_after=provider.interval, reason=want.waits_for)
        granted, pause = self._granted(want)
        return GrantAnswer(ok=True, granted=granted, delay=pause, valid_for=self._grants.terms.lifetime)

    def _refusal(self, want: Want, left: int) -> GrantAnswer:
        """What a writer is told who would pass the quota."""
        provider = self._book.provider_at[want.provider]
        measured = float(self._book.times.get(want.provider, want.control, want.customer))
        wait = measured + provider.interval - self._clock() if measured else provider.interval
        retry = min(max(wait, _SOON), provider.interval)
        reason = f"{want.size:,} would pass the quota, which has {left:,} left"
        return GrantAnswer(ok=False, granted=0, left=left, retry_after=retry, reason=reason)

    def _put(self, wants: Iterable[tuple[Want, int, int, float]]) -> None:
        """Have memory know what more was reserved for each write, what was granted of it, and how long to wait."""
        now = self._clock()
        for want, given, granted, pause in wants:
            self._grants.put(
                want.provider, want.control, want.customer, spare=want.held + given - granted, granted=granted,
                delay=pause, now=now,
            )  # fmt: skip


def _granted(control: str) -> int:
    """The column of a control that writes are granted of; InvalidError."""
    if control not in _COLUMN:
        raise InvalidError(f"control: {control!r} is none that writes are granted of: {', '.join(GRANTED)}")
    return _COLUMN[control]
