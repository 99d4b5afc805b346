"""The tree of namespaces as columns: a row a namespace, with its links, its usage and what holds it.

Invariants: row 0 is the root. A row is linked below its parent from `create` to `remove`. Its usage equals the sum
over the series at and below it; `namespaces` counts its children that hold a metric. A namespace that holds none is
*empty*: it is there only as long as its counters of this interval are wanted, and usage does not show it.

Each namespace has a *generation*, a number that no other one of this index has; parents have lower ones. It is the
row's number, one more, and the row's `lag`: 0 for the first namespace there, as long as no row was given twice, so that
a column of these takes no memory in a flood.

Names are in the kernel's table as bytes, the root's as empty ones, so that a metric's name is its namespace's, a dot
and a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from carbonquota.control import CAPACITIES, amounts_of
from carbonquota.kernel import UNKNOWN, NameTable
from carbonquota.model import MAXIMUM, ROOT, Size
from carbonquota.trie.columns import OWN as _BIRTHS
from carbonquota.trie.columns import Column, Columns, NarrowColumn, Numbers, View

ROOT_ROW: Final = 0

_GONE: Final = -1
"""The `lag` of a row that is not in use."""


class Namespaces(Columns):
    """All namespaces. `state` is the rule matcher's, `quota` the row of the nearest quota at or above."""

    COLUMNS = " ".join(("lag", *(control.stat for control in CAPACITIES)))
    NARROW = "parent quota child_count state"

    parent: NarrowColumn
    quota: NarrowColumn
    lag: Column
    namespaces: Column
    metrics: Column
    child_count: NarrowColumn
    state: NarrowColumn
    parent_at: View
    quota_at: View
    lag_at: View
    namespaces_at: View
    metrics_at: View
    child_count_at: View
    state_at: View

    def __init__(self) -> None:
        """Start with the root alone."""
        super().__init__()
        self.table = NameTable()
        self._begin(ROOT)
        self.parent_at[ROOT_ROW] = UNKNOWN

    def _bind(self) -> None:
        """Point the attributes at the stores, and list the usage once more."""
        super()._bind()
        # A row that goes keeps what tells that it has gone.
        self._views = [view for view in self._views if view is not self.lag_at]
        self.usage: list[Column] = [getattr(self, control.stat) for control in CAPACITIES]
        """What is held, by the index of `CAPACITIES`."""
        self.usage_at: list[View] = [getattr(self, f"{control.stat}_at") for control in CAPACITIES]

    def find(self, name: str) -> int:
        """The row of a namespace, or UNKNOWN."""
        return self.table.find(_text(name))

    def name(self, row: int) -> str:
        """The name of the namespace at a row; empty where there is none."""
        return ROOT if row == ROOT_ROW else self.table.name(row).decode()

    def names_at(self, rows: Column) -> list[str]:
        """The names of the namespaces at these rows; may be called at any time."""
        return [self.name(row) for row in rows.tolist()]

    @property
    def births(self) -> int:
        """How many namespaces were ever created, which is the generation of the last one."""
        return self._meter_at[_BIRTHS]

    def generations(self, rows: Numbers) -> Column:
        """The generations of the namespaces at these rows, of which each is in use or was; 0 where none is."""
        lag = self.lag[rows]
        return np.where(lag == _GONE, 0, rows + (lag + 1))

    def is_in_use(self, row: int) -> bool:
        """Whether there is a namespace at this row, which there was."""
        return self.lag_at[row] != _GONE

    def in_use(self) -> Column:
        """The rows of all namespaces, empty ones and the root included, in ascending order."""
        return np.flatnonzero(self.lag[: self.size] != _GONE)

    def occupied(self) -> Column:
        """The rows of the namespaces that hold a metric, the root left out, in ascending order."""
        return np.flatnonzero(self.metrics[ROOT_ROW + 1 : self.size]) + (ROOT_ROW + 1)

    def locate(self, path: str) -> tuple[int, list[str]]:
        """For a metric's dotted part: the nearest namespace above it, and the names still missing, topmost first."""
        missing: list[str] = []
        while (dot := path.rfind(".")) >= 0:
            path = path[:dot]
            row = self.find(path)
            if row != UNKNOWN:
                return row, missing
            missing.insert(0, path)
        return ROOT_ROW, missing

    def locate_many(self, names: Sequence[str]) -> tuple[Column, list[str], Column]:
        """Where namespaces are, and which are to be created for them, and below what, all parents before children.

        A place is a row, or ~n for the n-th that is to be created.
        """
        places = _Places(self.find)
        located = np.fromiter(map(places.__getitem__, names), np.int64, len(names))
        return located, places.missing, np.array(places.parents, np.int64)

    def create(self, name: str, parent: int) -> int:
        """A new, empty namespace below `parent`."""
        row = self._begin(name)
        self.parent_at[row] = parent
        self.child_count_at[parent] += 1
        return row

    def _begin(self, name: str) -> int:
        """A row that is known by this name."""
        row = self.take_row()
        self.table.insert(_text(name), row)
        self._meter_at[_BIRTHS] += 1
        self.lag_at[row] = self.births - (row + 1)
        return row

    def create_many(self, names: Sequence[str], parents: Column) -> Column:
        """`create` for many, in this order; their rows. Parents are places, as `locate_many` gives them."""
        rows = self.take_rows(len(names))
        for row, name in zip(rows.tolist(), names, strict=True):
            self.table.insert(_text(name), row)
        self.lag[rows] = np.arange(self.births, self.births + len(rows)) - rows
        self._meter_at[_BIRTHS] += len(rows)
        parents = rows_at(parents, rows)
        self.parent[rows] = parents
        np.add.at(self.child_count, parents, 1)
        return rows

    def remove(self, row: int) -> None:
        """Take out an empty namespace that has no children."""
        self.child_count_at[self.parent_at[row]] -= 1
        # In this order, so that a reader without the lock that finds `lag` unchanged behind has the right name.
        self.lag_at[row] = _GONE
        self.table.remove(row)
        self.give_row(row)

    def is_empty(self, row: int) -> bool:
        """Whether no metric is at or below this namespace."""
        return self.metrics_at[row] == 0

    def children(self, row: int) -> Column:
        """The rows of direct sub-namespaces, empty ones included, in ascending order; it costs a look at all."""
        below = (self.parent[: self.size] == row) & (self.lag[: self.size] != _GONE)
        return np.flatnonzero(below)

    def lineage(self, row: int) -> list[int]:
        """The namespaces from the root to this one."""
        rows = []
        while row != UNKNOWN:
            rows.append(row)
            row = self.parent_at[row]
        return rows[::-1]

    def gaining(self, row: int, *, missing: bool) -> int:
        """Which namespace would gain a direct sub-namespace by a metric put at `row`, or UNKNOWN for none.

        `missing` tells that the metric's own namespace is still to be created below `row`. Of those that would
        gain one, the lowest are empty themselves, so their limit, at least 1, cannot matter: the highest is given.
        """
        gains = UNKNOWN
        if missing:
            gains = row
        while row != ROOT_ROW and self.metrics_at[row] == 0:
            row = gains = self.parent_at[row]
        return gains

    def can_hold(self, size: Size, instead_of: Size | None = None) -> bool:
        """Whether the root's sums stay within 2^63 - 1 with a metric of this size more, or instead of another's."""
        less = (0,) * len(CAPACITIES) if instead_of is None else amounts_of(instead_of)
        for used, more, gone in zip(self.usage_at, amounts_of(size), less, strict=True):
            if used[ROOT_ROW] + more - gone > MAXIMUM:
                return False
        return True

    def _amounts(self, size: Size) -> list[tuple[View, int]]:
        """What a metric of this size adds to which columns."""
        # Writing zeros over zeros would take memory.
        return [(used, amount) for used, amount in zip(self.usage_at, amounts_of(size), strict=True) if amount]

    def charge(self, row: int, size: Size) -> None:
        """Count one more metric of this size at `row` and above."""
        amounts = self._amounts(size)
        was_empty = False
        while row != UNKNOWN:
            if was_empty:
                self.namespaces_at[row] += 1
            was_empty = self.metrics_at[row] == 0
            for used, more in amounts:
                used[row] += more
            row = self.parent_at[row]

    def charge_many(self, rows: Numbers, amounts: Column) -> None:
        """`charge` for many metrics at once; `rows` (int64, shape (entries,)) may hold a row many times over.

        `amounts` is int64, shape (capacities, entries): what they add of each in all. No namespace may be empty.
        """
        while len(rows):
            for column, amount in zip(self.usage, amounts, strict=True):
                if amount.any():
                    np.add.at(column, rows, amount)
            rows = self.parent[rows]
            below = rows != UNKNOWN
            rows, amounts = rows[below], amounts[:, below]

    def fill(self, rows: Column, amounts: Column) -> None:
        """`charge_many` where namespaces may be empty: it costs a look at all of them."""
        were_empty = self.metrics[: self.size] == 0
        self.charge_many(rows, amounts)
        were_empty &= self.metrics[: self.size] > 0
        were_empty[ROOT_ROW] = False
        np.add.at(self.namespaces, self.parent[: self.size][were_empty], 1)

    def count(self) -> int:
        """How many namespaces hold a metric, the root left out."""
        return int(np.count_nonzero(self.metrics[ROOT_ROW + 1 : self.size]))

    def discharge(self, row: int, size: Size) -> None:
        """Give back what `charge` counted."""
        amounts = self._amounts(size)
        became_empty = False
        while row != UNKNOWN:
            if became_empty:
                self.namespaces_at[row] -= 1
            for used, less in amounts:
                used[row] -= less
            became_empty = self.metrics_at[row] == 0
            row = self.parent_at[row]


class _Places(dict[str, int]):
    """Places of namespaces by name, found when asked for; `missing` are those to create, `parents` their parents."""

    def __init__(self, find: Callable[[str], int]) -> None:
        """Start with the root, whose name is not what its children's begin with, as any other's is."""
        super().__init__({"": ROOT_ROW})
        self._find = find
        self.missing: list[str] = []
        self.parents: list[int] = []

    def __missing__(self, name: str) -> int:
        """The place of a namespace not asked for so far."""
        above = self[name[: max(name.rfind("."), 0)]]
        place = self._find(name) if above >= 0 else UNKNOWN
        if place == UNKNOWN:
            place = ~len(self.missing)
            self.missing.append(name)
            self.parents.append(above)
        self[name] = place
        return place


def _text(name: str) -> bytes:
    """A namespace's name as the kernel's table has it."""
    return b"" if name == ROOT else name.encode("utf-8", "surrogatepass")


def rows_at(places: Column, created: Column) -> Column:
    """The rows at places as `locate_many` gives them, once what was missing is created at these rows."""
    missing = places < 0
    if missing.any():
        places = places.copy()
        places[missing] = created[~places[missing]]
    return places
