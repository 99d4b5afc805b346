"""The store of slices mode: Valkey or Redis, asked through the functions of `functions.lua`, one round trip a call.

This file is the shell around the client library: addresses, timeouts, the loading of the functions, and errors told
apart by what an operator has to do about them. What the answers mean for deciding stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from threading import RLock
from typing import Any, Final, Protocol

import valkey
from valkey.asyncio.connection import ConnectionPool as AsyncPool
from valkey.backoff import NoBackoff
from valkey.cluster import ClusterNode, ValkeyCluster
from valkey.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    ValkeyError,
)
from valkey.exceptions import ConnectionError as AwayError
from valkey.exceptions import TimeoutError as SlowError
from valkey.retry import Retry
from valkey.sentinel import MasterNotFoundError, Sentinel

from carbonquota.cluster.store_url import read_store_url
from carbonquota.errors import QuotaError

FUNCTIONS: Final = ("functions.lua", "claims.lua", "grants.lua")
"""The files of the library of functions, one behind the other."""
MOST_SHARED: Final = 2**53
"""The store counts in doubles, so of a greater limit it gives as much."""


class StoreError(QuotaError):
    """The store did not do what it was asked; `kind` is one of the values of `REMEDIES`."""

    def __init__(self, kind: str, detail: str) -> None:
        """`detail` is what the client library said."""
        super().__init__(f"the store {REMEDIES[kind]}: {detail}")
        self.kind = kind


REMEDIES: Final = {
    "away": "cannot be reached",
    "slow": "did not answer in time",
    "silent": "does not answer",
    "password": "refuses our user or password (set it in the store's URL)",
    "permission": (
        "does not permit our user to use functions "
        "(it needs +fcall +function +info +time +@hash +pexpireat and the keys {cq:*)"
    ),
    "read_only": "takes no writes: it is a replica",
    "alone": "takes no writes, as too few replicas hear it (min-replicas-to-write)",
    "full": "is full (its maxmemory is reached)",
    "loading": "is still loading its data",
    "failed": "failed",
}


class SliceStatus(IntEnum):
    """Whether the store gives out slices of an interval, as `functions.lua` says it."""

    OK = 0
    YOUNG = 1
    """It may have forgotten what it gave out of this interval, so it gives nothing more of it."""
    LATE = 2
    EARLY = 3


@dataclass(frozen=True, slots=True)
class IntervalSpan:
    """An interval of the throughput limits: its number, start and length, in milliseconds since the epoch."""

    number: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """Ask for up to `wanted` points of a limit, by the digest of its namespace."""

    digest: bytes
    limit: int
    wanted: int


@dataclass(frozen=True, slots=True)
class TakenSlices:
    """What the store gave: `points` go with the requests; `now` is the store's clock in milliseconds.

    `share` is by how many this node divides limits when it is alone, 0 where it has no share yet.
    """

    now: int
    nodes: int
    share: int
    status: SliceStatus
    points: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """How a node is known: times in milliseconds after which a node may be cut off, and is forgotten."""

    node: str
    lapse: int = 2_000
    forget: int = 600_000


class StoreClient(Protocol):
    """What is used of the client library."""

    def fcall(self, function: str, numkeys: int, *keys_and_args: Any) -> Any:  # noqa: ANN401 - the library's own
        """Call a function."""

    def function_load(self, code: str, replace: bool | None = ...) -> Any:  # noqa: ANN401, FBT001 - the same
        """Load a library of functions."""


class Store:
    """The calls of slices mode, one at a time; any thread may call."""

    def __init__(self, connect: Callable[[], StoreClient], cluster: str, member: Membership) -> None:
        """`connect` gives a client; it is called anew after an error."""
        self._connect = connect
        self._client: StoreClient | None = None
        self._member = member
        self._lock = RLock()
        self._tag = "{cq:" + cluster + "}"

    @property
    def node(self) -> str:
        """What this node is called there."""
        return self._member.node

    def take(self, span: IntervalSpan, divisor: int, requests: Sequence[SliceRequest]) -> TakenSlices:
        """Take slices, and be heard of; `divisor` is by how many this node divides limits while it is alone.

        0 is not known yet, and negative: it accepts nothing, or all, so nothing is to be kept back for it.
        """
        member = self._member
        args: list[Any] = [member.node, divisor, span.start, span.length, member.lapse, member.forget]
        for request in requests:
            args += (request.digest, request.limit, request.wanted)
        keys = (self.key("server"), self.key("members"), self._flow(span))
        now, nodes, share, status, *points = self.call("cq1_take", keys, args)
        return TakenSlices(now, nodes, share, SliceStatus(status), tuple(points))

    def hand_back(self, span: IntervalSpan, slices: Sequence[tuple[bytes, int]]) -> None:
        """Hand back points that were taken, by digest."""
        self.call("cq1_hand_back", (self._flow(span),), [part for one in slices for part in one])

    def look(self, span: IntervalSpan, digests: Sequence[bytes]) -> tuple[list[bytes | None], list[bytes | None]]:
        """What was given out in an interval of the limits of namespaces, and what they hold, as it is kept."""
        given, held = self.call("cq1_look", (self._flow(span), self.key("usage")), digests)
        return given, held

    def ping(self) -> None:
        """Fail with StoreError where the store cannot be asked; it is told nothing."""
        self.call("cq1_ping", (self.key("members"),), [])

    def leave(self) -> None:
        """Be no member any more: nothing will be accepted here from now on."""
        self.call("cq1_leave", (self.key("members"),), [self._member.node])

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            client, self._client = self._client, None
        close = getattr(client, "close", None)
        if close is not None:
            with suppress(ValkeyError, OSError):
                close()

    def key(self, what: str) -> str:
        """A key of the cluster."""
        return f"{self._tag}:{what}"

    def _flow(self, span: IntervalSpan) -> str:
        return self.key(f"flow:{span.length}:{span.number}")

    def call(self, function: str, keys: Sequence[str], args: Sequence[Any]) -> Any:  # noqa: ANN401 - as it comes
        """Call a function, loading it first where the store does not know it; StoreError where that fails."""
        with self._lock:
            return self._call(function, keys, args)

    def _call(self, function: str, keys: Sequence[str], args: Sequence[Any]) -> Any:  # noqa: ANN401 - the same
        """The same, for one thread at a time."""
        try:
            if self._client is None:
                self._client = self._connect()
            try:
                return self._client.fcall(function, len(keys), *keys, *args)
            except ResponseError as error:
                if "unction not found" not in str(error):
                    raise
                self._client.function_load(functions(), replace=True)
                return self._client.fcall(function, len(keys), *keys, *args)
        except (ValkeyError, OSError) as error:
            self.close()
            raise StoreError(kind_of(error), str(error)) from error


def functions() -> str:
    """The library of functions."""
    folder = resources.files("carbonquota.cluster")
    return "".join(folder.joinpath(name).read_text() for name in FUNCTIONS)


_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (AuthenticationError, "password"),
    (AuthorizationError, "password"),
    (NoPermissionError, "permission"),
    (ReadOnlyError, "read_only"),
    (OutOfMemoryError, "full"),
    (valkey.exceptions.BusyLoadingError, "loading"),
    (MasterNotFoundError, "away"),
    (SlowError, "slow"),
    (AwayError, "away"),
    (OSError, "away"),
)


def kind_of(error: Exception) -> str:
    """Which of `REMEDIES` an error of the client library is."""
    text = str(error)
    if "OOM" in text or "maxmemory" in text:
        return "full"
    if "READONLY" in text or "read only replica" in text:
        return "read_only"
    if "NOREPLICAS" in text:
        return "alone"
    if "NOPERM" in text or "ACL failure" in text:
        return "permission"
    return next((kind for type_, kind in _KINDS if isinstance(error, type_)), "failed")


def connector(url: str, timeout: float, password: str = "") -> Callable[[], StoreClient]:
    """Makes clients for a URL, as `store_url` reads it; `timeout` in seconds bounds each round trip.

    The `password` is for a URL that has none.
    """
    target = read_store_url(url)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    options["retry"] = Retry(NoBackoff(), 0)
    if target.kind == "single":
        own: dict[str, Any] = {"password": password} if password else {}
        return lambda: valkey.Valkey.from_url(target.url, **options, **own)
    password = target.password or password
    login: dict[str, Any] = {"username": target.user or "default", "password": password} if password else {}
    if target.kind == "sentinel":
        return lambda: Sentinel(target.hosts, sentinel_kwargs=options).master_for(target.service, **options, **login)
    nodes = [ClusterNode(host, port) for host, port in target.hosts]
    return lambda: ValkeyCluster(startup_nodes=nodes, **options, **login)


def async_connector(url: str, timeout: float, password: str = "") -> Callable[[], Any] | None:
    """Makes connections for an event loop to the one server of a URL; None where the library has to look for it."""
    target = read_store_url(url)
    if target.kind != "single":
        return None
    own: dict[str, Any] = {"password": password} if password else {}
    pool = AsyncPool.from_url(target.url, socket_timeout=timeout, socket_connect_timeout=timeout, **own)
    make: Callable[[], Any] = pool.make_connection
    return make
