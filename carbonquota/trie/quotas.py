"""The quotas: a row for each namespace that a rule holds, with its counters of the running interval.

Theory of operation. Deciding an offer needs the quotas above a metric, root first. They are made ready in three
forms when a quota is: `chains[row]`, the rows of all quotas from the root down to this one; `flow_chains[row]`, those
of them with a throughput limit; and both again as row `row` of the matrices `stocks` and `flows`, padded with
`NO_QUOTA`, for batches.

Counters. `left` is what the throughput limit still leaves in this interval, so a check reads one number. `throttle` and
`dropped_<control>` count points. When an interval ends its counts move to the `closed_` columns, where they wait for a
report. Row 0 is `NO_QUOTA`: no limit, ever; it is called after the root and has `NO_RULE`.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel import zeros
from carbonquota.model import CONTROL_FIELDS, MAXIMUM, ROOT
from carbonquota.naming import collision_suffix, stat_name
from carbonquota.trie.columns import Column, Columns, View

NO_QUOTA: Final = 0
NO_RULE: Final = -1

_DROPPED: Final = tuple(f"dropped_{control}" for control in CONTROL_FIELDS)
_COUNTS: Final = ("throttle", *_DROPPED)
"""What is counted in an interval beside throughput."""


class Terms(Protocol):
    """What a quota's rule grants, as far as the index needs to know it."""

    @property
    def throughput(self) -> int:
        """Points an interval; `MAXIMUM` where there is no limit."""

    @property
    def metered(self) -> bool:
        """Whether there is a throughput limit."""

    @property
    def enforcing(self) -> bool:
        """Whether an offer over a limit is rejected."""

    @property
    def stat_prefix(self) -> str:
        """Goes before the namespace in stat names."""


