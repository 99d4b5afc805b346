"""The namespaces of this node that share a throughput limit, by the digests that all nodes know them by.

A namespace gets its digest when points of it were first accepted here; what others said of that digest before counts
from then on. Everything goes by the directory's own positions, which stay until `drop_gone` makes them new: it is to be
called now and then, or namespaces that are gone would add up. This file must not know sockets or clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.cluster.messages import Counts, Digests, digests_of
from carbonquota.controls.sharing import NamespaceRows

Positions = NDArray[np.intp]
NamesOf = Callable[[NamespaceRows], list[str]]
"""The names of namespaces, empty for one that is gone."""

AreThere = Callable[[NamespaceRows], NDArray[np.bool_]]
"""Which of some namespaces still exist."""

_FEW: Final = 1_000
"""So many that are gone are not worth looking for."""


class Directory:
    """Namespaces with digests. `rows`, `generation` and `digests` go by position."""

    def __init__(self, cluster: str, names_of: NamesOf) -> None:
        """Know none yet."""
        self._cluster = cluster
        self._names_of = names_of
        self.rows = np.empty(0, np.int64)
        self.generation = np.empty(0, np.int64)
        self.digests = np.empty(0, np.uint64)
        self._position_of_row = np.empty(0, np.int64)
        self._ordered = np.empty(0, np.uint64)
        self._order = np.empty(0, np.intp)
        self._kept = 0

    def __len__(self) -> int:
        """How many are known."""
        return len(self.rows)

    def positions(self, namespaces: NamespaceRows) -> tuple[Positions, int]:
        """Where these stand, those that are new being added, -1 for one that is gone; and how many were added."""
        positions = self._known(namespaces)
        new = np.flatnonzero(positions < 0)
        if not len(new):
            return positions, 0
        fresh = NamespaceRows(namespaces.rows[new], namespaces.generation[new])
        names = self._names_of(fresh)
        there = np.array([bool(name) for name in names], np.bool_)
        added = NamespaceRows(fresh.rows[there], fresh.generation[there])
        positions[new[there]] = self._add(added, digests_of(filter(None, names), self._cluster))
        return positions, len(added.rows)

    def _known(self, namespaces: NamespaceRows) -> Positions:
        """Where these stand, -1 for one that is not known."""
        rows = namespaces.rows
        if len(rows) and rows.max() >= len(self._position_of_row):
            more = np.full(int(rows.max()) + 1 - len(self._position_of_row), -1, np.int64)
            self._position_of_row = np.concatenate((self._position_of_row, more))
        positions = self._position_of_row[rows]
        known = positions >= 0
        # The row may have been another namespace's.
        known[known] = self.generation[positions[known]] == namespaces.generation[known]
        return np.where(known, positions, -1)

    def _add(self, namespaces: NamespaceRows, digests: Digests) -> Positions:
        """Give these the next positions."""
        first = len(self.rows)
        self.rows = np.concatenate((self.rows, namespaces.rows))
        self.generation = np.concatenate((self.generation, namespaces.generation))
        self.digests = np.concatenate((self.digests, digests))
        positions = np.arange(first, len(self.rows))
        self._position_of_row[namespaces.rows] = positions
        self._sort()
        return positions

    def _sort(self) -> None:
        """Have the digests in order, to look them up."""
        self._order = np.argsort(self.digests, kind="stable")
        self._ordered = self.digests[self._order]

    def find(self, digests: Digests, amounts: Counts) -> tuple[Positions, Counts]:
        """Where those of the digests stand that are known here, and the amounts that go with them.

        A digest that two positions have, as its namespace went and came again, is found at the later.
        """
        places = np.searchsorted(self._ordered, digests, side="right") - 1
        known = places >= 0
        known[known] = self._ordered[places[known]] == digests[known]
        return self._order[places[known]], amounts[known]

    def namespaces(self, positions: Positions) -> NamespaceRows:
        """The namespaces at these positions."""
        return NamespaceRows(self.rows[positions], self.generation[positions])

    def drop_gone(self, are_there: AreThere) -> Positions | None:
        """Drop namespaces that are gone, if there may be as many of them as others.

        The positions before of those that are left, ascending: from here on they are 0, 1 and so on. None if nothing
        is dropped.
        """
        if len(self) <= 2 * self._kept + _FEW:
            return None
        keep = np.flatnonzero(are_there(NamespaceRows(self.rows, self.generation)))
        self.rows, self.generation, self.digests = self.rows[keep], self.generation[keep], self.digests[keep]
        self._position_of_row = np.full(int(self.rows.max(initial=-1)) + 1, -1, np.int64)
        self._position_of_row[self.rows] = np.arange(len(self.rows))
        self._sort()
        self._kept = len(self)
        return keep
