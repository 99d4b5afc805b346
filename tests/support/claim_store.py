"""What all nodes hold as a small model with a clock of the test's own: what `functions.lua` must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from carbonquota.cluster.claim_store import Claimed, ClaimStatus, ClaimTimeouts, Metric, StoredRun, above
from carbonquota.cluster.store import StoreError
from carbonquota.controls.stock_limits import NamespaceLimits
from carbonquota.model import Size

SETTLE = 2_000


@dataclass
class Node:
    """A run as the store knows it; `state` is 0: not declared, 1: declared, 2: the one before had declared."""

    number: int
    state: int
    heard: int
    before: set[int] = field(default_factory=set)


@dataclass
class Stock:
    """What one server keeps for a cluster; times in milliseconds."""

    now: Callable[[], int]
    since: int = -10_000
    epoch: int = 0
    is_up: bool = True
    names: dict[str, tuple[str, Size, set[int]]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    last_number: int = 0

    def restart(self, *, forgets: bool) -> None:
        """Begin anew, with all that was kept or nothing."""
        self.epoch += 1
        self.since = self.now()
        for node in self.nodes.values():
            node.state, node.heard = 0, self.now()
        if forgets:
            self.names, self.nodes, self.dead, self.last_number = {}, {}, set(), 0

    def usage(self, namespace: str) -> tuple[int, ...]:
        """Metrics, the sizes, and namespaces, counted anew from all names."""
        sums, children = [0, 0, 0, 0], set()
        for held_in, size, _ in self.names.values():
            way = list(way_up(held_in))
            if namespace in way:
                amounts = (1, size.logical, size.physical, size.data_points)
                sums = [one + more for one, more in zip(sums, amounts, strict=True)]
                if way[0] != namespace:
                    children.add(way[way.index(namespace) - 1])
        return (*sums, len(children))

    def first_refusal(self, metric: Metric, limits: dict[str, tuple[int, ...]]) -> tuple[str, int] | None:
        """Whose limit a new metric would pass, and which of the stocks, from the root down."""
        way = list(way_up(metric.namespace))
        size = metric.size
        for place in range(len(way) - 1, -1, -1):
            used = self.usage(way[place])
            gained = int(place > 0 and not self.usage(way[place - 1])[0])
            needs = (1, size.logical, size.physical, size.data_points, gained)
            for stock, limit in enumerate(limits[way[place]]):
                if 0 <= limit < used[stock] + needs[stock]:
                    return way[place], stock
        return None


def way_up(namespace: str) -> Iterable[str]:
    """A namespace and all above it."""
    while namespace:
        yield namespace
        namespace = above(namespace)


class ModelClaims:
    """What one node asks; `is_cut` is the network between the two, `loses` an answer that does not arrive."""

    def __init__(self, stock: Stock, node: str, patience: ClaimTimeouts | None = None) -> None:
        self.is_cut = False
        self.loses = False
        self._stock, self._node = stock, node
        self._patience = patience or ClaimTimeouts()

    def _reach(self) -> None:
        if self.is_cut or not self._stock.is_up:
            raise StoreError("away", "model")

    def _answer(self) -> None:
        if self.loses:
            raise StoreError("slow", "model")

    def begin(self, known: Iterable[str], *, has_more: bool = False) -> StoredRun:
        self._reach()
        stock = self._stock
        stock.last_number += 1
        before = stock.nodes.get(self._node, Node(0, 0, 0))
        state = 2 if before.state and not has_more else 0
        numbers = before.before | ({before.number} if before.number else set())
        stock.nodes[self._node] = Node(stock.last_number, state, stock.now(), numbers)
        for other in known:
            stock.nodes.setdefault(other, Node(0, 0, stock.now()))
        self._answer()
        return StoredRun(stock.last_number, str(stock.epoch))

    def _knows(self, run: StoredRun) -> bool:
        node = self._stock.nodes.get(self._node)
        return node is not None and node.number == run.number and run.epoch == str(self._stock.epoch)

    def declared(self, run: StoredRun) -> bool:
        self._reach()
        if not self._knows(run):
            return False
        node = self._stock.nodes[self._node]
        self._stock.dead |= node.before
        self._stock.nodes[self._node] = Node(run.number, 1, self._stock.now())
        self._answer()
        return True

    def _status(self, run: StoredRun) -> ClaimStatus:
        stock, now = self._stock, self._stock.now()
        for name, node in list(stock.nodes.items()):
            if name != self._node and node.heard < now - self._patience.forget:
                stock.dead |= node.before | ({node.number} if node.number else set())
                del stock.nodes[name]
        others = [node for name, node in stock.nodes.items() if name != self._node]
        waits = any(node.state == 0 and node.heard > now - self._patience.grace for node in others)
        if not self._knows(run):
            return ClaimStatus.BEGIN
        stock.nodes[self._node].heard = now
        waits = waits or stock.nodes[self._node].state != 1 or stock.since > now - SETTLE
        return ClaimStatus.WAIT if waits else ClaimStatus.OK

    def claim(
        self, run: StoredRun, metrics: Sequence[Metric], limits: Sequence[NamespaceLimits], *, asks: bool = True
    ) -> Claimed:
        self._reach()
        status = self._status(run)
        codes: list[int] = []
        if status is not ClaimStatus.BEGIN and (status is ClaimStatus.OK or not asks):
            codes = [0] * len(metrics)
            places = {one.namespace: place for place, one in enumerate(limits)}
            sizes = {size: place for place, size in enumerate(dict.fromkeys(metric.size for metric in metrics))}
            # Those of a namespace go together.
            for at in sorted(range(len(metrics)), key=lambda at: (places[metrics[at].namespace], sizes[metrics[at].size])):
                codes[at] = self._claim(run, metrics[at], limits, asks=asks)
        self._answer()
        return Claimed(status, tuple(self._stock.nodes), bool(self._stock.dead), np.array(codes, np.int32))

    def _claim(self, run: StoredRun, metric: Metric, limits: Sequence[NamespaceLimits], *, asks: bool) -> int:
        names = self._stock.names
        if metric.name in names:
            names[metric.name][2].add(run.number)
            return 1
        places = {one.namespace: place for place, one in enumerate(limits, 1)}
        by_name = {one.namespace: one.limits for one in limits}
        refused = self._stock.first_refusal(metric, by_name) if asks else None
        if refused is not None:
            return -(places[refused[0]] * 8 + refused[1] + 1)
        names[metric.name] = metric.namespace, metric.size, {run.number}
        return 0

    def release(self, run: StoredRun, names: Sequence[str]) -> bool:
        self._reach()
        if not self._knows(run):
            return False
        self._let_go(set(names), {run.number})
        self._answer()
        return True

    def _let_go(self, names: set[str], runs: set[int]) -> None:
        held = self._stock.names
        for name in names & set(held):
            held[name][2].difference_update(runs)
            if not held[name][2]:
                del held[name]

    def sweep(self, most: int = 500) -> bool:
        self._reach()
        self._let_go(set(self._stock.names), self._stock.dead)
        self._stock.dead = set()
        return False
