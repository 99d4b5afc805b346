"""The index: series, namespaces and quotas kept in step, as one structure that the engine asks under its lock.

Invariants: a series is counted at its namespace and every one above. A namespace's matcher state and its quota are
those of the rules in force, from its creation on. An empty namespace is removed at once, unless its quota has counts
that a report still has to give; then it is *idle* and goes with that report. A namespace that is rejected before it
exists does not come: what is counted there stands in `absent`, until the interval ends or somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from carbonquota.kernel import UNKNOWN, SeriesTable
from carbonquota.model import Size
from carbonquota.trie.absent import Absent
from carbonquota.trie.changes import ChangeLog, ChangeRun
from carbonquota.trie.columns import Column
from carbonquota.trie.descent import Descent, RuleMatcher
from carbonquota.trie.namespaces import ROOT_ROW, Namespaces, rows_at
from carbonquota.trie.quotas import NO_QUOTA, Quotas, QuotaTerms
from carbonquota.trie.series import Seen, Series

_STRETCH: Final = 8192
"""So many namespaces are created at a time."""


class Index:
    """Every series, namespace and quota. Not safe to use from two threads at once."""

    def __init__(
        self,
        matcher: RuleMatcher,
        terms: tuple[QuotaTerms, ...],
        *,
        record_changes: bool = False,
        keep_seen: bool = False,
    ) -> None:
        """Start without series, under rules that `matcher` finds and that grant `terms`.

        `record_changes` has every change of a series noted in `changes`, `keep_seen` when it was last seen in `seen`.
        """
        self.namespaces = Namespaces()
        self.table = SeriesTable(self.namespaces.table)
        self.series = Series()
        self.quotas = Quotas(terms, self.namespaces.name)
        self.matcher = matcher
        self.seen = Seen() if keep_seen else None
        self.changes = ChangeLog() if record_changes else None
        self.moved: Callable[[], None] = _nothing
        """Called whenever a column was replaced, for who keeps addresses."""
        self.catch_up: Callable[[], None] = _nothing
        """Called before series are told of or go, for who may have some still to note that it put there by itself."""
        for columns in (self.namespaces, self.quotas, self.series, self.seen):
            if columns is not None:
                columns.moved = self._have_moved
        self.absent = Absent(self.namespaces.table)
        """What was counted in the running interval at namespaces that do not exist."""
        self._idle: set[int] = set()
        state, rule = matcher.root()
        self._put_under_rule(ROOT_ROW, state, rule, NO_QUOTA)

    def __len__(self) -> int:
        """The number of series."""
        return len(self.table)

    def _have_moved(self) -> None:
        """Tell of columns that were replaced."""
        self.moved()

    def _put_under_rule(self, row: int, state: int, rule: int, above: int) -> None:
        """Put a namespace under its rule, or under the quota above where it has none of its own."""
        self.namespaces.state_at[row] = state
        quota = above if rule < 0 else self.quotas.create(row, rule, above)
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

    def create_many(self, names: Sequence[str]) -> Column:
        """The rows of namespaces, each created with those above it where missing, and under its rule."""
        if len(names) > _STRETCH:
            # Room that is not used costs next to no memory; growing step by step takes time and leaves holes.
            self.namespaces.reserve(self.namespaces.size + len(names))
            self.quotas.reserve(self.quotas.size + len(names))
        stretches = (names[start : start + _STRETCH] for start in range(0, len(names), _STRETCH))
        return np.concatenate([np.zeros(0, np.int64), *map(self._create_stretch, stretches)])

    def _create_stretch(self, names: Sequence[str]) -> Column:
        """`create_many` for so many that what it takes of memory stays small."""
        namespaces = self.namespaces
        places, missing, parents = namespaces.locate_many(names)
        if not missing:
            return places
        rows = namespaces.create_many(missing, parents)
        descent = Descent(self.matcher, self.quotas, namespaces.state, namespaces.quota)
        descent.find_rules(rows, namespaces.parent[rows], missing)
        return rows_at(places, rows)

    def add(self, name: bytes, namespace: int, size: Size) -> int:
        """Put a series that is not there yet into the namespace at that row, and count it; its own row."""
        try:
            row = self.table.insert(name, namespace)
            self.series.put(row, size)
            self._note_new(name, row, size)
        except BaseException:
            # Memory may be lacking: it is all there, or nothing is.
            if self.table.find(name) != UNKNOWN:
                self.table.remove(name)
            self.prune(namespace)
            raise
        self.namespaces.charge(namespace, size)
        return row

    def _note_new(self, name: bytes, row: int, size: Size) -> None:
        """Keep in mind that a series came."""
        if self.seen is not None:
            self.seen.note(row)
        if self.changes is not None:
            self.changes.note(name, size)

    def cover(self) -> None:
        """Have the columns by series reach as far as the kernel's table, which got series by itself."""
        self.series.cover(self.table.size)
        if self.seen is not None:
            self.seen.cover(self.table.size)

    def resize(self, name: bytes, row: int, size: Size) -> None:
        """Count the series of this name and row with another size."""
        self.catch_up()
        namespace = self.table.namespace_of(row)
        self.namespaces.discharge(namespace, self.series.release(row))
        self.namespaces.charge(namespace, size)
        self.series.put(row, size)
        if self.changes is not None:
            self.changes.note(name, size)

    def remove(self, name: bytes) -> None:
        """Take a series out and give back what it held; KeyError where it is not in."""
        row = self.table.find(name)
        if row == UNKNOWN:
            raise KeyError(name)
        self.catch_up()
        namespace = self.table.namespace_of(row)
        self.table.remove(name)
        self.namespaces.discharge(namespace, self.series.release(row))
        if self.seen is not None:
            self.seen.drop(row)
        if self.changes is not None:
            self.changes.note(name, None)
        self.prune(namespace)

    def expire(self, before: int, most: int) -> list[bytes]:
        """Take out up to `most` series last seen before that second, which must be kept; their names."""
        if self.seen is None:
            return []
        self.catch_up()
        names = self.table.names_at(self.seen.rows_before(before, most))
        for name in names:
            self.remove(name)
        return names

    def take_changes(self) -> list[ChangeRun]:
        """The changes since the last call, in order."""
        self.catch_up()
        return [] if self.changes is None else self.changes.take()

    def chain(self, row: int) -> tuple[int, ...]:
        """The quotas of the namespaces from the root down to the one at `row`."""
        namespaces, chain = self.namespaces, []
        while row != UNKNOWN and (quota := namespaces.quota_at[row]) != NO_QUOTA:
            chain.append(quota)
            row = namespaces.parent_at[self.quotas.namespace_at[quota]]
        return tuple(reversed(chain))

    def own_quota(self, row: int) -> int:
        """The quota that holds this very namespace, or NO_QUOTA."""
        quota = self.namespaces.quota_at[row]
        return quota if quota != NO_QUOTA and self.quotas.namespace_at[quota] == row else NO_QUOTA

    def prune(self, row: int) -> None:
        """Remove a namespace and those above it as far as they are empty and nothing of them is to be reported."""
        namespaces = self.namespaces
        while row != ROOT_ROW and namespaces.is_empty(row) and not namespaces.child_count_at[row]:
            quota = self.own_quota(row)
            if quota != NO_QUOTA:
                if self.quotas.has_counts(quota):
                    self._idle.add(row)
                    return
                self.quotas.remove(quota)
            parent = namespaces.parent_at[row]
            namespaces.remove(row)
            row = parent

    @property
    def may_await_report(self) -> bool:
        """Whether another namespace without a metric may wait for a report."""
        return len(self._idle) < self.absent.most

    def note_absent(self) -> None:
        """Have what was counted at namespaces that do not exist wait for a report at idle ones.

        No more than `absent.most` namespaces wait; past that, what was rejected before it existed is forgotten.
        """
        if not len(self.absent):
            return
        counted = list(self.absent.take())[: max(self.absent.most - len(self._idle), 0)]
        rows = self.create_many([name for name, _ in counted]).tolist()
        for row, (_, counts) in zip(rows, counted, strict=True):
            self.quotas.add_counts(self.own_quota(row), counts)
            self._idle.add(row)

    def prune_reported(self) -> None:
        """Remove the namespaces that were waiting for a report; to be called after each."""
        idle, self._idle = self._idle, set()
        for row in idle:
            # It may be in use again, or gone with one below it.
            if self.namespaces.is_in_use(row):
                self.prune(row)

    def replace_rules(self, matcher: RuleMatcher, quotas: Quotas) -> None:
        """Put other rules in force; every namespace's `state` and `quota` must be theirs already."""
        self.quotas.resolve_references()
        self.matcher = matcher
        self.quotas = quotas
        quotas.moved = self._have_moved
        self.moved()
        # What waited for a report under the rules before may have nothing to report under these.
        namespaces = self.namespaces
        rows = namespaces.in_use()
        self._idle.update(rows[namespaces.metrics[rows] == 0].tolist())
        self.prune_reported()

    def locate(self, path: str) -> tuple[int, list[str]]:
        """For a metric's dotted part: the nearest namespace above it, and the names still missing, topmost first."""
        return self.namespaces.locate(path)

    def find(self, name: bytes) -> int:
        """The row of the series with this normal name, or UNKNOWN."""
        return self.table.find(name)


def _nothing() -> None:
    """What is to be done where nobody keeps addresses, or notes anything later."""


def _component(name: str) -> str:
    """The last part of a namespace's name."""
    return name[name.rfind(".") + 1 :]
