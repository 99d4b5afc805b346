"""How many descriptors were allowed, blocked, and would have been blocked by a shadow rule; by rule, route and tier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Final

from carbonquota.limiter.model import Status
from carbonquota.limiter.stats import Sample

_MOST: Final = 10_000
"""Rows that are told apart; a route or a detailed rule may have any name."""

_OTHERS: Final = ("others", "", "")
"""Where the rest is counted."""

_OUTCOMES: Final = ("allowed", "blocked", "shadow-blocked")

Row = tuple[str, str, str]
"""Rule, route, tier."""


class Counts:
    """Counts by row. Safe to use from any thread."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._rows: dict[Row, list[int]] = {}
        self._lock = Lock()

    def note(self, statuses: Iterable[Status], route: str, tier: str) -> None:
        """Count what became of the descriptors of a request."""
        with self._lock:
            for status in statuses:
                row = self._rows.get((status.rule, route, tier)) or self._new((status.rule, route, tier))
                row[1 if status.is_over else 2 if status.shadow else 0] += 1

    def _new(self, key: Row) -> list[int]:
        if len(self._rows) >= _MOST:
            key = _OTHERS
        return self._rows.setdefault(key, [0, 0, 0])

    def rows(self) -> dict[Row, Sequence[int]]:
        """Allowed, blocked and shadow-blocked by row."""
        with self._lock:
            return {key: tuple(counts) for key, counts in self._rows.items()}

    def samples(self) -> Iterator[Sample]:
        """All counts that are not 0."""
        for key, counts in self.rows().items():
            for outcome, count in zip(_OUTCOMES, counts, strict=True):
                if count:
                    yield Sample("limiter_decisions", count, (*key, outcome))
