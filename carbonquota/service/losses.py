"""Accepted points that are lost after all: each kind told in the log with an example, and as a trouble for a while.

What was accepted was charged to quotas and counts as kept, so that losing it must never pass in silence. Reasons are a
small, fixed set; the log is bounded by them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog

RECENT: Final = 300.0
"""Seconds after a loss for which it is a trouble."""

_SHOWN: Final = 100
"""Characters of a name that are shown."""


@dataclass(slots=True)
class _LossSpell:
    """Losses that came one after the other: how many points, the last of which when, and one of the metrics."""

    points: int
    last: float
    sample: str


class Losses:
    """What was lost, by reason. May be used from any thread."""

    def __init__(self, logger: logging.Logger, clock: Clock, meanings: Mapping[str, str]) -> None:
        """`clock` gives seconds that never go back; `meanings` says of each reason why, and what to do."""
        self._notices = BoundedLog(logger, clock)
        self._clock = clock
        self._meanings = meanings
        self._spells: dict[str, _LossSpell] = {}
        self._lock = Lock()

    def note(self, reason: str, points: int, metric: bytes) -> None:
        """Points of a metric, and perhaps of others, are lost."""
        text = metric.decode(errors="backslashreplace")
        sample = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        now = self._clock()
        with self._lock:
            spell = self._spells.get(reason)
            counted = points + (spell.points if spell and now - spell.last < RECENT else 0)
            self._spells[reason] = _LossSpell(counted, now, sample)
        self._notices.warning(reason, "%s lost: %s", points_are(points, "is", "are"), self._cause(reason, sample))

    @property
    def troubles(self) -> tuple[str, ...]:
        """One line for each reason for which points were lost a short while ago."""
        now = self._clock()
        with self._lock:
            recent = [(reason, spell) for reason, spell in self._spells.items() if now - spell.last < RECENT]
        return tuple(
            f"{points_are(spell.points, 'was', 'were')} lost: {self._cause(why, spell.sample)}" for why, spell in recent
        )

    def _cause(self, reason: str, sample: str) -> str:
        such_as = f", such as of {sample}" if sample else ""
        return f"{self._meanings.get(reason, reason)} ({reason}{such_as})"


def points_are(points: int, one: str, many: str) -> str:
    """So many accepted points with the verb that they take."""
    return f"1 accepted point {one}" if points == 1 else f"{points:,} accepted points {many}"
