"""New rules over an existing index, without holding up the traffic for longer than a moment.

Theory of operation. `Rebuild` is made under the lock: it copies the links of all namespaces. `run` needs no lock: it
walks the copy from the root down and works out every namespace's state and quota under the new rules. `finish`, under
the lock again, does the same for the few namespaces that were created meanwhile, drops what was removed, carries the
counts over, and puts the result in place in one step. A row that was removed and given out again shows by `born`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.model import ROOT
from carbonquota.trie.index import Index, Matcher
from carbonquota.trie.namespaces import ROOT_ROW
from carbonquota.trie.quotas import NO_QUOTA, Quotas, Terms

Integers = NDArray[np.int64]

_STRETCH: Final = 32
"""How many namespaces are settled at a stretch: some hundred microseconds of work."""


class Rebuild:
    """One change of rules, in three steps: the making, `run`, `finish`. Only one at a time for an index."""

    def __init__(self, index: Index, matcher: Matcher, terms: tuple[Terms, ...]) -> None:
        """Copy what the walk needs; to be called under the index's lock."""
        self._index = index
        self._matcher = matcher
        namespaces = index.namespaces
        self._names = namespaces.names.copy()
        self._parents = namespaces.parent[: namespaces.size].tolist()
        self._born = namespaces.born[: namespaces.size].copy()
        self._births = namespaces.births
        self._states = [0] * len(self._names)
        self._holders = [NO_QUOTA] * len(self._names)
        self._quotas = Quotas(terms)

    def run(self, give_way: Callable[[], object] = lambda: None) -> None:
        """Find each namespace's rule; the long part, which needs no lock.

        `give_way` is called every now and then. It is to let other threads of this process run: they would otherwise
        wait for the interpreter as often as they let go of it, which numpy does in each operation on a batch.
        """
        self._put_under_rule(ROOT_ROW, ROOT, *self._matcher.root(), NO_QUOTA)
        # Parents were born before their children.
        for count, row in enumerate(np.argsort(self._born, kind="stable").tolist()):
            if count % _STRETCH == 0:
                give_way()
            if self._names[row] and row != ROOT_ROW:
                self._descend(row, self._names[row], self._parents[row])

    def finish(self) -> None:
        """Bring it up to date and put it in force; to be called under the index's lock."""
        namespaces = self._index.namespaces
        born = namespaces.born[: namespaces.size]
        copied = len(self._born)
        self._drop_stale(born)
        self._states += [0] * (namespaces.size - copied)
        self._holders += [NO_QUOTA] * (namespaces.size - copied)
        fresh = np.flatnonzero(born > self._births)
        for row in fresh[np.argsort(born[fresh])].tolist():
            self._descend(row, namespaces.names[row], namespaces.parent_at[row])
        self._carry_over()
        namespaces.state[: namespaces.size] = self._states
        namespaces.quota[: namespaces.size] = self._holders
        self._index.replace_rules(self._matcher, self._quotas)

    def _descend(self, row: int, name: str, parent: int) -> None:
        """Settle a namespace below its settled parent."""
        state, rule = self._matcher.step(self._states[parent], name[name.rfind(".") + 1 :])
        self._put_under_rule(row, name, state, rule, self._holders[parent])

    def _put_under_rule(self, row: int, name: str, state: int, rule: int, above: int) -> None:
        """Note a namespace's state and its quota."""
        self._states[row] = state
        self._holders[row] = above if rule < 0 else self._quotas.create(row, name, rule, above)

    def _drop_stale(self, born: Integers) -> None:
        """Remove the quotas of namespaces that are gone, though their row may have been given out again."""
        rows = np.array(self._quotas.rows(), np.int64)
        held = self._quotas.namespace[rows]
        for row in rows[born[held] != self._born[held]].tolist():
            self._quotas.remove(row)

    def _carry_over(self) -> None:
        """Take over the counts of each namespace that was under a rule before and is under one now."""
        before = self._index.quotas
        old = np.array(before.rows(), np.int64)
        old_by_namespace = np.zeros(self._index.namespaces.size, np.int64)
        old_by_namespace[before.namespace[old]] = old
        new = np.array(self._quotas.rows(), np.int64)
        sources = old_by_namespace[self._quotas.namespace[new]]
        both = sources != NO_QUOTA
        self._quotas.inherit(new[both], before, sources[both])
