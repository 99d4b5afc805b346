"""What is costly to make and asked for often: made by one request at a time, and given again for a while."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from time import monotonic
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

_SHARE: Final = 10
"""A value is given again for so many times as long as it took to make."""


class Recent(Generic[Value]):
    """The last values made, which take at most a tenth of the time, however many ask for them. From any thread.

    With a thousand quotas a value is milliseconds old at most, with a million some seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = 1) -> None:
        """`clock` gives seconds that never go back; the values of the last `most` keys are kept."""
        self._clock = clock
        self._most = most
        self._lock = Lock()
        self._kept: dict[Hashable, tuple[Value, float]] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key."""
        with self._lock:
            begun = self._clock()
            kept = self._kept.pop(key, None)
            if kept is None or begun >= kept[1]:
                # Room is made before: a value may be large.
                kept = None
                while len(self._kept) >= self._most:
                    del self._kept[next(iter(self._kept))]
                value = make()
                ended = self._clock()
                kept = value, ended + _SHARE * (ended - begun)
            self._kept[key] = kept
            return kept[0]
