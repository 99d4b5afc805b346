"""The direct sub-namespaces of one namespace, however many: all as rows, and names only of those that are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbonquota.controls.quota_columns import usage_of
from carbonquota.kernel import UNKNOWN
from carbonquota.model import Usage
from carbonquota.trie import Index
from carbonquota.trie.columns import Column

THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class Children:
    """Sub-namespaces at one moment: their `rows`, with the `generation` of what lies there, and an amount of each."""

    rows: Column
    generation: Column
    amounts: Column

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows)

    def at(self, positions: Column | slice) -> Children:
        """Some of them, in this order."""
        return Children(self.rows[positions], self.generation[positions], self.amounts[positions])


def take_children(index: Index, row: int, amount: str) -> Children:
    """Those of the namespace at `row` that hold a metric, in the order of their rows, under the index's lock."""
    namespaces = index.namespaces
    rows = np.empty(0, np.int64) if row == UNKNOWN else namespaces.children(row)
    rows = rows[namespaces.metrics[rows] > 0]
    return Children(rows, namespaces.generations(rows), _amounts(index, rows, amount))


def _amounts(index: Index, rows: Column, amount: str) -> Column:
    if not amount:
        return rows
    namespaces, quotas = index.namespaces, index.quotas
    if amount != THROUGHPUT:
        amounts: Column = getattr(namespaces, amount)[rows]
        return amounts
    nearest = namespaces.quota[rows]
    return np.where(quotas.namespace[nearest] == rows, quotas.limit[nearest] - quotas.remaining[nearest], 0)


def usages_at(index: Index, children: Children) -> list[tuple[str, Usage]]:
    """What they hold now by name, those that are gone left out; under the index's lock, so for a few."""
    names = names_at(index, children)
    return [(name, usage_of(index, row)) for name, row in zip(names, children.rows.tolist(), strict=True) if name]


def names_at(index: Index, children: Children) -> list[str]:
    """Their names, empty for those that are gone; may be called at any time."""
    namespaces = index.namespaces
    names = namespaces.names_at(children.rows)
    still = (namespaces.generations(children.rows) == children.generation).tolist()
    return [name if there else "" for name, there in zip(names, still, strict=True)]
