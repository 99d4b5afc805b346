"""A snapshot and the changes since, as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from carbonquota.kernel import JoinedNames
from carbonquota.trie.holdings import Change, Holdings

EMPTY = Holdings([], [], np.zeros(0, np.int32), np.zeros(0, np.uint32))
"""What an index without series holds."""

_LATEST: Final = 2**32 - 1


def merged(holdings: Holdings, changes: Iterable[Change]) -> Holdings:
    """What the index held after these changes; doing some of them twice makes no difference.

    Where the last change of a series is that it came, it is not known when it was seen.
    """
    last = {change.name: change.size for change in changes}
    if not last:
        return holdings
    names = JoinedNames.of(holdings.names)
    changed = [place for place, name in enumerate(names) if name in last]
    kept = np.delete(np.arange(len(names)), changed)
    came = {name: size for name, size in last.items() if size is not None}
    numbers = {size: number for number, size in enumerate(dict.fromkeys((*holdings.sizes, *came.values())))}
    renumbered = np.array([numbers[size] for size in holdings.sizes], np.int32)
    new_numbers = np.array([numbers[size] for size in came.values()], np.int32)
    return replace(
        holdings,
        names=names.without(changed).joined_with(came),
        sizes=list(numbers),
        size_numbers=np.concatenate((renumbered[holdings.size_numbers[kept]], new_numbers)),
        seen=np.concatenate((holdings.seen[kept], np.zeros(len(came), np.uint32))),
    )


def later(holdings: Holdings, seconds: float) -> Holdings:
    """The same, with each series seen so much later: the time in which nobody could have seen it."""
    if seconds <= 0:
        return holdings
    seen = holdings.seen.astype(np.int64)
    seen[seen > 0] += int(min(seconds, _LATEST))
    return replace(holdings, seen=np.minimum(seen, _LATEST).astype(np.uint32))
