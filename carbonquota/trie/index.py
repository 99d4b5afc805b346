"""The index: series, namespaces and quotas kept in step, as one structure that the engine asks under its lock.

Invariants: a series is counted at its namespace and every one above. A namespace's matcher state and its quota are
those of the rules in force, from its creation on. An empty namespace is removed at once, unless its quota has counts
that a report still has to give; then it is *idle* and goes with that report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel import SeriesTable
from carbonquota.model import Size
from carbonquota.trie.columns import Columns, View
from carbonquota.trie.namespaces import NO_ROW, ROOT_ROW, Namespaces
from carbonquota.trie.quotas import NO_QUOTA, Quotas, Terms


class Matcher(Protocol):
    """Which rule holds a namespace, found on the way down; see `carbonquota.rules`."""

    def root(self) -> tuple[int, int]:
        """The root's state, and the number of its rule or -1."""

    def step(self, state: int, component: str) -> tuple[int, int]:
        """The same for a child of a namespace in `state`."""


class Series(Columns):
    """What is known of each series, by its row in the series table: its namespace, and its size by number.

    Few sizes are held by many series, so each is kept once, as long as a series has it.
    """

    COLUMNS = "namespace size_number"
    DTYPE = np.int32

    namespace: NDArray[np.int32]
    namespace_at: View
    size_number_at: View

    def __init__(self) -> None:
        """Start without series."""
        super().__init__()
        self._sizes: list[Size] = []
        self._holders: list[int] = []
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._unused: list[int] = []

    def put(self, row: int, namespace: int, size: Size) -> None:
        """Note a series' namespace and size."""
        self.reserve(row + 1)
        self.size = max(self.size, row + 1)
        self.namespace_at[row] = namespace
        self.size_number_at[row] = self._number(size)

    def _number(self, size: Size) -> int:
        """The number of a size, for one more series that has it."""
        key = (size.logical, size.physical, size.data_points)
        number = self._numbers.get(key)
        if number is None:
            number = self._unused.pop() if self._unused else len(self._sizes)
            self._sizes[number : number + 1] = [size]
            self._holders[number : number + 1] = [0]
            self._numbers[key] = number
        self._holders[number] += 1
        return number

    def release(self, row: int) -> Size:
        """The size of a series that is about to have it no longer."""
        number = self.size_number_at[row]
        size = self._sizes[number]
        self._holders[number] -= 1
        if not self._holders[number]:
            del self._numbers[size.logical, size.physical, size.data_points]
            self._unused.append(number)
        return size

    def size_of(self, row: int) -> Size:
        """The size that a series is counted with."""
        return self._sizes[self.size_number_at[row]]


