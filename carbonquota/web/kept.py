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
    """The last value made, which takes at most a tenth of the time, however many ask for it. From any thread.

    With a thousand quotas a value is milliseconds old at most, with a million some seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._lock = Lock()
        self._kept: tuple[Hashable, Value] | None = None
        self._good_until = -1.0

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, of which the last alone is kept."""
        with self._lock:
            begun = self._clock()
            if self._kept is None or self._kept[0] != key or begun >= self._good_until:
                self._kept = None
                self._kept = key, make()
                ended = self._clock()
                self._good_until = ended + _SHARE * (ended - begun)
            return self._kept[1]
