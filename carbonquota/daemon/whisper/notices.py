"""Warnings at a bounded rate: what happens to every file of a million is told once, and how often it was."""

from __future__ import annotations

import logging
from typing import Final

from carbonquota.model import Clock

_log = logging.getLogger(__name__)

EVERY: Final = 10.0
"""Seconds between two warnings of one kind."""


class Notices:
    """Logs one warning of a kind every `EVERY` seconds. For use by one thread."""

    def __init__(self, clock: Clock) -> None:
        """Start with nothing told."""
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def warn(self, kind: str, message: str, *details: object, error: Exception | None = None) -> None:
        """Log the message, which %-formatting fills in, or count it; `error` adds a traceback."""
        now = self._clock()
        told = self._told.get(kind)
        if told is not None and 0 <= now - told < EVERY:
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return
        self._told[kind] = now
        untold = self._untold.pop(kind, 0)
        more = f" (and {untold:,} more like it before)" if untold else ""
        _log.warning(message + "%s", *details, more, exc_info=error)
