"""New rules over an existing index, without holding up the traffic for longer than a moment.

Theory of operation. `Rebuild` is made under the lock: it copies the links of all namespaces. `run` needs no lock: it
goes through the copy, parents first, and works out every namespace's state and quota under the new rules. `finish`,
under the lock again, does the same for the few namespaces that were created meanwhile, drops what was removed, carries
the counts over, and puts the result in place in one step. A row that was removed and given out again has another
generation.

Names are not copied, as there may be a million. `run` reads each when it comes to it, and only then looks whether
its namespace is still the one that was created there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbonquota.trie.columns import Column, Numbers
from carbonquota.trie.descent import Descent, RuleMatcher
from carbonquota.trie.index import Index
from carbonquota.trie.namespaces import ROOT_ROW
from carbonquota.trie.quotas import NO_QUOTA, Quotas, QuotaTerms

Integer = TypeVar("Integer", bound=np.integer[Any])

_STRETCH: Final = 128
"""How many namespaces are settled at a stretch: some hundred microseconds of work."""


class Rebuild:
    """One change of rules, in three steps: the making, `run`, `finish`. Only one at a time for an index."""

    def __init__(self, index: Index, matcher: RuleMatcher, terms: tuple[QuotaTerms, ...]) -> None:
        """Copy what the walk needs; to be called under the index's lock."""
        self._index = index
        self._matcher = matcher
        namespaces = index.namespaces
        self._parents = namespaces.parent[: namespaces.size].copy()
        self._generations = namespaces.generations(np.arange(namespaces.size))
        self._births = namespaces.births
        self._states = np.zeros(namespaces.size, np.int32)
        self._holders = np.full(namespaces.size, NO_QUOTA, np.int32)
        self._quotas = Quotas(terms, namespaces.name)
        self._quotas.parts, self._quotas.next_parts = index.quotas.parts, index.quotas.next_parts

    def run(self, give_way: Callable[[], object] = lambda: None) -> None:
        """Find each namespace's rule; the long part, which needs no lock.

        `give_way` is called every now and then. It is to let other threads of this process run: they would otherwise
        wait for the interpreter as often as they let go of it, which numpy does in each operation on a batch.
        """
        state, rule = self._matcher.root()
        self._states[ROOT_ROW] = state
        if rule >= 0:
            self._holders[ROOT_ROW] = self._quotas.create(ROOT_ROW, rule, NO_QUOTA)
        # Parents were created before their children.
        order = np.argsort(self._generations, kind="stable")
        order = order[(self._generations[order] != 0) & (order != ROOT_ROW)]
        for start in range(0, len(order), _STRETCH):
            give_way()
            self._match_lasting(order[start : start + _STRETCH])

    def _match_lasting(self, rows: Column) -> None:
        """Settle those of the copied namespaces that are still there."""
        namespaces = self._index.namespaces
        names = namespaces.names_at(rows)
        # One that is gone has no children left, so none of these has lost its parent.
        last = namespaces.generations(rows) == self._generations[rows]
        rows = rows[last]
        self._match(rows, self._parents[rows], [name for name, lasts in zip(names, last, strict=True) if lasts])

    def finish(self) -> None:
        """Bring it up to date and put it in force; to be called under the index's lock."""
        self._index.note_absent()
        namespaces = self._index.namespaces
        generations = namespaces.generations(np.arange(namespaces.size))
        self._drop_stale(generations)
        self._states = _lengthened(self._states, namespaces.size)
        self._holders = _lengthened(self._holders, namespaces.size)
        fresh = np.flatnonzero(generations > self._births)
        fresh = fresh[np.argsort(generations[fresh])]
        self._match(fresh, namespaces.parent[fresh], namespaces.names_at(fresh))
        self._carry_over()
        namespaces.state[: namespaces.size] = self._states
        namespaces.quota[: namespaces.size] = self._holders
        self._index.replace_rules(self._matcher, self._quotas)

    def _match(self, rows: Column, parents: Numbers, names: list[str]) -> None:
        """Find the states and quotas of namespaces, parents first."""
        Descent(self._matcher, self._quotas, self._states, self._holders).find_rules(rows, parents, names)

    def _drop_stale(self, generations: Column) -> None:
        """Remove the quotas of namespaces that are gone, though their row may have been given out again."""
        rows = self._quotas.in_use()
        held = self._quotas.namespace[rows]
        for row in rows[generations[held] != self._generations[held]].tolist():
            self._quotas.remove(row)

    def _carry_over(self) -> None:
        """Take over the counts of each namespace that was under a rule before and is under one now."""
        before = self._index.quotas
        old = before.in_use()
        old_by_namespace = np.zeros(self._index.namespaces.size, np.int64)
        old_by_namespace[before.namespace[old]] = old
        new = self._quotas.in_use()
        sources = old_by_namespace[self._quotas.namespace[new]]
        both = sources != NO_QUOTA
        self._quotas.inherit(new[both], before, sources[both])


def _lengthened(column: NDArray[Integer], length: int) -> NDArray[Integer]:
    """A copy so long, with zeros at the end."""
    longer = np.zeros(length, column.dtype)
    longer[: len(column)] = column
    return longer
