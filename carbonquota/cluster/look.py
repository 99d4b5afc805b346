"""What all nodes together use, as the store of slices mode has it: read for people, and nothing is decided by it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from threading import Lock
from typing import Final

import numpy as np

from carbonquota.cluster.messages import digests_of
from carbonquota.cluster.store import IntervalSpan, Store
from carbonquota.controls.table import CAPACITY_ORDER, THROUGHPUT
from carbonquota.model import Clock
from carbonquota.trie.columns import Column

_AT_ONCE: Final = 1_000
"""Namespaces asked about in one step of the store."""

_HELD: Final = struct.Struct("<8x5d")
"""What a namespace holds there, in the order of `CAPACITY_ORDER`."""


class Look:
    """Reads usage; any thread may call. It has a connection of its own, so that it holds up no decision."""

    def __init__(self, store: Store, cluster: str, length: float, clock: Clock) -> None:
        """`store` is of the same cluster, and nobody else's; `length` is that of an interval."""
        self._store = store
        self._cluster = cluster
        self._length = length
        self._clock = clock
        self._lock = Lock()

    def over_all_nodes(
        self, names: Sequence[str], own: Sequence[Column], interval: float | None = None
    ) -> list[Column]:
        """The usage over all nodes of namespaces that use `own` here, a column for each control.

        Of throughput, what was given out of the running interval, or of the one that began at a time: it was accepted,
        or may be at once. StoreError where the store is away.
        """
        columns = [column.copy() for column in own]
        number = int(self._clock() // self._length) if interval is None else round(interval / self._length)
        span = IntervalSpan(number, round(number * self._length * 1000), round(self._length * 1000))
        digests = [digest.to_bytes(8, "little") for digest in digests_of(names, self._cluster).tolist()]
        with self._lock:
            for start in range(0, len(digests), _AT_ONCE):
                some = digests[start : start + _AT_ONCE]
                for at, (given, held) in enumerate(zip(*self._store.look(span, some), strict=True), start):
                    _raise_to(columns[THROUGHPUT], at, float(given or 0))
                    if held:
                        for control, amount in zip(CAPACITY_ORDER, _HELD.unpack(held), strict=True):
                            _raise_to(columns[control], at, amount)
        return columns

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._store.close()


def _raise_to(column: Column, at: int, amount: float) -> None:
    """What this node uses is part of what all do, also where it is not told to the store."""
    column[at] = max(column[at], np.int64(amount))
