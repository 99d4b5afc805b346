"""What a node publishes in sync mode, as bytes: what it accepted in an interval, by the digest of each namespace.

Theory of operation. A message is a header and two columns. The header says who speaks (cluster, node, and the start-up
of that node, its *epoch*), of which interval, and the how-many-th message it is. The columns are digests of namespaces,
strictly ascending, and how many points were accepted below each since the interval began. Counts are cumulative, so a
message that is lost, repeated or overtaken by another does no harm.

    magic 4s | flags B | cluster 8s | node 16s | epoch Q | length d | interval q | sequence Q | sent d | count I
    digests count x u64 | counts count x u32, or x u64 where the flags say so

All numbers are little-endian. Nothing is taken from a message that is not well-formed to its last byte. This file must
not know sockets or the engine.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.errors import QuotaError

Digests = NDArray[np.uint64]
Counts = NDArray[np.int64]

MAGIC: Final = b"CQS1"
"""The protocol and its version; a later version changes the digit."""

MOST_ENTRIES: Final = 1_000_000
"""Namespaces in one message."""

_FULL: Final = 1
_WIDE: Final = 2
"""Flags: all counts of the interval are in it; a count takes 8 bytes, as some do not fit into 4."""

_NARROW_MAXIMUM: Final = 2**32 - 1
_HEADER: Final = struct.Struct("<4sB8s16sQdqQdI")


class Fault(Enum):
    """Why a message is not taken."""

    FORM = "not well-formed"
    VERSION = "of another version"
    CLUSTER = "of another cluster"
    TOO_LONG = "too long"


class ClusterMessageError(QuotaError):
    """A message that is not taken; `fault` says why, for a count."""

    def __init__(self, fault: Fault, detail: str) -> None:
        """`detail` says what is wrong with this one."""
        super().__init__(f"a message {fault.value}: {detail}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a node: `node` has 16 bytes, `epoch` is when it started, in nanoseconds since the epoch."""

    node: bytes
    epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What a run accepted in the interval with this number.

    `length` is that of an interval and `sent` the sender's clock, both in seconds. `digests` (uint64, strictly
    ascending) and `counts` (int64, each at least 1) go together. `full` says that these are all its counts of the
    interval, and not only those that changed.
    """

    run: Run
    length: float
    interval: int
    sequence: int
    sent: float
    digests: Digests
    counts: Counts
    full: bool = False


def digests_of(namespaces: Iterable[str], cluster: str) -> Digests:
    """The digests by which the nodes of a cluster tell namespaces apart, in the order given."""
    key = hashlib.blake2b(cluster.encode(), digest_size=16).digest()
    joined = b"".join(hashlib.blake2b(name.encode(), digest_size=8, key=key).digest() for name in namespaces)
    return np.frombuffer(joined, "<u8").astype(np.uint64)


class Codec:
    """Messages of one cluster to bytes and back."""

    def __init__(self, cluster: str, most_entries: int = MOST_ENTRIES) -> None:
        """For the cluster of this name; longer messages than of `most_entries` namespaces are not taken."""
        self._cluster = hashlib.blake2b(cluster.encode(), digest_size=8).digest()
        self._most = most_entries

    @property
    def longest(self) -> int:
        """The bytes of the longest message that is taken."""
        return _HEADER.size + 16 * self._most

    def encode(self, message: Message) -> bytes:
        """The bytes of a message."""
        is_wide = message.counts.max(initial=0) > _NARROW_MAXIMUM
        header = _HEADER.pack(
            MAGIC,
            (_FULL if message.full else 0) | (_WIDE if is_wide else 0),
            self._cluster,
            message.run.node,
            message.run.epoch,
            message.length,
            message.interval,
            message.sequence,
            message.sent,
            len(message.digests),
        )
        counts = message.counts.astype("<i8" if is_wide else "<u4")
        return header + message.digests.astype("<u8").tobytes() + counts.tobytes()

    def decode(self, data: bytes) -> Message:
        """The message of these bytes; MessageError where they are none of this cluster."""
        self._check_start(data)
        _, flags, cluster, node, epoch, length, interval, sequence, sent, count = _HEADER.unpack_from(data)
        if cluster != self._cluster:
            raise ClusterMessageError(Fault.CLUSTER, "its nodes have another cluster name")
        kind = np.dtype("<i8" if flags & _WIDE else "<u4")
        if len(data) != _HEADER.size + (8 + kind.itemsize) * count:
            raise ClusterMessageError(Fault.FORM, f"{len(data)} bytes for {count:,} namespaces")
        if flags & ~(_FULL | _WIDE) or not (math.isfinite(length) and length >= 1 and math.isfinite(sent)):
            raise ClusterMessageError(Fault.FORM, "flags or times out of range")
        digests = np.frombuffer(data, "<u8", count, _HEADER.size).astype(np.uint64)
        counts = np.frombuffer(data, kind, count, _HEADER.size + 8 * count).astype(np.int64)
        if count and (counts.min() < 1 or not (digests[1:] > digests[:-1]).all()):
            raise ClusterMessageError(Fault.FORM, "counts below 1, or digests out of order")
        run = Run(node, epoch)
        return Message(run, length, interval, sequence, sent, digests, counts, full=bool(flags & _FULL))

    def _check_start(self, data: bytes) -> None:
        """Refuse what is too long, or does not begin as a message does."""
        if len(data) > self.longest:
            raise ClusterMessageError(Fault.TOO_LONG, f"{len(data):,} bytes, at most {self.longest:,} are taken")
        if len(data) < len(MAGIC) or data[:3] != MAGIC[:3]:
            raise ClusterMessageError(Fault.FORM, f"it does not begin with {MAGIC[:3]!r}")
        if data[:4] != MAGIC:
            raise ClusterMessageError(Fault.VERSION, f"{data[:4]!r}, this node speaks {MAGIC!r}")
        if len(data) < _HEADER.size:
            raise ClusterMessageError(Fault.FORM, f"{len(data)} bytes are no header")
