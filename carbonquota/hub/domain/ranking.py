"""Who is nearest to a quota, and who grows the most: the first few of all customers, from columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.hub.domain.book import Book, Numbers
from carbonquota.hub.domain.controls import CONTROLS, GRANTED
from carbonquota.hub.domain.grid import TOTAL, Grid

SPAN: Final = 3600.0
"""Seconds that growth is told over."""
STEP: Final = 600.0
"""Seconds between two looks."""
DAY: Final = 86_400.0
BUDGET: Final = 128 * 1024 * 1024
_UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class Filled:
    """A limit of a customer, in all (provider empty) or at one provider, and what is used of it."""

    customer: str
    provider: str
    control: str
    usage: int
    limit: int

    @property
    def percent(self) -> float | None:
        """Usage in percent; None where the limit is 0."""
        return 100 * self.usage / self.limit if self.limit else None


@dataclass(frozen=True, slots=True)
class Fullest:
    """The limits used most, the fullest first, and how many customers are over one."""

    most: tuple[Filled, ...]
    over: int


def fullest(book: Book, most: int) -> Fullest:
    """The limits that are nearest to being reached, over all customers and providers."""
    found: list[Filled] = []
    with book.lock:
        over = np.zeros(len(book.names), np.bool_)
        for provider, control in list(book.limits.keys()):
            limits = book.limits.column(provider, control)
            customers = np.flatnonzero(limits)
            granted = ~limits[customers]
            usage = book.usage.column(provider, control)[customers]
            over[customers[usage > granted]] = True
            parts = np.divide(usage, granted, out=np.full(len(customers), np.inf), where=granted > 0)
            for at in largest(parts, most):
                name = book.names[customers[at]]
                place = book.provider_name(provider), CONTROLS[control]
                found.append(Filled(name, *place, int(usage[at]), int(granted[at])))
    found.sort(key=lambda one: (-float("inf") if one.percent is None else -one.percent, one.customer))
    return Fullest(tuple(one for one in found if one.customer)[:most], int(np.count_nonzero(over)))


@dataclass(frozen=True, slots=True)
class Grown:
    """A customer that holds more of something than it did: `before` and `now`, over all providers."""

    customer: str
    control: str
    before: int
    now: int


class UsageHistory:
    """What all customers held at some moments of the last day, in memory: lost at the end of the program.

    Bounds: `budget` bytes. With a million customers that is less than an hour, with some thousands all of the day.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        """Know nothing yet."""
        self._budget = budget
        self._looks: deque[tuple[float, dict[int, Numbers]]] = deque()

    def is_due(self, now: float) -> bool:
        """Whether the last look is long enough ago."""
        return not self._looks or now - self._looks[-1][0] >= STEP

    def look(self, book: Book, now: float) -> None:
        """Note what is held now, and forget what is too old or too much."""
        with book.lock:
            columns = {Grid.key(*place): book.usage.column(*place).copy() for place in book.usage.keys()}  # noqa: SIM118 - not a dict
        self._looks.append((now, columns))
        while len(self._looks) > 2 and (self._looks[0][0] < now - DAY or self._size() > self._budget):
            self._looks.popleft()

    def _size(self) -> int:
        return sum(column.nbytes for _, columns in self._looks for column in columns.values())

    def since(self, now: float) -> float | None:
        """The moment that growth is told from, in seconds since the epoch; None before the first look."""
        first = next((time for time, _ in self._looks if time >= now - SPAN), None)
        return first if first is not None else next((time for time, _ in reversed(self._looks)), None)

    def of(self, customer: int, provider: int, control: int) -> tuple[list[float], list[float | None]]:
        """What a customer held over time."""
        key = Grid.key(provider, control)
        looks = list(self._looks)
        values = (columns.get(key) for _, columns in looks)
        return [time for time, _ in looks], [
            None if column is None or customer >= len(column) or column[customer] == _UNKNOWN else int(column[customer])
            for column in values
        ]

    def forget(self, customers: Numbers) -> None:
        """These numbers are those of others from now on, of whom it is not known what they held."""
        for _, columns in list(self._looks):
            for column in columns.values():
                column[customers[customers < len(column)]] = _UNKNOWN

    def grown(self, book: Book, now: float, count: int) -> list[Grown]:
        """Those that hold the most more than an hour ago, `count` of each control."""
        since = self.since(now)
        columns = next((columns for time, columns in self._looks if time == since), {})
        with book.lock:
            return [
                one
                for control in range(len(GRANTED))
                if (before := columns.get(Grid.key(TOTAL, control))) is not None
                for one in _grown(book, control, before, count)
            ]


def _grown(book: Book, control: int, before: Numbers, count: int) -> Iterator[Grown]:
    now = book.usage.column(TOTAL, control)
    added = np.where(before == _UNKNOWN, 0, now[: len(before)] - before)
    for at in largest(added, count):
        if added[at] > 0 and book.names[at]:
            yield Grown(book.names[at], CONTROLS[control], int(before[at]), int(now[at]))


def largest(amounts: NDArray[Any], most: int) -> list[int]:
    """The positions of the largest amounts, the largest first and equal ones in their order; a pass, and no sort."""
    candidates = np.arange(len(amounts))
    if 0 < most < len(amounts):
        least = np.partition(amounts, len(amounts) - most)[len(amounts) - most]
        above, equal = np.flatnonzero(amounts > least), np.flatnonzero(amounts == least)
        candidates = np.sort(np.concatenate((above, equal[: most - len(above)])))
    order = np.argsort(-amounts[candidates], kind="stable")[:most]
    found: list[int] = candidates[order].tolist()
    return found
