"""The nodes of a limiter: a list, the addresses of DNS names, and which of them is asked.

Where all nodes count in one store, any of them will do, and they take turns. Where each counts by itself (`sharded`), a
key is always asked of the same node, by consistent hashing: a node more or less moves few keys.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from threading import Lock
from typing import Final, NamedTuple

from uhashring import HashRing

from carbonquota.cluster.peers import LookUp, endpoints, peer_of

_LOOK_UP_INTERVAL: Final = 5.0
"""Seconds between two look-ups of names."""
_REST: Final = 1.0
"""Seconds that a node which did not answer is asked only after the others; doubled each time, up to `_LONGEST_REST`."""
_LONGEST_REST: Final = 30.0


def look_up(name: str) -> Iterable[str]:
    """Every address of a name."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


class _KnownNodes(NamedTuple):
    """The nodes as they were last found, `host:port`."""

    nodes: frozenset[str]
    ring: HashRing


class Nodes:
    """Chooses nodes. May be used from any thread."""

    def __init__(
        self,
        nodes: Sequence[str],
        *,
        sharded: bool = False,
        look_up: LookUp = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`nodes` are `host:port`, or `dns://name:port` for every address of a name; ValueError for anything else."""
        for node in nodes:
            if "/" in node.removeprefix("dns://"):
                raise ValueError(f'"{node}" is no host:port, nor dns://name:port')
        self._peers = [peer_of(node) for node in nodes]
        if not self._peers:
            raise ValueError("a limiter has at least one node")
        self._sharded = sharded
        self._look_up = look_up
        self._clock = clock
        self._lock = Lock()
        self._looked_up = float("-inf")
        self._known = _KnownNodes(frozenset(), HashRing())
        self._is_ready = False
        self._turn = count()
        self._failures: Counter[str] = Counter()
        self._rests: dict[str, float] = {}

    @property
    def is_sharded(self) -> bool:
        """Whether each node counts by itself."""
        return self._sharded

    def order(self, key: str) -> list[str]:
        """The nodes to ask about a key as `host:port`, the first first, those that did not answer lately at the end."""
        self.refresh()
        known, ring = sorted(self._known.nodes), self._known.ring
        if not known:
            return []
        if self._sharded:
            preferred = [str(node["nodename"]) for node in ring.range(key, len(known))]
        else:
            first = next(self._turn) % len(known)
            preferred = known[first:] + known[:first]
        now = self._clock()
        return sorted(preferred, key=lambda node: self._rests.get(node, 0.0) > now)

    def succeeded(self, node: str) -> None:
        """A node answered."""
        if self._failures.pop(node, 0):
            self._rests.pop(node, None)

    def failed(self, node: str) -> None:
        """A node did not answer: let it rest for a while."""
        self._failures[node] += 1
        rest = min(_REST * 2.0 ** (self._failures[node] - 1), _LONGEST_REST)
        self._rests[node] = self._clock() + rest

    def is_due(self) -> bool:
        """Whether it is time to look names up, which may take long."""
        return not self._is_ready or self._clock() - self._looked_up >= _LOOK_UP_INTERVAL

    def refresh(self) -> None:
        """Look names up where it is time; meanwhile all others go on with what was found before, if anything was."""
        if not self.is_due():
            return
        with self._lock:
            if not self.is_due():
                return
            self._looked_up = self._clock()
            before = self._known.nodes
            found, _ = endpoints(self._peers, self._look_up, frozenset(f"tcp://{node}" for node in before))
            nodes = frozenset(endpoint.removeprefix("tcp://") for endpoint in found)
            if nodes != before:
                self._known = _KnownNodes(nodes, HashRing(nodes=sorted(nodes)))
            self._is_ready = True
