"""Who is blocked most: a sketch of bounded size, however many clients there are."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Final

from datasketches import frequent_items_error_type, frequent_strings_sketch

_SIZE: Final = 10
"""Of the sketch: it holds up to three quarters of 2^10 clients."""


@dataclass(frozen=True, slots=True)
class Offender:
    """A client, and how many of its requests were blocked: `blocked` at most, `least` at least."""

    client: str
    blocked: int
    least: int


class Offenders:
    """The clients that are blocked most. Safe to use from any thread."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._sketch = frequent_strings_sketch(_SIZE)
        self._lock = Lock()

    def note(self, client: str) -> None:
        """Count a blocked request."""
        with self._lock:
            # The sketch takes text that is UTF-8.
            self._sketch.update(client if client.isascii() else client.encode("utf-8", "replace").decode())

    def top(self, most: int = 20) -> list[Offender]:
        """Those who are blocked most, the first of all first."""
        with self._lock:
            rows = self._sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
        found = [Offender(client, upper, lower) for client, _, lower, upper in rows]
        return sorted(found, key=lambda one: (-one.blocked, one.client))[:most]

    def forget(self) -> None:
        """Count anew."""
        with self._lock:
            self._sketch = frequent_strings_sketch(_SIZE)