class Index:
    """Every series, namespace and quota. Not safe to use from two threads at once."""

    def __init__(self, matcher: Matcher, terms: tuple[Terms, ...]) -> None:
        """Start without series, under rules that `matcher` finds and that grant `terms`."""
        self.table = SeriesTable()
        self.series = Series()
        self.namespaces = Namespaces()
        self.quotas = Quotas(terms)
        self.matcher = matcher
        self._idle: set[int] = set()
        state, rule = matcher.root()
        self._put_under_rule(ROOT_ROW, state, rule, NO_QUOTA)

    def __len__(self) -> int:
        """The number of series."""
        return len(self.table)

    def _put_under_rule(self, row: int, state: int, rule: int, above: int) -> None:
        """Put a namespace under its rule, or under the quota above where it has none of its own."""
        self.namespaces.state_at[row] = state
        quota = above if rule < 0 else self.quotas.create(row, self.namespaces.names[row], rule, above)
        self.namespaces.quota_at[row] = quota

    def foresee(self, row: int, names: Iterable[str]) -> Iterator[int]:
        """The number of the rule, or -1, of each namespace to be created below `row`, one below the other."""
        state = self.namespaces.state_at[row]
        for name in names:
            state, rule = self.matcher.step(state, _component(name))
            yield rule

    def create(self, row: int, names: Iterable[str]) -> int:
        """Create namespaces below `row`, one below the other, each under its rule; the last one's row."""
        namespaces = self.namespaces
        for name in names:
            state, rule = self.matcher.step(namespaces.state_at[row], _component(name))
            above = namespaces.quota_at[row]
            row = namespaces.create(name, row)
            self._put_under_rule(row, state, rule, above)
        return row

    def add(self, name: bytes, namespace: int, size: Size) -> int:
        """Put a series that is not there yet into the namespace at that row, and count it; its own row."""
        row = self.table.insert(name)
        self.series.put(row, namespace, size)
        self.namespaces.charge(namespace, size)
        return row

    def add_many(self, names: Sequence[bytes], namespaces: Sequence[int], sizes: Sequence[Size]) -> None:
        """`add` for many new series at once, all of different names and in namespaces that are not empty."""
        for name, namespace, size in zip(names, namespaces, sizes, strict=True):
            self.series.put(self.table.insert(name), namespace, size)
        amounts = [(size.logical, size.physical, size.data_points) for size in sizes]
        self.namespaces.charge_many(np.array(namespaces, np.int64), np.array(amounts, np.int64).T)

    def resize(self, row: int, size: Size) -> None:
        """Count a series with another size."""
        namespace = self.series.namespace_at[row]
        self.namespaces.discharge(namespace, self.series.release(row))
        self.namespaces.charge(namespace, size)
        self.series.put(row, namespace, size)

    def remove(self, name: bytes) -> None:
        """Take a series out and give back what it held; KeyError where it is not in."""
        row = self.table.remove(name)
        namespace = self.series.namespace_at[row]
        self.namespaces.discharge(namespace, self.series.release(row))
        self.sweep(namespace)

    def own_quota(self, row: int) -> int:
        """The quota that holds this very namespace, or NO_QUOTA."""
        quota = self.namespaces.quota_at[row]
        return quota if quota != NO_QUOTA and self.quotas.namespace_at[quota] == row else NO_QUOTA

    def sweep(self, row: int) -> None:
        """Remove a namespace and those above it as far as they are empty and nothing of them is to be reported."""
        namespaces = self.namespaces
        while row != ROOT_ROW and namespaces.is_empty(row) and namespaces.first_child_at[row] == NO_ROW:
            quota = self.own_quota(row)
            if quota != NO_QUOTA:
                if self.quotas.has_counts(quota):
                    self._idle.add(row)
                    return
                self.quotas.remove(quota)
            parent = namespaces.parent_at[row]
            namespaces.remove(row)
            row = parent

    def sweep_idle(self) -> None:
        """Remove the namespaces that were waiting for a report; to be called after each."""
        idle, self._idle = self._idle, set()
        for row in idle:
            # It may be in use again, or gone with one below it.
            if self.namespaces.born_at[row]:
                self.sweep(row)

    def replace_rules(self, matcher: Matcher, quotas: Quotas) -> None:
        """Put other rules in force; every namespace's `state` and `quota` must be theirs already."""
        self.matcher = matcher
        self.quotas = quotas
        # What waited for a report under the rules before may have nothing to report under these.
        namespaces = self.namespaces
        empty = namespaces.metrics[: namespaces.size] == 0
        self._idle.update(np.flatnonzero(empty & (namespaces.born[: namespaces.size] != 0)).tolist())
        self.sweep_idle()

    def locate(self, path: str) -> tuple[int, list[str]]:
        """For a metric's dotted part: the nearest namespace above it, and the names still missing, topmost first."""
        return self.namespaces.locate(path)

    def find(self, name: bytes) -> int:
        """The row of the series with this normal name, or UNKNOWN."""
        return self.table.find(name)


def _component(name: str) -> str:
    """The last part of a namespace's name."""
    return name[name.rfind(".") + 1 :]