class Quotas(Columns):
    """All quotas. `namespace` is the row held, `rule` the index in `terms`, `limit` the throughput limit."""

    COLUMNS = " ".join(
        (
            "namespace rule limit left enforcing live closed_throughput",
            *_COUNTS,
            *(f"closed_{count}" for count in _COUNTS),
        )
    )

    namespace: Column
    rule: Column
    limit: Column
    left: Column
    enforcing: Column
    live: Column
    throttle: Column
    closed_throughput: Column
    closed_throttle: Column
    namespace_at: View
    rule_at: View
    limit_at: View
    left_at: View
    enforcing_at: View
    live_at: View
    throttle_at: View

    def __init__(self, terms: tuple[Terms, ...]) -> None:
        """Start without quotas, for rules that grant `terms`."""
        super().__init__()
        self.terms = terms
        self.chains: list[tuple[int, ...]] = []
        self.flow_chains: list[tuple[int, ...]] = []
        self.names: list[str] = []
        self.namespace_names: NDArray[np.object_] = np.empty(self._store.shape[1], np.object_)
        """Whose quota each is, by name, for answers that outlive the row."""
        self.stocks: NDArray[np.int32] = np.zeros((self._store.shape[1], 1), np.int32)
        self.flows: NDArray[np.int32] = np.zeros((self._store.shape[1], 1), np.int32)
        self._names_taken: set[str] = set()
        self._place((), (), "")
        self.limit_at[NO_QUOTA] = self.left_at[NO_QUOTA] = MAXIMUM
        self.rule_at[NO_QUOTA] = NO_RULE
        self.namespace_names[NO_QUOTA] = ROOT

    def _bind(self) -> None:
        """Point the attributes at the store, and list the counters once more."""
        super()._bind()
        self.counts: list[Column] = [getattr(self, count) for count in _COUNTS]
        self.closed_counts: list[Column] = [getattr(self, f"closed_{count}") for count in _COUNTS]
        self.dropped: list[Column] = self.counts[1:]
        self.dropped_at: list[View] = [getattr(self, f"{count}_at") for count in _DROPPED]

    def create(self, namespace: int, name: str, rule: int, above: int) -> int:
        """A quota on the namespace at row `namespace`, by rule number `rule`, below the quota `above`."""
        terms = self.terms[rule]
        row = self.size if not self._free else self._free[-1]
        chain = (*self.chains[above], row)
        flow_chain = (*self.flow_chains[above], row) if terms.metered else self.flow_chains[above]
        # Most often they are the same, and then one is kept.
        if flow_chain == chain:
            flow_chain = chain
        row = self._place(chain, flow_chain, self._free_name(name, terms.stat_prefix))
        self.namespace_at[row] = namespace
        self.rule_at[row] = rule
        self.limit_at[row] = self.left_at[row] = terms.throughput
        self.enforcing_at[row] = terms.enforcing
        self.live_at[row] = 1
        self.namespace_names[row] = name
        return row

    def _place(self, chain: tuple[int, ...], flow_chain: tuple[int, ...], name: str) -> int:
        """A row with these chains."""
        row = self.take_row()
        if row == len(self.chains):
            self.chains.append(chain)
            self.flow_chains.append(flow_chain)
            self.names.append(name)
        else:
            self.chains[row], self.flow_chains[row], self.names[row] = chain, flow_chain, name
        length = self._store.shape[1]
        self.stocks = _reshaped(self.stocks, length, len(chain))
        self.stocks[row] = NO_QUOTA
        self.stocks[row, : len(chain)] = chain
        self.flows = _reshaped(self.flows, length, len(flow_chain))
        self.flows[row] = NO_QUOTA
        self.flows[row, : len(flow_chain)] = flow_chain
        if len(self.namespace_names) < length:
            more = np.empty(length - len(self.namespace_names), np.object_)
            self.namespace_names = np.concatenate((self.namespace_names, more))
        return row

    def _free_name(self, namespace: str, prefix: str) -> str:
        """The namespace's name in stats; one that another namespace has already gets a suffix of its own."""
        name = stat_name(namespace, prefix)
        while name in self._names_taken:
            name += collision_suffix(namespace)
        self._names_taken.add(name)
        return name

    def remove(self, row: int) -> None:
        """Take a quota out; no quota below it may be left."""
        self._names_taken.discard(self.names[row])
        self.names[row] = ""
        self.chains[row] = self.flow_chains[row] = ()
        self.live_at[row] = 0
        self.left_at[row] = self.limit_at[row] = MAXIMUM
        self.give_row(row)

    def rows(self) -> list[int]:
        """The rows in use, in ascending order."""
        return np.flatnonzero(self.live[: self.size]).tolist()

    def used(self, row: int) -> int:
        """The accepted points of this interval, where there is a throughput limit."""
        return self.limit_at[row] - self.left_at[row]

    def has_counts(self, row: int) -> bool:
        """Whether something was counted here that no report has given yet."""
        if self.has_accepted(row):
            return True
        return any(column[row] for column in (*self.counts, *self.closed_counts))

    def has_accepted(self, row: int) -> bool:
        """Whether points were accepted under the throughput limit here that no report has given yet."""
        return bool(self.left_at[row] != self.limit_at[row] or self.closed_throughput[row])

    def forget_counts(self, row: int) -> None:
        """Let what was rejected here be in no report."""
        for column in (*self.counts, *self.closed_counts):
            column[row] = 0

    def flows_now(self) -> tuple[NDArray[np.object_], Column]:
        """The namespaces with accepted points in this interval under a throughput limit, by name, and how many."""
        rows = np.flatnonzero((self.live[: self.size] != 0) & (self.left[: self.size] != self.limit[: self.size]))
        return self.namespace_names[rows], self.limit[rows] - self.left[rows]

    def use(self, row: int, points: int) -> None:
        """Have so many more points be accepted in this interval, where there is a throughput limit."""
        if self.terms[self.rule_at[row]].metered:
            self.left_at[row] = max(self.left_at[row] - points, self.limit_at[row] - MAXIMUM)

    def have_counts(self) -> bool:
        """Whether anything was counted in the running interval."""
        return bool((self.left != self.limit).any()) or any(count.any() for count in self.counts)

    def close(self) -> None:
        """End the interval: its counts wait for a report from here on, and the throughput limits start anew."""
        used = self.limit - self.left
        _add_saturating(self.closed_throughput, used)
        self.left[:] = self.limit
        for count, closed in zip(self.counts, self.closed_counts, strict=True):
            if count.any():
                _add_saturating(closed, count)
                count[:] = 0

    def clear_closed(self) -> None:
        """Forget the counts that were reported."""
        self.closed_throughput[:] = 0
        for closed in self.closed_counts:
            closed[:] = 0

    def inherit(self, rows: Column, other: Quotas, sources: Column) -> None:
        """Carry the counts of namespaces over from their quotas under the rules before; both int64, pairwise."""
        for name in ("closed_throughput", *_COUNTS, *(f"closed_{count}" for count in _COUNTS)):
            getattr(self, name)[rows] = getattr(other, name)[sources]
        used = other.limit[sources] - other.left[sources]
        # Without a throughput limit nothing is counted, and `left` says so by staying at the maximum.
        metered = np.array([terms.metered for terms in self.terms], np.bool_)
        used[~metered[self.rule[rows]]] = 0
        self.left[rows] = self.limit[rows] - used


def _add_saturating(total: Column, more: Column) -> None:
    """Add in place, stopping at 2^63 - 1; no number may be negative."""
    np.add(total, np.minimum(more, MAXIMUM - total), out=total)


def _reshaped(matrix: NDArray[np.int32], length: int, width: int) -> NDArray[np.int32]:
    """A matrix of chains, at least so long and so wide, padded with `NO_QUOTA`; the same one where it is already."""
    rows, columns = matrix.shape
    if rows >= length and columns >= width:
        return matrix
    larger = zeros((length, max(columns, width)), np.int32)
    larger[:rows, :columns] = matrix
    return larger
