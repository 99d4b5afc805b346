"""What came of new metrics and waits until these are decided on, bounded in bytes and in time.

It goes by metric: what comes of a metric while the store is asked about it waits with what came first, and goes on with
it, in order. What it is (lines, data points) is for the host to know. Everything goes in columns, as nearly always a
batch has one item each of many metrics, of which none waits yet. Any thread may call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from threading import Lock
from typing import Final, Generic, TypeVar

from carbonquota.model import Clock

T = TypeVar("T")

_PER_METRIC: Final = 320
_PER_ITEM: Final = 50
"""Bytes of memory beside the text, as measured."""


@dataclass(frozen=True, slots=True)
class NewItems(Generic[T]):
    """Items of new metrics, as columns: each with its metric, by its normal name, and the namespace it lies in."""

    items: Sequence[T]
    metrics: Sequence[str]
    namespaces: Sequence[str]

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.items)

    def at(self, places: Sequence[int]) -> NewItems[T]:
        """Those at some places."""
        metrics, namespaces = [self.metrics[place] for place in places], [self.namespaces[place] for place in places]
        return NewItems([self.items[place] for place in places], metrics, namespaces)


@dataclass(frozen=True, slots=True)
class WaitingMetrics:
    """Metrics that wait, each once, by their normal names, and the namespaces that they lie in."""

    names: Sequence[str]
    namespaces: Sequence[str]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)


NONE: Final = WaitingMetrics((), ())


@dataclass(frozen=True, slots=True)
class HoldRoom:
    """How much may wait: the bytes of memory that it takes, and for how many seconds each metric may."""

    size: int = 64 * 1024 * 1024
    seconds: float = 10.0


class Hold(Generic[T]):
    """Metrics in the order in which they came."""

    def __init__(self, clock: Clock, size_of: Callable[[Sequence[T]], int], room: HoldRoom | None = None) -> None:
        """Nothing waits yet; `clock` gives seconds that never go back, and `size_of` the bytes that items take."""
        self._size_of = size_of
        self._clock = clock
        self._room = room or HoldRoom()
        self._lock = Lock()
        self._waiting: dict[str, tuple[T, str, float]] = {}
        """By metric: the first item, the namespace, and when it came."""
        self._more: dict[str, list[T]] = {}
        """What came of a metric after the first item."""
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

    def put(self, new: NewItems[T]) -> NewItems[T]:
        """Have items wait; those that there is no room for."""
        with self._lock:
            if self._are_first(new.metrics):
                size = self._size_of_first(new)
                if self._size + size <= self._room.size:
                    self._put_first(new, size)
                    return new.at(())
            return new.at([place for place in range(len(new)) if not self._put_one(new.at((place,)))])

    def _are_first(self, metrics: Sequence[str]) -> bool:
        """Whether each is another metric, and none of them waits."""
        distinct = set(metrics)
        return len(distinct) == len(metrics) and distinct.isdisjoint(self._waiting)

    def _size_of_first(self, new: NewItems[T]) -> int:
        """The bytes that first items of metrics take."""
        texts = sum(map(len, new.metrics)) + sum(map(len, new.namespaces))
        return self._size_of(new.items) + texts + len(new) * (_PER_ITEM + _PER_METRIC)

    def _put_first(self, new: NewItems[T], size: int) -> None:
        """Have items of metrics wait that did not wait."""
        now = self._clock()
        self._waiting.update(zip(new.metrics, zip(new.items, new.namespaces, repeat(now)), strict=False))
        self._to_ask.extend(new.metrics)
        self._size += size
        self._items += len(new)

    def _put_one(self, new: NewItems[T]) -> bool:
        """Have one item wait; whether there was room."""
        metric = new.metrics[0]
        is_first = metric not in self._waiting
        size = self._size_of_first(new) if is_first else self._size_of(new.items) + _PER_ITEM
        if self._size + size > self._room.size:
            return False
        if is_first:
            self._put_first(new, size)
        else:
            self._more.setdefault(metric, []).append(new.items[0])
            self._size += size
            self._items += 1
        return True

    def to_ask(self, most: int) -> WaitingMetrics:
        """The metrics that the store is to be asked about next; each is given once, unless it is put back."""
        with self._lock:
            some = [self._to_ask.popleft() for _ in range(min(most, len(self._to_ask)))]
            # What was given up and came again stands there twice.
            return self._with_namespaces([name for name in dict.fromkeys(some) if name in self._waiting])

    def _with_namespaces(self, names: Sequence[str]) -> WaitingMetrics:
        """Metrics that wait."""
        return WaitingMetrics(names, [self._waiting[name][1] for name in names])

    def ask_again(self, metrics: WaitingMetrics) -> None:
        """The store said nothing of these: ask about them again, before all others."""
        with self._lock:
            self._to_ask.extendleft(reversed(metrics.names))

    def overdue(self, most: int, *, at_once: bool = False) -> WaitingMetrics:
        """Those that have waited for long enough, or, `at_once`, the first of all."""
        before = self._clock() - self._room.seconds
        with self._lock:
            first = islice(self._waiting.items(), most)
            return self._with_namespaces([name for name, (*_, since) in first if at_once or since <= before])

    def take(self, metrics: Iterable[str]) -> NewItems[T]:
        """Have these wait no more: all that came of them until now."""
        with self._lock:
            names = [metric for metric in metrics if metric in self._waiting]
            found = list(map(self._waiting.pop, names))
            taken = NewItems([item for item, *_ in found], names, [namespace for _, namespace, _ in found])
            size = self._size_of_first(taken)
            if self._more:
                taken, more = self._with_more(taken)
                size += more
            self._size -= size
            self._items -= len(taken)
        return taken

    def _with_more(self, first: NewItems[T]) -> tuple[NewItems[T], int]:
        """First items with all that came after them, and the bytes that the latter take."""
        more = [self._more.pop(metric, ()) for metric in first.metrics]
        counts = [1 + len(items) for items in more]
        items = chain.from_iterable((item, *rest) for item, rest in zip(first.items, more, strict=True))
        metrics = chain.from_iterable(map(repeat, first.metrics, counts))
        namespaces = chain.from_iterable(map(repeat, first.namespaces, counts))
        size = sum(self._size_of(rest) + _PER_ITEM * len(rest) for rest in more)
        return NewItems(list(items), list(metrics), list(namespaces)), size
