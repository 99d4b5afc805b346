"""What all nodes hold as a small model with a clock of the test's own: what `functions.lua` must equal."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from carbonquota.cluster.claim_store import Claimed, ClaimStatus, ClaimTimeouts, Metrics, StoredRun, Usages
from carbonquota.cluster.namespaces import way_up
from carbonquota.cluster.store import StoreError
from carbonquota.controls.capacity_limits import NamespaceLimits
from carbonquota.model import Size

SETTLE = 2_000
AMOUNTS = struct.Struct("<5d")


class Metric(NamedTuple):
    """A metric by its normal name, the namespace it lies in, and its size."""

    name: str
    namespace: str
    size: Size


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
    recalled: dict[str, list[float]] = field(default_factory=dict)
    """What namespaces held at least, by the nodes' word."""

    def restart(self, *, forgets: bool) -> None:
        """Begin anew, with all that was kept or nothing."""
        self.epoch += 1
        self.since = self.now()
        for node in self.nodes.values():
            node.state, node.heard = 0, self.now()
        if forgets:
            self.names, self.nodes, self.dead, self.last_number, self.recalled = {}, {}, set(), 0, {}

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

    def first_refusal(
        self, metric: Metric, limits: dict[str, tuple[int, ...]], least: dict[str, list[float]]
    ) -> tuple[str, int] | None:
        """Whose limit a new metric would pass, and which of the stocks, from the root down.

        Namespaces hold `least` at least.
        """
        way = list(way_up(metric.namespace))
        size = metric.size
        for place in range(len(way) - 1, -1, -1):
            used = [max(*both) for both in zip(self.usage(way[place]), least.get(way[place], [0] * 5), strict=True)]
            gained = int(place > 0 and not self.usage(way[place - 1])[0])
            needs = (1, size.logical, size.physical, size.data_points, gained)
            for stock, limit in enumerate(limits[way[place]]):
                if 0 <= limit < used[stock] + needs[stock]:
                    return way[place], stock
        return None


def _raise(error: StoreError) -> Claimed:
    raise error


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

    def recall(self, run: StoredRun, usages: Usages) -> bool:
        self._reach()
        if not self._knows(run):
            return False
        for digest, amounts in usages.items():
            known = self._stock.recalled.setdefault(digest.decode(), [0.0] * 5)
            known[:] = map(max, known, AMOUNTS.unpack(amounts))
        self._answer()
        return True

    def usages(self, run: StoredRun, cursor: str) -> tuple[str, Usages] | None:
        self._reach()
        if not self._knows(run):
            return None
        namespaces = sorted({place for namespace, _, _ in self._stock.names.values() for place in way_up(namespace)})
        some = namespaces[int(cursor) : int(cursor) + 2]
        following = int(cursor) + 2
        self._answer()
        return str(following if following < len(namespaces) else 0), self._usages(some)

    def _usages(self, namespaces: Iterable[str]) -> Usages:
        return {namespace.encode(): AMOUNTS.pack(*self._stock.usage(namespace)) for namespace in namespaces}

    @property
    def _is_missing(self) -> bool:
        """Whether a node has not declared."""
        return any(node.state == 0 for name, node in self._stock.nodes.items() if name != self._node)

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
        self, run: StoredRun, metrics: Metrics, limits: Sequence[NamespaceLimits], *, asks: bool = True
    ) -> Claimed:
        self._reach()
        status = self._status(run)
        codes: list[int] = []
        usages: Usages = {}
        if status is ClaimStatus.OK and not self._is_missing:
            self._stock.recalled = {}
        if status is not ClaimStatus.BEGIN and (status is ClaimStatus.OK or not asks):
            codes = [0] * len(metrics)
            places = {one.namespace: place for place, one in enumerate(limits)}
            sizes = {size: place for place, size in enumerate(dict.fromkeys(metrics.sizes))}
            # Those of a namespace go together.
            pairs = zip(metrics.namespaces, metrics.sizes, strict=True)
            kinds = [(places[namespace], sizes[size]) for namespace, size in pairs]
            listed = list(map(Metric, metrics.names, metrics.namespaces, metrics.sizes))
            for at in sorted(range(len(metrics)), key=kinds.__getitem__):
                codes[at] = self._claim(run, listed[at], limits, asks=asks)
            usages = self._usages(one.namespace for one in limits)
        self._answer()
        return Claimed(status, tuple(self._stock.nodes), bool(self._stock.dead), np.array(codes, np.int32), usages)

    def begin_claim(self, run: StoredRun, metrics: Metrics, limits: Sequence[NamespaceLimits]) -> Callable[[], Claimed]:
        """Claim at once; what came of it is told when it is asked for."""
        try:
            claimed = self.claim(run, metrics, limits)
        except StoreError as error:
            return partial(_raise, error)
        return lambda: claimed

    def _claim(self, run: StoredRun, metric: Metric, limits: Sequence[NamespaceLimits], *, asks: bool) -> int:
        names = self._stock.names
        if metric.name in names:
            names[metric.name][2].add(run.number)
            return 1
        places = {one.namespace: place for place, one in enumerate(limits, 1)}
        by_name = {one.namespace: one.limits for one in limits}
        is_new_to_all = self._is_missing and self._stock.nodes[self._node].state == 1
        least = self._stock.recalled if is_new_to_all else {}
        refused = self._stock.first_refusal(metric, by_name, least) if asks else None
        if refused is not None:
            return -(places[refused[0]] * 8 + refused[1] + 1)
        self._note(metric, least)
        names[metric.name] = metric.namespace, metric.size, {run.number}
        return 0

    def _note(self, metric: Metric, least: dict[str, list[float]]) -> None:
        """Have what namespaces hold at least be more by a metric."""
        gained = 0
        for place in way_up(metric.namespace):
            if place in least:
                needs = (1, metric.size.logical, metric.size.physical, metric.size.data_points, gained)
                least[place][:] = [one + more for one, more in zip(least[place], needs, strict=True)]
            gained = int(not self._stock.usage(place)[0])

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

    def prune(self, most: int = 500) -> bool:
        self._reach()
        self._let_go(set(self._stock.names), self._stock.dead)
        self._stock.dead = set()
        return False
