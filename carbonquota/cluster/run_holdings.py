"""What one run of a node holds, as it was heard: merged from messages in any order, with any of them lost or doubled.

Theory of operation. A run gives every metric that it comes to hold the next number, its *version*; a metric that goes
and comes again gets another. So of a version there are three things to know, in this order: nothing, that it is
present, that it is gone. Merging takes the later of two, which is commutative, associative and idempotent, and so what
is known depends on the set of messages that were heard, not on their order.

A message tells of a stretch of versions: which of them are present; all others in it are gone. So stretches that were
heard are all that has to be remembered of what is gone. Where stretches are missing, the run is asked for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from typing import Final

_MOST_STRETCHES: Final = 64
"""Stretches with gaps between: of a run with more of them, no message is taken that would make another."""


class Stretches:
    """Some versions, as ascending stretches (after, until] that do not touch."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        """None yet."""
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, version: int) -> bool:
        """Whether a version is in one of them."""
        at = bisect_left(self._ends, version)
        return at < len(self._ends) and self._starts[at] < version

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ends)

    @property
    def known_until(self) -> int:
        """The last version up to which all are in them, from the first on."""
        return self._ends[0] if self._ends and not self._starts[0] else 0

    @property
    def is_whole(self) -> bool:
        """Whether no version is missing before the last one."""
        return not self._ends or (len(self._ends) == 1 and not self._starts[0])

    def meet(self, after: int, until: int) -> bool:
        """Whether versions of this stretch are in them."""
        at = bisect_left(self._ends, after + 1)
        ahead = zip(self._starts[at:], self._ends[at:], strict=True)
        return any(max(start, after) < min(end, until) for start, end in ahead)

    def add(self, after: int, until: int) -> None:
        """Have the versions of another stretch in them; an empty one says that there are none up to it to be missed."""
        first = bisect_left(self._ends, after)
        last = first
        while last < len(self._starts) and self._starts[last] <= until:
            last += 1
        if first < last:
            after, until = min(after, self._starts[first]), max(until, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [after], [until]


class RunHoldings:
    """The versions of one run. `present` maps them to the digests of metrics."""

    __slots__ = ("_gone", "heard", "present")

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self.present: dict[int, bytes] = {}
        self.heard = Stretches()
        self._gone: set[int] = set()

    def has_room(self, after: int, until: int) -> bool:
        """Whether another stretch can be taken."""
        return len(self.heard) < _MOST_STRETCHES or self.heard.meet(after - 1, until + 1)

    def merge(
        self, after: int, until: int, present: Mapping[int, bytes], gone: Iterable[int]
    ) -> tuple[Collection[int], Collection[bytes]]:
        """Take a stretch, in which no others than these versions are `present`, and some that are `gone`.

        The versions that came by it, of `present`, and the digests of those that went.
        """
        went = [self.present.pop(version) for version in self._told_gone(after, until, present, gone)]
        if self.heard.meet(after, until):
            came = [version for version in present if version not in self.heard and version not in self._gone]
        else:
            came = [version for version in present if version not in self._gone] if self._gone else list(present)
        self.heard.add(after, until)
        self.present.update((version, present[version]) for version in came)
        if self._gone:
            self._gone = {version for version in self._gone if version not in self.heard}
        return came, went

    def _told_gone(self, after: int, until: int, present: Mapping[int, bytes], gone: Iterable[int]) -> list[int]:
        """The versions that are held here and told to be gone; those not heard of yet are remembered as gone."""
        held = []
        for version in gone:
            if version in self.present:
                held.append(version)
            elif version not in self.heard:
                self._gone.add(version)
        if self.heard.meet(after, until):
            ours: Iterable[int] = range(after + 1, until + 1) if until - after < len(self.present) else self.present
            held += [v for v in ours if after < v <= until and v in self.present and v not in present]
        return list(dict.fromkeys(held))
