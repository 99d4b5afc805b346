"""What is counted at namespaces that do not exist: offers that were over the limits which a rule would set them.

A namespace is under its rule before it exists, and may reject the metric that would bring it: one that is larger than
its limit of a size. That must not bring it either, or a flood of such names would fill the memory. So its counts stand
here until they are asked for, and the index gets none of it. Of a flood only the first `MOST_ABSENT` namespaces are
counted by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from carbonquota.control import CONTROLS
from carbonquota.kernel import UNKNOWN, NameTable
from carbonquota.model import MAXIMUM
from carbonquota.trie.columns import Column, Columns, View

MOST_ABSENT: Final = 1_000
"""So many namespaces that do not exist are counted until they are taken."""

_DROPPED: Final = tuple(f"dropped_{control.stat}" for control in CONTROLS)


class Absent(Columns):
    """Counts by namespace, a row each: `throttle`, and of these the points dropped by each control.

    Rows are given in the order of coming, by `names`; whoever has the memory's addresses may do so too. Nothing moves.
    """

    COLUMNS = " ".join(("throttle", *_DROPPED))

    throttle: Column
    throttle_at: View

    def __init__(self, there: NameTable | None = None) -> None:
        """Start without namespaces; `there` are those that exist. At most `MOST_ABSENT` are kept."""
        super().__init__()
        self.most = MOST_ABSENT
        self.names = NameTable(there)
        self.cover(self.most)
        self.dropped: Sequence[Column] = [getattr(self, name) for name in _DROPPED]
        self._dropped_at: Sequence[View] = [getattr(self, f"{name}_at") for name in _DROPPED]

    def __len__(self) -> int:
        """How many namespaces are counted at."""
        return len(self.names)

    def count(self, namespace: str, control: int, points: int, *, enforcing: bool) -> None:
        """Count an offer over the limit that a namespace's rule sets; `enforcing` tells whether it is dropped."""
        name = namespace.encode()
        row = self.names.find(name)
        if row == UNKNOWN:
            if len(self.names) >= self.most:
                return
            row = len(self.names)
            self.names.insert(name, row)
        _add(self.throttle_at, row, points)
        if enforcing:
            _add(self._dropped_at[control], row, points)

    def take(self) -> Iterator[tuple[str, Sequence[int]]]:
        """Each namespace with its counts, throttle first, in the order of coming; they are here no longer."""
        counts = (self.throttle_at, *self._dropped_at)
        for row in range(len(self.names)):
            yield self.names.name(row).decode(), [count[row] for count in counts]
            for count in counts:
                count[row] = 0
        for row in reversed(range(len(self.names))):
            self.names.remove(row)


def _add(counts: View, row: int, points: int) -> None:
    """Add to a count, which stops at 2^63 - 1."""
    counts[row] = min(counts[row] + points, MAXIMUM)
