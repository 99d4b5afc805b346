"""What all nodes hold together, in the store: metrics are claimed, declared and released by their digests.

One call is one atomic step of `functions.lua`, where the theory of it stands. This file packs and unpacks.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.cluster.namespaces import above
from carbonquota.controls.capacity_limits import NamespaceLimits
from carbonquota.model import Size

Codes = NDArray[np.int32]
Usages = dict[bytes, bytes]
"""What all nodes hold in some namespaces, as the store keeps it, by their digests."""

NEW: Final = 0
KNOWN: Final = 1
_CONTROLS: Final = 8
"""A refusal's code is -(namespace * 8 + control), both from 1; controls in the order of `CAPACITY_ORDER`."""

_NAMESPACE: Final = struct.Struct("<8sI5d")
_SIZE: Final = struct.Struct("<3d")
_AMOUNTS: Final = struct.Struct("<5d")
_AT_ONCE: Final = 500
"""Namespaces that are recalled in one step of the store."""


class ClaimStatus(IntEnum):
    """Whether the store grants claims now."""

    OK = 0
    WAIT = 1
    """Not all nodes have declared what they hold."""
    BEGIN = 2
    """It does not know this run: the node is to begin, and to declare what it holds."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run of a node as the store knows it: its number, and the store's epoch in which it began."""

    number: int
    epoch: str


@dataclass(frozen=True, slots=True)
class ClaimTimeouts:
    """For how long, in ms, claims wait for a node that has not declared, and a silent node's metrics stay."""

    grace: int = 30_000
    forget: int = 86_400_000


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics to be claimed or declared, as columns: normal names, the namespaces they lie in, and their sizes."""

    names: Sequence[str]
    namespaces: Sequence[str]
    sizes: Sequence[Size]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)

    def at(self, places: Sequence[int]) -> Metrics:
        """Those at some places."""
        names, namespaces = [self.names[place] for place in places], [self.namespaces[place] for place in places]
        return Metrics(names, namespaces, [self.sizes[place] for place in places])


@dataclass(frozen=True, slots=True, eq=False)
class Claimed:
    """What the store said: `codes` go with the metrics, none where it granted nothing; `nodes` are all it knows.

    `usages` are of the namespaces above the metrics.
    """

    status: ClaimStatus
    nodes: tuple[str, ...]
    has_dead: bool
    codes: Codes
    usages: Usages = field(default_factory=dict)


class Caller(Protocol):
    """What is asked of `Store`."""

    @property
    def node(self) -> str:
        """What this node is called."""

    def key(self, what: str) -> str:
        """A key of the cluster."""

    def call(self, function: str, keys: Sequence[str], args: Sequence[object]) -> Any:  # noqa: ANN401 - as it comes
        """Call a function; StoreError where that fails."""


class Digester:
    """The digests of a cluster's metrics and namespaces, by which the store knows them."""

    def __init__(self, cluster: str) -> None:
        """For the cluster of this name."""
        self._key = hashlib.blake2b(cluster.encode(), digest_size=16).digest()
        self._metric = hashlib.blake2b(digest_size=16, key=self._key)

    def metric(self, name: str) -> bytes:
        """128 bits of a metric's normal name."""
        digest = self._metric.copy()
        digest.update(name.encode())
        return digest.digest()

    def metrics(self, names: Iterable[str]) -> bytes:
        """Those of many, one after the other."""
        return b"".join(map(self.metric, names))

    def namespace(self, name: str) -> bytes:
        """64 bits of a namespace's name."""
        return hashlib.blake2b(name.encode(), digest_size=8, key=self._key).digest()


class _Packed(NamedTuple):
    """Metrics as the store takes them: `blobs`, and of each metric in them which one it is of those that were given.

    `is_once` says that none comes twice.
    """

    blobs: tuple[bytes, bytes, bytes, bytes]
    order: NDArray[np.intp]
    is_once: bool = True


_NOTHING: Final = _Packed((b"", b"", b"", b""), np.empty(0, np.intp))


