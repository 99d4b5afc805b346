"""Rules found for many namespaces at once: a level of the tree after the other, each below what is settled already.

Theory of operation. A namespace's matcher state and its quota follow from its parent's. So namespaces of one level can
be settled together: their parents' states are few, the matcher is asked once for all children of one state, and
quotas are made from the rows of those above them by whole columns. Only the names in stats depend on who came first,
so they are given at the end, in the order in which the namespaces were created.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.trie.columns import Column, NarrowColumn, Numbers
from carbonquota.trie.quotas import Quotas

Names = NDArray[np.object_]


class RuleMatcher(Protocol):
    """Which rule holds a namespace, found on the way down; see `carbonquota.rules`."""

    def root(self) -> tuple[int, int]:
        """The root's state, and the number of its rule or -1."""

    def step(self, state: int, component: str) -> tuple[int, int]:
        """The same for a child of a namespace in `state`."""

    def steps(self, state: int, names: Sequence[str]) -> Sequence[tuple[int, int]]:
        """`step` for many children of namespaces in one state, by their full names."""


@dataclass(frozen=True, slots=True)
class Descent:
    """The way down under the rules that `matcher` finds.

    `states` and `holders` are columns by namespace: the matcher's states, and the rows of the nearest quotas.
    """

    matcher: RuleMatcher
    quotas: Quotas
    states: NarrowColumn
    holders: NarrowColumn

    def find_rules(self, rows: Column, parents: Numbers, names: Sequence[str]) -> None:
        """Note the states and quotas of namespaces, pairwise and in the order of their creation.

        A parent is settled already, or is one of these and comes before its children.
        """
        called = np.array(names, np.object_)
        depths = np.fromiter((name.count(".") for name in names), np.int64, len(names))
        for level in _groups(depths):
            self._find_level(rows[level], parents[level], called[level])
        quotas = self.holders[rows]
        self.quotas.want_names(quotas[self.quotas.namespace[quotas] == rows])

    def _find_level(self, rows: Column, parents: Numbers, names: Names) -> None:
        """Settle namespaces below settled ones."""
        states, rules = self._steps(self.states[parents], names)
        above = self.holders[parents]
        self.states[rows], self.holders[rows] = states, above
        own = np.flatnonzero(rules >= 0)
        if len(own):
            self.holders[rows[own]] = self.quotas.create_many(rows[own], rules[own], above[own])

    def _steps(self, states: NarrowColumn, names: Names) -> tuple[Column, Column]:
        """The states and rules of namespaces by the states of their parents."""
        found = np.empty((len(names), 2), np.int64)
        for group in _groups(states):
            steps = self.matcher.steps(int(states[group[0]]), names[group].tolist())
            found[group] = np.fromiter(chain.from_iterable(steps), np.int64, 2 * len(group)).reshape(-1, 2)
        return found[:, 0], found[:, 1]


def _groups(keys: NDArray[np.integer[Any]]) -> Iterator[Column]:
    """The places of equal keys, ascending, the group of the lowest key first."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    return iter(np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1) if len(keys) else ())
