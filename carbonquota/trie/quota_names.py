"""What quotas are called: by their namespaces' names, and in stats.

Names are made when somebody asks for one, and those in stats when somebody wants to know them, as most quotas of a
flood go before that. So new ones wait for their turn, and may get it some at a time, under the index's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from carbonquota.naming import stat_name, stat_names
from carbonquota.trie.columns import OWN as _WANTED
from carbonquota.trie.columns import Column, Columns, NarrowColumn, View
from carbonquota.trie.rows_by_hash import Room
from carbonquota.trie.stat_names import StatNames
from carbonquota.trie.taken import Names, TakenNames

_UNNAMED: Final = None
"""Stands for a name that nobody asked for."""

_NAMED: Final = 1
"""Stands in `named` where a quota has its name in stats; less than 0 is its turn to get one."""


class QuotaNames(Columns):
    """Columns of quotas, as far as their names go: see `Quotas`."""

    namespace: NarrowColumn
    rule: NarrowColumn
    named: NarrowColumn
    rule_at: View
    named_at: View

    def __init__(self, name_of: Callable[[int], str], prefixes: Sequence[str]) -> None:
        """Start without quotas; `name_of` gives a namespace's name by its row, `prefixes` are those of the rules."""
        self._name_of = name_of
        self._prefixes = prefixes
        self._names: Names = np.empty(1, np.object_)
        self._takers: WeakSet[TakenNames] = WeakSet()
        self._stat_names = StatNames()
        self._named_until = 0
        """Up to this turn names were given."""
        super().__init__()

    def name(self, row: int) -> str:
        """Whose quota it is, by name."""
        return str(self.names(np.array([row]))[0])

    def names(self, rows: NDArray[np.integer[Any]]) -> Names:
        """The same for many; needs no lock."""
        known = self._names
        names: Names = known[np.minimum(rows, len(known) - 1)]
        unknown = np.flatnonzero((names == _UNNAMED) | (rows >= len(known)))
        if len(unknown):
            distinct, which = np.unique(rows[unknown], return_inverse=True)
            made = np.array([self._name_of(row) for row in self.namespace[distinct].tolist()], np.object_)
            names[unknown] = made[which]
        return names

    def kept_names(self, rows: Column) -> Names:
        """The same under the lock. They are kept, as they will be asked for again at each report."""
        names = self.names(rows)
        if len(self._names) < self.size:
            self._keep_names_in(self._longer_names())
        self._names[rows] = names
        return names

    def _longer_names(self) -> Names:
        # A copy touches each name, so it is made seldom.
        return np.empty(2 * self.size, np.object_)

    def _keep_names_in(self, longer: Names) -> None:
        longer[: len(self._names)] = self._names
        self._names = longer

    def lacks_room_for_names(self, count: int) -> bool:
        """Whether so many quotas more cannot be given names without room being made."""
        return len(self._names) < self.size or self._stat_names.lacks_room(count)

    def room_for_names(self, count: int) -> tuple[Names, Room]:
        """What `take_room_for_names` takes, for so many quotas more; needs no lock."""
        return self._longer_names(), self._stat_names.room(count)

    def take_room_for_names(self, room: tuple[Names, Room], count: int) -> None:
        """Have this room, as far as it is wanted for so many quotas more."""
        longer, slots = room
        if len(self._names) < self.size:
            self._keep_names_in(longer)
        if self._stat_names.lacks_room(count):
            self._stat_names.take_room(slots)

    def want_names(self, rows: Column) -> None:
        """Have new quotas get names in stats, in this order, before anybody is told of these."""
        wanted = self._meter_at[_WANTED]
        self.named[rows] = np.arange(-wanted - 1, -wanted - 1 - len(rows), -1)
        self._meter_at[_WANTED] = wanted + len(rows)

    @property
    def wanting_names(self) -> int:
        """How many quotas have no name in stats yet, at most."""
        return self._meter_at[_WANTED] - self._named_until

    def waiting_names(self) -> tuple[Column, NarrowColumn]:
        """The quotas that want names in stats, and in which turn they are, for `in_turn` and `name_some`."""
        waiting = np.flatnonzero(self.named[: self.size] < 0)
        return waiting, self.named[waiting]

    def name_some(self, rows: Column, turns: NarrowColumn) -> None:
        """Give quotas the names in stats that they want, but for those that have gone since they had this turn."""
        if not len(rows):
            return
        rows = rows[self.named[rows] == turns]
        names = self.kept_names(rows).tolist()
        self._stat_names.give_many(rows, self._plain_names(rows, names), names, self._plain_name)
        self.named[rows] = _NAMED
        self._named_until = min(-int(turns[-1]), self._meter_at[_WANTED])

    def give_names(self) -> None:
        """Give all quotas the names in stats that they want, the first to come first."""
        if self._meter_at[_WANTED]:
            self.name_some(*in_turn(*self.waiting_names()))
            self._named_until = self._meter_at[_WANTED] = 0

    def take_names(self) -> TakenNames:
        """What it takes to tell what the namespaces of quotas are called, to be taken under the lock."""
        self.give_names()
        taken = TakenNames(self._names, self._prefixes, self._stat_names.suffixed())
        self._takers.add(taken)
        return taken

    def stat_names(self, rows: Column) -> Sequence[str]:
        """What the namespaces of quotas are called in stats."""
        return self.take_names().stat_names(rows, self.names(rows), self.rule[rows])

    def _plain_names(self, rows: Column, namespaces: Sequence[str]) -> list[str]:
        """What they would be called if each were the first to have its name."""
        names = stat_names(namespaces)
        if any(self._prefixes):
            names = [self._prefixes[rule] + name for rule, name in zip(self.rule[rows].tolist(), names, strict=True)]
        return names

    def _plain_name(self, row: int) -> str:
        """The same for one."""
        return stat_name(self.name(row), self._prefixes[self.rule_at[row]])

    def forget_name(self, row: int) -> None:
        """Have what a quota is called be free for others, as it goes."""
        if self.named_at[row] == _NAMED:
            self._stat_names.take_back(row, self._plain_name)
        if row < len(self._names):
            for taker in self._takers:
                taker.keep(row)
            self._names[row] = _UNNAMED


def in_turn(rows: Column, turns: NarrowColumn) -> tuple[Column, NarrowColumn]:
    """What `waiting_names` gave, the first to come first; needs no lock."""
    # Rows that were used before come in any turn, and all others one after the other.
    order = np.argsort(-turns, kind="stable")
    return rows[order], turns[order]
