"""What several holders hold together: each metric once, and the sums of all namespaces above it.

A metric is known by its digest, and counted as long as anybody holds it. Its namespace and size are those that who
held it first told; all nodes have the same rules and schemas. This file must not know messages, clocks or the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_HOLDERS: Final = 16
"""The bits that the number of holders takes, beside the number of the kind."""

_ONE_HOLDER: Final = (1 << _HOLDERS) - 1

_STOCKS: Final = 5
"""Metrics, logical size, physical size, data points, namespaces: the order of `CAPACITY_ORDER`."""


class Kind(NamedTuple):
    """What all new metrics of one size in one namespace have in common; the namespace by its digest."""

    namespace: int
    logical: int
    physical: int
    data_points: int


@dataclass(slots=True)
class Held:
    """What a namespace holds, in the order of `CAPACITY_ORDER`, and the digest of the one above it, 0 for the root."""

    above: int
    amounts: list[int] = field(default_factory=lambda: [0] * _STOCKS)


Asked = tuple[int, Sequence[int]]
"""A place on the way up from a namespace, and its limits, -1 for none, in the order of `CAPACITY_ORDER`."""


class Stock:
    """Metrics and sums. `held` are namespaces by digest, with all above each."""

    def __init__(self) -> None:
        """Nobody holds anything."""
        self.held: dict[int, Held] = {}
        self._metrics: dict[bytes, int] = {}
        self._kinds: dict[int, Kind] = {}
        self._kind_numbers: dict[Kind, int] = {}
        self._next_kind = 0
        self._kept = 0

    def __len__(self) -> int:
        """How many metrics are held."""
        return len(self._metrics)

    def __contains__(self, digest: bytes) -> bool:
        """Whether somebody holds a metric."""
        return digest in self._metrics

    def place(self, namespace: int, above: int) -> Held:
        """A namespace, which may hold nothing yet; the one above it must have been placed before."""
        held = self.held.get(namespace)
        if held is None:
            held = self.held[namespace] = Held(above)
        return held

    def kind(self, kind: Kind) -> int:
        """The number of a kind, by which metrics are added; its namespace must have been placed."""
        number = self._kind_numbers.get(kind)
        if number is None:
            number = self._kind_numbers[kind] = self._next_kind
            self._kinds[number] = kind
            self._next_kind += 1
        return number

    def kind_of(self, digest: bytes) -> int:
        """The number of the kind of a metric that is held."""
        return self._metrics[digest] >> _HOLDERS

    def kind_at(self, number: int) -> Kind:
        """The kind of that number."""
        return self._kinds[number]

    def add(self, digests: Iterable[bytes], kinds: Iterable[int]) -> None:
        """Have one holder more of each of these metrics, which are of these kinds."""
        metrics, new = self._metrics, dict[int, int]()
        for digest, kind in zip(digests, kinds, strict=True):
            known = metrics.get(digest)
            if known is None:
                metrics[digest] = kind << _HOLDERS | 1
                new[kind] = new.get(kind, 0) + 1
            else:
                metrics[digest] = known + 1
        for number, count in new.items():
            self._change(self._kinds[number], count)

    def remove(self, digests: Iterable[bytes]) -> None:
        """Have one holder less of each of these metrics."""
        metrics, gone = self._metrics, dict[int, int]()
        for digest in digests:
            known = metrics[digest]
            if known & _ONE_HOLDER == 1:
                del metrics[digest]
                kind = known >> _HOLDERS
                gone[kind] = gone.get(kind, 0) + 1
            else:
                metrics[digest] = known - 1
        for number, count in gone.items():
            self._change(self._kinds[number], -count)

    def _change(self, kind: Kind, count: int) -> None:
        """Have so many metrics more, or fewer, of a kind in its namespace and all above."""
        amounts = (count, count * kind.logical, count * kind.physical, count * kind.data_points)
        namespace, gained = kind.namespace, 0
        while namespace:
            held = self.held[namespace]
            before = held.amounts[0]
            held.amounts = [*map(int.__add__, held.amounts, amounts), held.amounts[-1] + gained]
            gained = (not before) - (not held.amounts[0])
            namespace = held.above

    def way_up(self, namespace: int) -> list[Held]:
        """A namespace that was placed, and all above it."""
        way = []
        while namespace:
            held = self.held[namespace]
            way.append(held)
            namespace = held.above
        return way

    def drop_empty(self) -> bool:
        """Forget namespaces that hold nothing, where there may be as many of them as of others; whether it was done."""
        if len(self.held) <= 2 * self._kept + 1_000:
            return False
        self.held = {digest: held for digest, held in self.held.items() if held.amounts[0]}
        self._kept = len(self.held)
        used = {known >> _HOLDERS for known in self._metrics.values()}
        self._kinds = {number: kind for number, kind in self._kinds.items() if number in used}
        self._kind_numbers = {kind: number for number, kind in self._kinds.items()}
        return True


def first_refusal(way: Sequence[Held], limits: Sequence[Asked], kind: Kind) -> tuple[int, int] | None:
    """Whose limit a new metric would pass, as a place on its way up, and which stock: the one nearest to the root.

    `limits` are of those places on the way that have any, the root's first.
    """
    needs = [1, kind.logical, kind.physical, kind.data_points, 0]
    for place, asked in limits:
        amounts = way[place].amounts
        needs[-1] = int(place > 0 and not way[place - 1].amounts[0])
        for stock, limit in enumerate(asked):
            if 0 <= limit < amounts[stock] + needs[stock]:
                return place, stock
    return None
