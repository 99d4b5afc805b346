"""Warnings at a bounded rate: what a broken sender repeats a million times an hour is told every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

_MOST_KEYS: Final = 1000
"""So many keys are remembered; keys are meant to be kinds of events, not their contents."""


@dataclass(slots=True)
class _KeySpell:
    """When a key was logged last, and how many events were kept silent since."""

    logged: float
    silent: int = 0


class BoundedLog:
    """Logs of each key the first event at once, then at most one an interval, with how many were kept silent.

    May be used from any thread.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float], every: float = 10.0) -> None:
        """`clock` gives seconds that never go back; `every` is the interval in seconds."""
        self._logger = logger
        self._clock = clock
        self._every = every
        self._spells: dict[str, _KeySpell] = {}
        self._lock = Lock()

    def warning(self, key: str, message: str, *arguments: object) -> None:
        """Log a warning about `key`, if it is time to; message and arguments as `logging` has them."""
        self._log(logging.WARNING, key, message, arguments, with_traceback=False)

    def exception(self, key: str, message: str, *arguments: object) -> None:
        """The same for an error that is being handled, with its traceback."""
        self._log(logging.ERROR, key, message, arguments, with_traceback=True)

    def _log(self, level: int, key: str, message: str, arguments: tuple[object, ...], *, with_traceback: bool) -> None:
        silent = self._begin(key)
        if silent is None:
            return
        if silent:
            message, arguments = message + " (and %d more since the last such line)", (*arguments, silent)
        self._logger.log(level, message, *arguments, exc_info=with_traceback)

    def _begin(self, key: str) -> int | None:
        """How many events of the key were kept silent, or None where this one is to be."""
        with self._lock:
            now = self._clock()
            spell = self._spells.get(key)
            if spell is None:
                if len(self._spells) >= _MOST_KEYS:
                    self._spells.clear()
                self._spells[key] = _KeySpell(now)
                return 0
            if now - spell.logged < self._every:
                spell.silent += 1
                return None
            self._spells[key] = _KeySpell(now)
            return spell.silent
