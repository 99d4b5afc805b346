"""What came of new metrics and waits until these are decided on, bounded in bytes and in time.

It goes by metric: what comes of a metric while the store is asked about it waits with what came first, and goes on with
it, in order. What it is (lines, data points) is for the host to know. Any thread may call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Final, Generic, TypeVar

from carbonquota.model import Clock

T = TypeVar("T")

_PER_METRIC: Final = 320
_PER_ITEM: Final = 50
"""Bytes of memory beside the text, as measured."""


@dataclass(slots=True)
class Waiting(Generic[T]):
    """A metric, by its normal name, the namespace it lies in, and its items; `since` is when the first came.

    `size` is the memory that it takes, in bytes.
    """

    metric: str
    namespace: str
    since: float
    items: list[T] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True, slots=True)
class HoldRoom:
    """How much may wait: the bytes of memory that it takes, and for how many seconds each metric may."""

    size: int = 64 * 1024 * 1024
    seconds: float = 10.0


class Hold(Generic[T]):
    """Metrics in the order in which they came."""

    def __init__(self, clock: Clock, size_of: Callable[[T], int], room: HoldRoom | None = None) -> None:
        """Nothing waits yet; `clock` gives seconds that never go back, and `size_of` the bytes that an item takes."""
        self._size_of = size_of
        self._clock = clock
        self._room = room or HoldRoom()
        self._lock = Lock()
        self._waiting: dict[str, Waiting[T]] = {}
        self._to_ask: deque[str] = deque()
        self._size = 0
        self._items = 0

    def __len__(self) -> int:
        """How many items wait."""
        return self._items

    def __contains__(self, metric: str) -> bool:
        """Whether something of a metric waits."""
        return metric in self._waiting

    @property
    def size(self) -> int:
        """The bytes of memory that what waits takes."""
        return self._size

    def put(self, entries: Iterable[tuple[T, str, str]]) -> list[tuple[T, str, str]]:
        """Have items wait, each with its metric and the namespace that it lies in; those that there is no room for."""
        refused = []
        now = self._clock()
        with self._lock:
            for entry in entries:
                item, metric, namespace = entry
                waiting = self._waiting.get(metric)
                size = _PER_ITEM + self._size_of(item)
                if waiting is None:
                    size += _PER_METRIC + len(metric) + len(namespace)
                if self._size + size > self._room.size:
                    refused.append(entry)
                    continue
                if waiting is None:
                    self._waiting[metric] = Waiting(metric, namespace, now, [item], size)
                    self._to_ask.append(metric)
                else:
                    waiting.items.append(item)
                    waiting.size += size
                self._size += size
                self._items += 1
        return refused

    def to_ask(self, most: int) -> list[Waiting[T]]:
        """The metrics that the store is to be asked about next; each is given once, unless it is put back."""
        with self._lock:
            names = [self._to_ask.popleft() for _ in range(min(most, len(self._to_ask)))]
            return [self._waiting[name] for name in names if name in self._waiting]

    def ask_again(self, metrics: Iterable[Waiting[T]]) -> None:
        """The store said nothing of these: ask about them again, before all others."""
        with self._lock:
            self._to_ask.extendleft(reversed([waiting.metric for waiting in metrics]))

    def overdue(self, most: int, *, at_once: bool = False) -> list[Waiting[T]]:
        """Those that have waited for long enough, or, `at_once`, the first of all."""
        before = self._clock() - self._room.seconds
        with self._lock:
            first = list(islice(self._waiting.values(), most))
        return first if at_once else [waiting for waiting in first if waiting.since <= before]

    def take(self, metrics: Iterable[Waiting[T]]) -> list[Waiting[T]]:
        """Have these wait no more: with all that came until now."""
        taken = []
        with self._lock:
            for waiting in metrics:
                if self._waiting.pop(waiting.metric, None) is not None:
                    taken.append(waiting)
                    self._size -= waiting.size
                    self._items -= len(waiting.items)
        return taken
