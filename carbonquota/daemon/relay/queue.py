"""Batches of points in memory: those that wait, those being sent, and those that may have to be sent again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

_OVERHEAD: Final = 128
"""Bytes of memory that a batch takes beside its lines; without them, many tiny batches would pass any bound."""

_MOST_BUFFERS: Final = 256
"""Buffers given to one system call; POSIX lets a system refuse more than IOV_MAX, which Linux has at 1024."""


class RelayBatch(NamedTuple):
    """Whole lines as they were accepted, and how many points they are.

    `segment` is the spool's segment that it was read back from, 0 if it never was on disk. `again` says that it
    was sent before and counts as forwarded.
    """

    lines: bytes
    points: int
    segment: int = 0
    again: bool = False


def cut(batch: RelayBatch, received: int) -> tuple[RelayBatch | None, RelayBatch]:
    """The lines of which the first `received` bytes are all, if there are any, and the others, as two batches."""
    place = batch.lines.rfind(b"\n", 0, received) + 1
    if not place:
        return None, batch
    head, rest = batch.lines[:place], batch.lines[place:]
    points = sum(1 for line in head.split(b"\n") if line.strip())
    return batch._replace(lines=head, points=points), batch._replace(lines=rest, points=batch.points - points)


class BatchQueue:
    """Batches in order, with the memory they take."""

    __slots__ = ("_batches", "size")

    def __init__(self) -> None:
        self._batches: deque[RelayBatch] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[RelayBatch]:
        return iter(self._batches)

    def append(self, batch: RelayBatch) -> None:
        """Put one behind all others."""
        self._batches.append(batch)
        self.size += len(batch.lines) + _OVERHEAD

    def extend(self, batches: Iterable[RelayBatch]) -> None:
        """Put these behind all others."""
        for batch in batches:
            self.append(batch)

    def popleft(self) -> RelayBatch:
        """Take out the oldest."""
        batch = self._batches.popleft()
        self.size -= len(batch.lines) + _OVERHEAD
        return batch

    def peek(self, size: int) -> list[RelayBatch]:
        """The oldest ones, as many as fill `size` bytes, and one at least; they stay."""
        found = []
        for batch in self._batches:
            found.append(batch)
            size -= len(batch.lines)
            if size <= 0:
                break
        return found

    def drop(self, count: int) -> None:
        """Take out the `count` oldest."""
        for _ in range(count):
            self.popleft()

    def clear(self) -> list[RelayBatch]:
        """Take out all."""
        batches = list(self._batches)
        self._batches.clear()
        self.size = 0
        return batches


class Outbox(BatchQueue):
    """The batches to be sent next, of which the first may have gone in part."""

    __slots__ = ("_gone",)

    def __init__(self) -> None:
        super().__init__()
        self._gone = 0

    def buffers(self) -> list[bytes | memoryview]:
        """What to give to the socket: the lines of the first batches, without what has gone of the very first."""
        buffers: list[bytes | memoryview] = [batch.lines for batch in islice(self._batches, _MOST_BUFFERS)]
        if self._gone:
            buffers[0] = memoryview(buffers[0])[self._gone :]
        return buffers

    def advance(self, sent: int) -> list[RelayBatch]:
        """Note that `sent` bytes more have gone, and take out the batches that have gone as a whole."""
        finished = []
        sent += self._gone
        while self._batches and sent >= len(self._batches[0].lines):
            batch = self.popleft()
            finished.append(batch)
            sent -= len(batch.lines)
        self._gone = sent
        return finished

    def cut(self, received: int) -> RelayBatch | None:
        """Take out the lines of the first batch of which the first `received` bytes are all, if there are any."""
        if not self._batches or not 0 < received <= self._gone:
            return None
        head, rest = cut(self._batches[0], received)
        if head is not None:
            self.popleft()
            self._batches.appendleft(rest)
            self.size += len(rest.lines) + _OVERHEAD
            self._gone -= len(head.lines)
        return head

    def restart(self, sent_before: Iterable[RelayBatch]) -> None:
        """Begin a new connection: with `sent_before`, and the first batch from its first line."""
        rest = self.clear()
        self._gone = 0
        self.extend(batch if batch.again else batch._replace(again=True) for batch in sent_before)
        self.extend(rest)


class ResendWindow:
    """What was sent on one connection and is not yet taken to be safe.

    TCP tells what the other machine received, and what its program read only at an end in order. So a batch stays until
    it was received at least `seconds` ago; past `max_size` bytes the oldest go before that.
    """

    __slots__ = ("_batches", "_end", "_marks", "_max_size", "_start", "seconds")

    def __init__(self, seconds: float, max_size: int) -> None:
        self.seconds = seconds
        self._max_size = max_size
        self._batches: deque[RelayBatch] = deque()
        # Where in the connection's stream the first batch starts and the last one ends.
        self._start = self._end = 0
        self._marks: deque[tuple[float, int]] = deque()

    def add(self, batches: Iterable[RelayBatch]) -> None:
        """Keep these, which were just sent as a whole."""
        for batch in batches:
            self._batches.append(batch)
            self._end += len(batch.lines)
        while self._end - self._start > self._max_size:
            self._forget()

    def mark(self, now: float, received: int) -> None:
        """Note that the other side has received this much of the stream, and forget what is safe since long."""
        self._marks.append((now, received))
        safe = 0
        while self._marks and self._marks[0][0] <= now - self.seconds:
            safe = self._marks.popleft()[1]
        while self._batches and self._start + len(self._batches[0].lines) <= safe:
            self._forget()

    @property
    def end(self) -> int:
        """How much of the connection's stream it has seen, in bytes."""
        return self._end

    def acknowledge(self, received: int) -> None:
        """Forget all lines within the first `received` bytes of the connection's stream: they need not go again."""
        while self._batches and self._start + len(self._batches[0].lines) <= received:
            self._forget()
        if self._batches and received > self._start:
            head, rest = cut(self._batches[0], received - self._start)
            if head is not None:
                self._batches[0] = rest
                self._start += len(head.lines)

    def clear(self) -> list[RelayBatch]:
        """Take out all, as the connection is gone."""
        batches = list(self._batches)
        self._batches.clear()
        self._marks.clear()
        self._start = self._end = 0
        return batches

    def __iter__(self) -> Iterator[RelayBatch]:
        return iter(self._batches)

    def _forget(self) -> None:
        self._start += len(self._batches.popleft().lines)
