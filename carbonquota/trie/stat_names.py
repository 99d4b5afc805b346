"""Who is called what in stats: names that follow from the namespaces', and the few that had to differ from that.

Two namespaces may come out the same. The one that came first has the name; the later one gets a suffix, and keeps it as
long as it lives. Names are not kept, as they can be worked out: who has one is found by its hash. Only those with a
suffix are kept, by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from carbonquota.naming import collision_suffix
from carbonquota.trie.columns import Column
from carbonquota.trie.rows_by_hash import Room, RowsByHash

Plain = Callable[[int], str]
"""What a quota, by row, would be called if it were the first to have that name."""


class StatNames:
    """The names in stats of all quotas, by row."""

    __slots__ = ("_suffixed", "_taken")

    def __init__(self) -> None:
        """Start without names."""
        self._taken = RowsByHash()
        self._suffixed: dict[int, str] = {}

    def give(self, row: int, name: str, namespace: str, plain: Plain) -> None:
        """Give a new quota its name, the plain one; one that another has already gets the namespace's own suffix."""
        if self._taken.add_first(hash(name), row):
            return
        suffix = collision_suffix(namespace)
        while self._is_taken(name, plain):
            name += suffix
            self._suffixed[row] = name
        self._taken.add(hash(name), row)

    def _is_taken(self, name: str, plain: Plain) -> bool:
        """Whether another quota has this name."""
        return any(name == (self._suffixed.get(other) or plain(other)) for other in self._taken.rows(hash(name)))

    def give_many(self, rows: Column, names: Sequence[str], namespaces: Sequence[str], plain: Plain) -> None:
        """`give` for many, pairwise and in the order in which they came; `names` are the plain ones."""
        hashes = np.fromiter(map(hash, names), np.int64, len(names))
        if self._are_free(names, hashes, plain):
            self._taken.add_many(hashes, rows)
            return
        for row, name, namespace in zip(rows.tolist(), names, namespaces, strict=True):
            self.give(row, name, namespace, plain)

    def _are_free(self, names: Sequence[str], hashes: Column, plain: Plain) -> bool:
        """Whether no two of these names are the same and nobody has any of them."""
        ordered = np.sort(hashes)
        if (ordered[1:] == ordered[:-1]).any():
            return False
        return not any(self._is_taken(names[place], plain) for place in self._taken.any_known(hashes).tolist())

    def lacks_room(self, count: int) -> bool:
        """Whether there is no room for so many more."""
        return self._taken.lacks_room(count)

    def room(self, count: int) -> Room:
        """What `take_room` takes, for so many more; needs no lock."""
        return self._taken.room(count)

    def take_room(self, room: Room) -> None:
        """Have this room."""
        self._taken.take_room(room)

    def take_back(self, row: int, plain: Plain) -> None:
        """Have the name of a quota that goes be free."""
        name = self._suffixed.pop(row, None)
        self._taken.remove(hash(plain(row) if name is None else name), row)

    def suffixed(self) -> dict[int, str]:
        """A copy of the names that are not the plain ones, by row."""
        return self._suffixed.copy()
