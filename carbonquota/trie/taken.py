"""All quotas at one moment, as a report takes them: under the index's lock so quickly that nobody waits for it.

Theory of operation. Under the lock, memory that is there already is filled with whole columns, and what takes a step
for each quota is left for later. Counts are taken where there are any. Names are objects, and to copy as many of those
means to touch each: so the store of names is kept as it is, and whoever takes a name out of it notes it here before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonquota.naming import stat_names
from carbonquota.trie.columns import Column, NarrowColumn

if TYPE_CHECKING:
    from carbonquota.trie.index import Index
    from carbonquota.trie.namespaces import Namespaces
    from carbonquota.trie.quotas import Quotas

Names = NDArray[np.object_]
Counts = NDArray[np.uint64]

_PAGE: Final = 512
"""So many counts lie in a page of memory."""

_MORE: Final = 32
"""There is room for a part more of rows, as some may come until the lock is taken."""


class TakenNames:
    """What the namespaces of all quotas were called at one moment, and are called in stats, by row."""

    __slots__ = ("__weakref__", "_gone", "_prefixes", "_store", "_suffixed")

    def __init__(self, store: Names, prefixes: Sequence[str], suffixed: Mapping[int, str]) -> None:
        """`store` has the names of the namespaces.

        `prefixes` are put before names in stats, by rule; `suffixed` has the names in stats that do not follow from
        the namespaces'.
        """
        self._store = store
        self._prefixes = prefixes
        self._suffixed = suffixed
        self._gone: dict[int, str] = {}

    def keep(self, row: int) -> None:
        """Note the name at a row of the store, as it will be another's; to be called before that happens."""
        if row < len(self._store):
            self._gone.setdefault(row, self._store[row])

    def namespaces(self, rows: Column) -> Names:
        """The names of the namespaces of quotas."""
        names: Names = self._store[rows]
        # Whoever changed a name that was just read has noted it before.
        if self._gone:
            for place in np.flatnonzero(np.isin(rows, list(self._gone))).tolist():
                names[place] = self._gone[int(rows[place])]
        return names

    def stat_names(self, rows: Column, namespaces: Names, rules: NarrowColumn) -> list[str]:
        """What quotas are called in stats, of these namespaces and rules."""
        names = stat_names(namespaces.tolist())
        if any(self._prefixes):
            names = [self._prefixes[rule] + name for rule, name in zip(rules.tolist(), names, strict=True)]
        if not self._suffixed:
            return names
        return [self._suffixed.get(row, name) for row, name in zip(rows.tolist(), names, strict=True)]


