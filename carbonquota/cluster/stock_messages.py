"""What a node publishes in sync mode about the metrics that it holds, as bytes; and how it asks for what it missed.

Theory of operation. A message tells of a stretch of the versions of a run (run_holdings.py): the metrics that are
present in it, each by a digest with its namespace and size, and versions that are gone since. Namespaces come with
those above them, and sizes once. A message of nothing new tells which version is the last.

    magic 4s | flags B | cluster 8s | node 16s | epoch Q | after Q | until Q | last Q |
    namespaces I | sizes I | metrics I | gone I
    namespaces x (digest u64, above u32) | sizes x 3 i64 | metrics x (version - after u32, digest 16s, namespace u32,
    size u32) | gone x version u64

`above`, `namespace` and `size` count from 1, 0 being none. What asks has the same header: `node` and `epoch` are whose
versions are missing, and all after `after` are. All numbers are little-endian. Nothing is taken from a message that is
not well-formed to its last byte. This file must not know sockets or the engine.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.cluster.messages import ClusterMessageError, Fault, Run
from carbonquota.cluster.stock import Kind

MAGIC: Final = b"CQH1"
ASKS: Final = b"CQA1"
"""The protocol and its version; a later version changes the digit."""

TO_ONE: Final = b"@"
"""Begins what is for one node alone; the node's 16 bytes follow, and then the message."""

MOST_METRICS: Final = 5_000
"""Metrics, and versions that are gone, in one message."""

