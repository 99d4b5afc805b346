"""What daemons are dropping now, as they tell it between polls, once a minute; what is older is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import Final

from carbonquota.hub.domain.drops import FleetDrop
from carbonquota.hub.service.rules import Rules
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage.drops import forget_drops, read_drops, write_drops
from carbonquota.model import Clock

RECENT: Final = 180.0
"""Seconds for which what was told is told on: some polls."""


class Drops:
    """The drops of all daemons. May be used from any thread."""

    def __init__(self, writing: Writing, rules: Rules, clock: Clock) -> None:
        """Of daemons that `rules` knows."""
        self._writing = writing
        self._rules = rules
        self._clock = clock

    def note(self, name: str, lines: Sequence[tuple[str, str, int]]) -> None:
        """A daemon told what it dropped: namespace, control and points; InvalidError where it is not known."""
        self._rules.check_known(name)
        now = self._clock()
        with self._writing.database.writing(quick=True) as connection:
            write_drops(connection, name, now, [list(line) for line in lines])
            forget_drops(connection, now - RECENT)

    def largest(self, most: int) -> list[FleetDrop]:
        """Where the most points are dropped now; UnavailableError."""
        with self._writing.database.reading() as connection:
            found = read_drops(connection, self._clock() - RECENT)
        return nlargest(most, found, key=lambda one: one.points)