class NamesOnDemand:
    """What the namespaces of quotas are called, looked up when one asks; empty for those that are gone by then."""

    __slots__ = ("_lag", "_namespaces", "_rows")

    def __init__(self, namespaces: Namespaces, rows: Column, lag: Column) -> None:
        """`rows` are those of the namespaces, which `lag` tells from later ones there."""
        self._namespaces = namespaces
        self._rows = rows
        self._lag = lag

    def at(self, positions: slice | Column) -> list[str]:
        """Those at these positions; may be called at any time."""
        rows = self._rows[positions]
        names = self._namespaces.names_at(rows)
        still = (self._namespaces.lag[rows] == self._lag[positions]).tolist()
        return [name if there else "" for name, there in zip(names, still, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class TakenQuotas:
    """All quotas at one moment; a quota is known by its position in these columns, which are in the order of `rows`.

    `usages` has a column for each control, the last of them with the points accepted in the running interval; `ended`
    has those of intervals that no report has given yet.
    """

    rows: Column
    namespaces: Names
    rules: NarrowColumn
    usages: Sequence[Column]
    ended: Column
    names: TakenNames

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows)

    def stat_names(self, places: slice | Column) -> list[str]:
        """What those at these positions are called in stats."""
        return self.names.stat_names(self.rows[places], self.namespaces[places], self.rules[places])


@dataclass(frozen=True, slots=True, eq=False)
class UnnamedQuotas:
    """All quotas at one moment, as `TakenQuotas` has them, with names that are looked up when one asks."""

    rows: Column
    rules: NarrowColumn
    usages: Sequence[Column]
    names: NamesOnDemand


class Taking:
    """Takes all quotas of an index in three steps: memory, `take` under the index's lock, `taken` without it.

    `take_ended` takes what was accepted in ended intervals, under the same lock and after `take`. For quotas of which
    few are shown there is `take_unnamed` with `taken_unnamed`: names in stats are what takes longest where very many
    namespaces are new.
    """

    def __init__(self, index: Index) -> None:
        """Have memory for about as many as there are; needs no lock."""
        quotas, self._columns = index.quotas, len(index.namespaces.usage) + 2
        self._have_room(quotas.size + quotas.size // _MORE)
        for counts in (quotas.closed_throughput, *quotas.counts, *quotas.closed_counts):
            # Where nothing was ever counted there may be addresses alone, and to come by those takes longest.
            counts[: quotas.size : _PAGE].any()

    def _have_room(self, rows: int) -> None:
        """Have memory, and not only its addresses."""
        self._usages = np.full((self._columns, rows), 0, np.int64)
        self._rules = np.full(rows, 0, np.int32)
        self._namespaces = np.full(rows, 0, np.intp)
        self._lag = np.full(rows, 0, np.int64)

    def take(self, index: Index) -> None:
        """Take them as they are now."""
        self._take(index)
        self._names = index.quotas.take_names()

    def take_unnamed(self, index: Index) -> None:
        """The same without names, which are looked up later."""
        self._take(index)
        index.namespaces.lag.take(self._namespaces[: self._size], out=self._lag[: self._size], mode="clip")

    def _take(self, index: Index) -> None:
        quotas = index.quotas
        size = quotas.size
        if size > len(self._rules):
            self._have_room(size)
        self._size = size
        self._rules[:size] = quotas.rule[:size]
        held = self._namespaces[:size]
        held[:] = quotas.namespace[:size]
        for column, used in zip(self._usages, index.namespaces.usage, strict=False):
            # Any other mode makes a copy first.
            used.take(held, out=column[:size], mode="clip")
        np.subtract(quotas.limit[:size], quotas.remaining[:size], out=self._usages[-2, :size])

    def take_ended(self, quotas: Quotas) -> None:
        """Take the points that were accepted in intervals that no report has given yet."""
        self._usages[-1, : self._size] = quotas.closed_throughput[: self._size]

    def taken(self) -> TakenQuotas:
        """What was taken."""
        rows, chosen = self._in_use()
        *held, ended = self._usages[:, : self._size][:, chosen]
        namespaces = self._names.namespaces(rows)
        return TakenQuotas(rows, namespaces, self._rules[: self._size][chosen], held, ended, self._names)

    def taken_unnamed(self, index: Index) -> UnnamedQuotas:
        """What was taken without names."""
        rows, chosen = self._in_use()
        *held, _ = self._usages[:, : self._size][:, chosen]
        held_by, lag = self._namespaces[: self._size][chosen], self._lag[: self._size][chosen]
        names = NamesOnDemand(index.namespaces, held_by, lag)
        return UnnamedQuotas(rows, self._rules[: self._size][chosen], held, names)

    def _in_use(self) -> tuple[Column, slice | Column]:
        """The rows that are in use, and where they stand."""
        rows = np.flatnonzero(self._rules[: self._size] >= 0)
        # Nearly always all but row 0 are in use, and nothing need be copied.
        return rows, slice(1, None) if len(rows) == self._size - 1 else rows


class TakenCounts(NamedTuple):
    """What was counted at some quotas: points over quota, and of these the ones that each control dropped.

    `rows` are those of the quotas with any, in ascending order; the counts, uint64, go pairwise with them.
    """

    rows: Column
    over: Counts
    dropped: Sequence[Counts]


def take_counts(quotas: Quotas) -> TakenCounts:
    """The counts that no report has given yet; to be taken under the lock."""
    # What was dropped was over quota, too: where nothing is, no other count is looked at.
    pairs = list(zip(quotas.counts, quotas.closed_counts, strict=True))
    rows = np.union1d(*(np.flatnonzero(count[: quotas.size]) for count in pairs[0]))
    over, *dropped = (running[rows].astype(np.uint64) + ended[rows].astype(np.uint64) for running, ended in pairs)
    return TakenCounts(rows, over, dropped)


def take_ended_counts(quotas: Quotas) -> TakenCounts:
    """Those of ended intervals; to be taken under the lock."""
    rows = np.flatnonzero(quotas.closed_throttle[: quotas.size])
    over, *dropped = (ended[rows].astype(np.uint64) for ended in quotas.closed_counts)
    return TakenCounts(rows, over, dropped)
