"""What is held in sync mode at work: the gate of the batches, and the node that knows what all others hold."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from carbonquota.cluster.gate import Batches, Gate
from carbonquota.cluster.hold import Hold
from carbonquota.cluster.make import OnLoop
from carbonquota.cluster.stock_messages import ASKS, MAGIC, TO_ONE
from carbonquota.cluster.sync_stocks import StockNode
from carbonquota.controls.table import CAPACITY_ORDER
from carbonquota.model import MAXIMUM
from carbonquota.service.health import HealthSample
from carbonquota.trie.columns import Column

_KINDS: Final = (TO_ONE, MAGIC[:3], ASKS[:3])
"""How messages about what is held begin."""

_DOUBLE: Final = (
    "cluster: another node goes by this one's name, which is made of host and directories: what the two hold is "
    "counted as one's"
)


class SharedStocks:
    """`tick`, `hear` and `close` are for one thread, `hold_back` for that of the batches, and the rest for any."""

    def __init__(self, node: StockNode, batches: Batches[Any], on_loop: OnLoop, finish: Callable[[], None]) -> None:
        """`on_loop` calls a function where batches are decided on; `finish` is the last that is called there."""
        self._node = node
        self._hold: Hold[Any] = Hold(time.monotonic, batches.size)
        self._gate: Gate[Any] = Gate(node.engine, self._hold, batches, decider=node)
        self._on_loop, self._finish = on_loop, finish

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why what is held is not counted as it should be."""
        return (_DOUBLE,) if self._node.has_double else ()

    @property
    def faults(self) -> Counter[str]:
        """Messages that were not taken, by why."""
        return Counter(self._node.faults)

    def hold_back(self, items: Sequence[Any]) -> None:
        """Decide on new metrics, or have them wait until what the others hold is known."""
        self._gate.hold_back(items)

    def hear(self, messages: Sequence[bytes]) -> list[bytes]:
        """Take the messages about what is held; the others."""
        rest = []
        for message in messages:
            if message.startswith(_KINDS):
                self._node.hear(message)
            else:
                rest.append(message)
        return rest

    def tick(self, wanted: int, connected: int, *, joined: bool) -> Iterator[bytes]:
        """The messages to publish now, with so many peers `wanted` of which so many are `connected`.

        `joined` tells that one of them began to listen.
        """
        yield from self._node.tick(wanted, connected, speaks=joined)
        if self._node.is_ready and len(self._hold):
            self._on_loop(self._gate.decide_waiting)

    def replies(self) -> Iterator[bytes]:
        """The messages to publish after others were heard."""
        return self._node.replies()

    def close(self) -> None:
        """Decide what waits; the event loop still goes on."""
        self._on_loop(self._gate.decide_waiting)
        self._on_loop(self._finish)

    def over_all_nodes(self, names: Sequence[str], own: Sequence[Column]) -> list[Column]:
        """The usage over all nodes of namespaces that use `own` here."""
        columns = list(own)
        amounts = np.array([[min(one, MAXIMUM) for one in held] for held in self._node.amounts(names)], np.int64)
        for place, stock in enumerate(CAPACITY_ORDER):
            # What is under no limit is not told, and is used all the same.
            columns[stock] = np.maximum(columns[stock], amounts.reshape(-1, len(CAPACITY_ORDER))[:, place])
        return columns

    def health(self) -> Iterator[HealthSample]:
        """What was decided, and what waits."""
        for what, count in Counter(self._node.counts).items():
            yield HealthSample("cluster_claims", count, what)
        yield HealthSample("cluster_claims_waiting", len(self._hold))
        yield HealthSample("cluster_claims_waiting_bytes", self._hold.size)
        yield HealthSample("cluster_claims_ready", self._node.is_ready)
        yield HealthSample("cluster_held", len(self._node))
