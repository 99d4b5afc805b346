"""What customers used over time, for graphs: written by whichever server comes first, and pruned by itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import CONTROLS, NUMBER
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.service.holding import Holding
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.history import prune, read_moments, take_slot, write_moment
from carbonquota.model import Clock

SPANS: Final = {"minute": (60, 86_400), "hour": (3600, 90 * 86_400)}
"""By name: the seconds between two moments, and for how many seconds they are kept."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was used at a time, in seconds since the epoch."""

    time: int
    usage: int


class History:
    """Usage over time."""

    def __init__(self, database: Database, book: Book, holding: Holding, clock: Clock) -> None:
        """Nothing is written yet."""
        self._database = database
        self._book = book
        self._holding = holding
        self._clock = clock
        self._written: dict[str, int] = {}

    def record(self) -> None:
        """Write the moments that are due, and forget old ones; UnavailableError."""
        now = int(self._clock())
        for name, (span, kept) in SPANS.items():
            moment = now // span * span
            if self._written.get(name) == moment:
                continue
            with self._database.writing(quick=True) as connection:
                if take_slot(connection, span, moment):
                    write_moment(connection, span, moment, self._fresh_since(now))
                    prune(connection, span, now - kept)
            self._written[name] = moment

    def _fresh_since(self, now: float) -> dict[int, float]:
        """By provider since when what it told is not stale, in seconds since the epoch."""
        return {number: now - one.stale_after for number, one in self._book.provider_at.copy().items()}

    def of(self, customer: str, control: str, span: str = "minute", provider: str = "") -> list[Moment]:
        """A customer's usage at a provider, or at all that were heard then together, in the order of time."""
        at, customer_id = self._book.provider(provider), self._holding.id(self._holding.number(customer))
        if control not in NUMBER:
            raise InvalidError(f"there is no control called {control!r}: they are {', '.join(CONTROLS)}")
        seconds, kept = SPANS[span]
        sums: dict[int, int] = defaultdict(int)
        with self._database.reading() as connection:
            since = int(self._clock()) - kept
            for time, where, usage in read_moments(connection, seconds, since, NUMBER[control], customer_id):
                if at in {TOTAL, where}:
                    sums[time] += usage
        return [Moment(time, usage) for time, usage in sums.items()]
