"""How many descriptors were allowed, blocked, and would have been blocked by a shadow rule; by rule, route and tier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Final, Protocol

from carbonquota.limiter.model import Status
from carbonquota.limiter.stats import Sample

_MOST: Final = 10_000
"""Rows that are told apart; a route or a detailed rule may have any name."""

_OTHERS: Final = ("others", "", "")
"""Where the rest is counted."""

_OUTCOMES: Final = ("allowed", "blocked", "shadow-blocked")

Row = tuple[str, str, str]
"""Rule, route, tier."""


class Tally(Protocol):
    """What is counted of a row; the outcomes are places of `_OUTCOMES`."""

    def add(self, outcome: int) -> None:
        """Count one."""

    def counts(self) -> tuple[int, int, int]:
        """How many of each."""


class PlainTally:
    """A `Tally` in Python, to be added to under a lock."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        """Start at nothing."""
        self._counts = [0, 0, 0]

    def add(self, outcome: int) -> None:
        """Count one."""
        self._counts[outcome] += 1

    def counts(self) -> tuple[int, int, int]:
        """How many of each."""
        allowed, blocked, shadow = self._counts
        return allowed, blocked, shadow


class Counts:
    """Counts by row. Safe to use from any thread."""

    def __init__(self, make: Callable[[], Tally] = PlainTally) -> None:
        """Start at nothing; `make` makes what is counted of a row."""
        self._rows: dict[Row, Tally] = {}
        self._make = make
        self._lock = Lock()

    def note(self, statuses: Iterable[Status], route: str, tier: str) -> None:
        """Count what became of the descriptors of a request."""
        with self._lock:
            for status in statuses:
                row = self._rows.get((status.rule, route, tier)) or self._new((status.rule, route, tier))
                row.add(1 if status.is_over else 2 if status.shadow else 0)

    def tally(self, rule: str, route: str, tier: str) -> Tally:
        """What a row is counted in, for whoever counts many of one."""
        with self._lock:
            return self._rows.get((rule, route, tier)) or self._new((rule, route, tier))

    def _new(self, key: Row) -> Tally:
        if key not in self._rows and len(self._rows) >= _MOST:
            key = _OTHERS
        return self._rows.get(key) or self._rows.setdefault(key, self._make())

    def rows(self) -> dict[Row, Sequence[int]]:
        """Allowed, blocked and shadow-blocked by row."""
        with self._lock:
            # Of a row that was asked for, but where nothing was counted yet, there is nothing to tell.
            return {key: counts for key, tally in self._rows.items() if any(counts := tally.counts())}

    def samples(self) -> Iterator[Sample]:
        """All counts that are not 0."""
        for key, counts in self.rows().items():
            for outcome, count in zip(_OUTCOMES, counts, strict=True):
                if count:
                    yield Sample("limiter_decisions", count, (*key, outcome))