_DECLARED: Final = 1
_HEADER: Final = struct.Struct("<4sB8s16sQQQQIIII")
_NAMESPACE: Final = np.dtype([("digest", "<u8"), ("above", "<u4")])
_SIZE: Final = np.dtype("<i8")
_METRIC: Final = np.dtype([("version", "<u4"), ("digest", "V16"), ("namespace", "<u4"), ("size", "<u4")])
_VERSION: Final = np.dtype("<u8")
_DEEPEST: Final = 512


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a run's versions: `versions` go with `digests` and with `kinds`, which are places in `of_kind`.

    `namespaces` maps digests to the ones above, each after its own. `last` is the last version of the run, and
    `is_declared` says that all which the node held when it began is in versions up to that.
    """

    run: Run
    after: int
    until: int
    versions: list[int]
    digests: list[bytes]
    kinds: list[int]
    of_kind: list[Kind]
    namespaces: dict[int, int]
    gone: list[int]
    last: int
    is_declared: bool


@dataclass(frozen=True, slots=True)
class Asks:
    """A node that asks for the versions of a run after this one."""

    node: bytes
    run: Run
    after: int


class StockCodec:
    """Messages of one cluster to bytes and back."""

    def __init__(self, cluster: str) -> None:
        """For the cluster of this name."""
        self._cluster = hashlib.blake2b(cluster.encode(), digest_size=8).digest()

    def encode(self, stretch: Stretch) -> bytes:
        """The bytes of a message."""
        places = {digest: place for place, digest in enumerate(stretch.namespaces, 1)}
        namespaces = np.array([(digest, places.get(up, 0)) for digest, up in stretch.namespaces.items()], _NAMESPACE)
        sizes = list(dict.fromkeys(kind[1:] for kind in stretch.of_kind))
        numbers = {size: number for number, size in enumerate(sizes, 1)}
        metrics = np.empty(len(stretch.versions), _METRIC)
        metrics["version"] = np.array(stretch.versions, np.int64) - stretch.after
        metrics["digest"] = np.frombuffer(b"".join(stretch.digests), "V16")
        kinds = np.array(stretch.kinds, np.intp)
        metrics["namespace"] = np.array([places[kind.namespace] for kind in stretch.of_kind], "<u4")[kinds]
        metrics["size"] = np.array([numbers[kind[1:]] for kind in stretch.of_kind], "<u4")[kinds]
        counts = len(namespaces), len(sizes), len(metrics), len(stretch.gone)
        run, flags = stretch.run, _DECLARED if stretch.is_declared else 0
        head = _HEADER.pack(
            MAGIC, flags, self._cluster, run.node, run.epoch, stretch.after, stretch.until, stretch.last, *counts
        )
        parts = namespaces, np.array(sizes, _SIZE), metrics, np.array(stretch.gone, _VERSION)
        return head + b"".join(part.tobytes() for part in parts)

    def ask(self, asks: Asks) -> bytes:
        """The bytes of a question; the asking node follows the header."""
        run = asks.run
        return _HEADER.pack(ASKS, 0, self._cluster, run.node, run.epoch, asks.after, 0, 0, 0, 0, 0, 0) + asks.node

    def decode(self, data: bytes) -> Stretch | Asks:
        """The message of these bytes; ClusterMessageError where they are none of this cluster."""
        if data[:3] not in {MAGIC[:3], ASKS[:3]}:
            raise ClusterMessageError(Fault.FORM, "it does not begin as a message does")
        if data[:4] not in {MAGIC, ASKS}:
            raise ClusterMessageError(Fault.VERSION, f"{data[:4]!r}, this node speaks {MAGIC!r}")
        if len(data) < _HEADER.size:
            raise ClusterMessageError(Fault.FORM, f"{len(data)} bytes are no header")
        magic, flags, cluster, node, epoch, after, until, last, *counts = _HEADER.unpack_from(data)
        if cluster != self._cluster:
            raise ClusterMessageError(Fault.CLUSTER, "its nodes have another cluster name")
        if magic == ASKS:
            if len(data) != _HEADER.size + 16:
                raise ClusterMessageError(Fault.FORM, f"{len(data)} bytes are no question")
            return Asks(data[_HEADER.size :], Run(node, epoch), after)
        columns = _columns(data, counts)
        _check((after, until, last), columns)
        return _stretch(Run(node, epoch), (after, until, last), columns, is_declared=bool(flags & _DECLARED))


Columns = tuple[NDArray[np.void], NDArray[np.int64], NDArray[np.void], NDArray[np.uint64]]


def _columns(data: bytes, counts: list[int]) -> Columns:
    """The parts behind the header."""
    kinds = (_NAMESPACE, np.dtype((_SIZE, 3)), _METRIC, _VERSION)
    if max(counts) > 3 * _DEEPEST * MOST_METRICS or len(data) != _HEADER.size + sum(
        kind.itemsize * count for kind, count in zip(kinds, counts, strict=True)
    ):
        raise ClusterMessageError(Fault.FORM, f"{len(data)} bytes for {counts} entries")
    parts, place = [], _HEADER.size
    for kind, count in zip(kinds, counts, strict=True):
        parts.append(np.frombuffer(data, kind.base, count * (3 if kind.shape else 1), place))
        place += kind.itemsize * count
    return parts[0], parts[1].reshape(-1, 3), parts[2], parts[3]


def _check(ends: tuple[int, int, int], columns: Columns) -> None:
    """Refuse what points to nowhere, or is told twice."""
    namespaces, sizes, metrics, _ = columns
    versions, (after, until, last) = metrics["version"], ends
    is_good = (
        after <= until <= last < 2**63
        and (namespaces["above"] <= np.arange(len(namespaces))).all()
        and (namespaces["digest"] > 0).all()
        and len(np.unique(namespaces["digest"])) == len(namespaces)
        and (sizes >= 0).all()
        and (versions[1:] > versions[:-1]).all()
        and (not len(versions) or (versions[0] > 0 and int(versions[-1]) <= until - after))
        and ((metrics["namespace"] > 0) & (metrics["namespace"] <= len(namespaces))).all()
        and ((metrics["size"] > 0) & (metrics["size"] <= len(sizes))).all()
    )
    if not is_good:
        raise ClusterMessageError(Fault.FORM, "versions, namespaces or sizes out of range")


def _stretch(run: Run, ends: tuple[int, int, int], columns: Columns, *, is_declared: bool) -> Stretch:
    """The message of checked columns."""
    namespaces, sizes, metrics, gone = columns
    digests = namespaces["digest"].tolist()
    above = [0, *digests]
    pairs = metrics["namespace"].astype(np.int64) << 32 | metrics["size"]
    kinds, places = np.unique(pairs, return_inverse=True)
    listed = sizes.tolist()
    text = metrics["digest"].tobytes()
    return Stretch(
        run,
        ends[0],
        ends[1],
        versions=(metrics["version"].astype(np.int64) + ends[0]).tolist(),
        digests=[text[at : at + 16] for at in range(0, len(text), 16)],
        kinds=places.tolist(),
        of_kind=[Kind(digests[(kind >> 32) - 1], *listed[(kind & 0xFFFFFFFF) - 1]) for kind in kinds.tolist()],
        namespaces={digest: above[up] for digest, up in zip(digests, namespaces["above"].tolist(), strict=True)},
        gone=gone.tolist(),
        last=ends[2],
        is_declared=is_declared,
    )