class ClaimStore:
    """The calls about what is held; those of one thread, but for what `begin_claim` has going on meanwhile."""

    def __init__(self, store: Caller, cluster: str, patience: ClaimTimeouts | None = None) -> None:
        """`store` is of the same cluster."""
        self._store = store
        self._digester = Digester(cluster)
        self._patience = patience or ClaimTimeouts()
        self._calls = ThreadPoolExecutor(1, "carbonquota-store")
        self._keys = tuple(store.key(what) for what in ("stock", "runs", "names", "usage", "sizes", "recalled"))

    def begin(self, known: Iterable[str], *, has_more: bool = False) -> StoredRun:
        """Begin a run that holds nothing yet. Claims of all wait for the nodes that are `known` here to declare.

        They wait for this one too, if it `has_more` than it declared before, or has not declared.
        """
        args = [self._store.node, int(has_more), *(node for node in known if node != self._store.node)]
        number, epoch = self._store.call("cq1_begin", self._keys[:2], args)
        return StoredRun(int(number), _text(epoch))

    def declared(self, run: StoredRun) -> bool:
        """Tell that all was declared; whether the store still knew the run."""
        return bool(self._store.call("cq1_declared", self._keys[:2], [self._store.node, run.number, run.epoch]))

    def claim(
        self, run: StoredRun, metrics: Metrics, limits: Sequence[NamespaceLimits], *, asks: bool = True
    ) -> Claimed:
        """Claim metrics, each as a whole; where it does not ask, whatever the limits. Those of a namespace go in order.

        `limits` are of the namespaces above the metrics, each after the one above it.
        """
        return self._claim(run, self._pack(metrics, limits), asks=asks)

    def begin_claim(self, run: StoredRun, metrics: Metrics, limits: Sequence[NamespaceLimits]) -> Callable[[], Claimed]:
        """The same on another thread, one call after the other; gives what waits for the answer."""
        packed = self._pack(metrics, limits)
        return self._calls.submit(self._claim, run, packed, asks=True).result

    def close(self) -> None:
        """End when all that was begun is answered."""
        self._calls.shutdown()

    def _pack(self, metrics: Metrics, limits: Sequence[NamespaceLimits]) -> _Packed:
        return self._packed(metrics, limits) if metrics else _NOTHING

    def _claim(self, run: StoredRun, packed: _Packed, *, asks: bool) -> Claimed:
        """Ask, and read the answer."""
        member = self._patience
        args = [self._store.node, run.number, run.epoch, member.grace, member.forget, int(asks)]
        answer = self._store.call("cq1_claims", self._keys, [*args, *packed.blobs, int(packed.is_once)])
        _, status, _, nodes, dead, found, amounts = answer
        codes = np.frombuffer(found, "<i4").astype(np.int32)
        if len(codes):
            codes[packed.order] = codes.copy()
        usages = _usages(packed.blobs[0], _NAMESPACE.size, amounts)
        return Claimed(ClaimStatus(status), tuple(_text(nodes).split()), bool(dead), codes, usages)

    def _packed(self, metrics: Metrics, limits: Sequence[NamespaceLimits]) -> _Packed:
        """What `cq1_claims` takes."""
        numbers = {one.namespace: number for number, one in enumerate(limits, 1)}
        digest, pack = self._digester.namespace, _NAMESPACE.pack
        namespaces = [pack(digest(one.namespace), numbers.get(above(one.namespace), 0), *one.limits) for one in limits]
        sizes, size_numbers = _numbered(metrics.sizes)
        leaves = list(map(numbers.__getitem__, metrics.namespaces))
        # Those of one namespace and size are put together, as most of the work is the same for them.
        keys = np.array(leaves, np.int64) << 32 | np.array(size_numbers, np.int64)
        order = np.argsort(keys, kind="stable")
        groups, counts = np.unique(keys, return_counts=True)
        digests = np.frombuffer(self._digester.metrics(metrics.names), "V16")[order].tobytes()
        packed_sizes = [_SIZE.pack(size.logical, size.physical, size.data_points) for size in sizes]
        columns = np.stack((groups >> 32, groups & 0xFFFFFFFF, counts), axis=1).astype("<u4")
        return _Packed(
            (b"".join(namespaces), b"".join(packed_sizes), digests, columns.tobytes()),
            order,
            len(set(metrics.names)) == len(metrics),
        )

    def release(self, run: StoredRun, names: Sequence[str]) -> bool:
        """Hold these metrics no longer; whether the store still knew the run."""
        digests = self._digester.metrics(names)
        gone = self._store.call("cq1_release", self._keys, [self._store.node, run.number, run.epoch, digests])
        return bool(gone != -1)

    def recall(self, run: StoredRun, usages: Usages) -> bool:
        """Tell what namespaces held at least, before the store may have forgotten it; whether it knew the run."""
        keys = (*self._keys[:2], self._keys[5])
        listed = list(usages.items())
        for start in range(0, len(listed), _AT_ONCE):
            told = b"".join(digest + amounts for digest, amounts in listed[start : start + _AT_ONCE])
            if not self._store.call("cq1_recall", keys, [self._store.node, run.number, run.epoch, told]):
                return False
        return True

    def usages(self, run: StoredRun, cursor: str) -> tuple[str, Usages] | None:
        """Some of what all namespaces hold, and the cursor to go on from, `0` at both ends.

        None where it knows no such run.
        """
        keys = (*self._keys[:2], self._keys[3])
        found = self._store.call("cq1_usages", keys, [self._store.node, run.number, run.epoch, cursor])
        return (_text(found[0]), _usages(found[1], 8, found[2])) if found else None

    def prune(self, most: int = 500) -> bool:
        """Let go of what nobody holds any more, looking at about so many metrics; whether there is more to do."""
        return bool(self._store.call("cq1_sweep", self._keys, [most]))


def _usages(digests: bytes, step: int, amounts: bytes) -> Usages:
    """Amounts by the digests that begin so many bytes after each other; none where there are no amounts."""
    size = _AMOUNTS.size
    places = range(len(amounts) // size)
    return {digests[at * step : at * step + 8]: amounts[at * size : at * size + size] for at in places}


def _numbered(sizes: Sequence[Size]) -> tuple[list[Size], list[int]]:
    """The distinct sizes, and of each which one it is, from 1."""
    # Nearly always all are the very same, and hashing one takes as long as all else here.
    if len(set(map(id, sizes))) == 1:
        return [sizes[0]], [1] * len(sizes)
    distinct = {size: number for number, size in enumerate(dict.fromkeys(sizes), 1)}
    return list(distinct), list(map(distinct.__getitem__, sizes))


def refusal(code: int) -> tuple[int, int]:
    """Which namespace refuses, by its place in the limits that were given, and which of the stocks, both from 0."""
    namespace, control = divmod(-code, _CONTROLS)
    return namespace - 1, control - 1


def _text(value: object) -> str:
    """What the store calls a string."""
    return value.decode() if isinstance(value, bytes) else str(value)
