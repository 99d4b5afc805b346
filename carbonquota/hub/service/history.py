"""What customers used over time, for graphs: written by whichever server comes first, and pruned by itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonquota.hub.domain.book import Book
from carbonquota.hub.domain.controls import CONTROLS, NUMBER
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.history import Numbers, prune, read_moments, take_slot, write_moment
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

    def __init__(self, database: Database, book: Book, clock: Clock) -> None:
        """Nothing is written yet."""
        self._database = database
        self._book = book
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
                    for provider, control, amounts in self._known(now):
                        write_moment(connection, span, moment, provider, control, amounts)
                    prune(connection, span, now - kept)
            self._written[name] = moment

    def _known(self, now: float) -> list[tuple[int, int, Numbers]]:
        """Provider, control and usage by customer, -1 where nothing is known lately."""
        found = []
        with self._book.lock:
            for number, provider in self._book.provider_at.items():
                for control in range(len(CONTROLS)):
                    if not self._book.usage.has(number, control):
                        continue
                    fresh = self._book.times.column(number, control) > max(now - provider.stale_after, 0.0)
                    found.append((number, control, np.where(fresh, self._book.usage.column(number, control), -1)))
        return found

    def of(self, customer: str, control: str, span: str = "minute", provider: str = "") -> list[Moment]:
        """A customer's usage at a provider, or at all that were heard then together, in the order of time."""
        number, at = self._book.customer(customer), self._book.provider(provider)
        if control not in NUMBER:
            raise InvalidError(f"there is no control called {control!r}: they are {', '.join(CONTROLS)}")
        seconds, kept = SPANS[span]
        sums: dict[int, int] = defaultdict(int)
        with self._database.reading() as connection:
            since = int(self._clock()) - kept
            for time, where, usage in read_moments(connection, seconds, since, NUMBER[control], number):
                if at in {TOTAL, where}:
                    sums[time] += usage
        return [Moment(time, usage) for time, usage in sums.items()]
