"""A node of sync mode at work: one thread that publishes, hears and looks up peers until it is stopped.

This is an edge of the process: whatever a round raises is counted and logged, and the next round goes on.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, cast

import zmq

from carbonquota.cluster.claiming import DeclaringEngine
from carbonquota.cluster.gate import Batches
from carbonquota.cluster.make import OnLoop
from carbonquota.cluster.messages import Run
from carbonquota.cluster.peers import endpoints
from carbonquota.cluster.publish import Key, Publisher, key_of
from carbonquota.cluster.settings import LOOK_UP_INTERVAL, ClusterSettings
from carbonquota.cluster.shared_stocks import SharedStocks
from carbonquota.cluster.sync import SharingEngine, SyncNode
from carbonquota.cluster.sync_stocks import StockNode
from carbonquota.errors import QuotaError
from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.trie.columns import Column

_log = logging.getLogger(__name__)

_MOST_SKEW: Final = 1.0
"""Seconds that a node's clock may be off before that is told."""

_MOST_AGE: Final = 5.0
"""Seconds since a node's last message from which on its clock is not spoken of."""

_LONGEST_WAIT: Final = 1.0
"""Seconds after which a stop is noticed at the latest."""


class SyncService:
    """One node of sync mode. `start` and `stop` are for one thread, `health` is for any.

    Where `bind` was called before the start, what is held is shared as well; the engine must hold new metrics back
    then, and `hold_back` is for the thread that batches are decided on.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        engine: SharingEngine,
        length: float,
        clock: Clock = time.time,
        *,
        node: str = "",
        on_loop: OnLoop | None = None,
    ) -> None:
        """`length` is that of an interval, and `clock` the engine's. QuotaError where the key cannot be read.

        `node` is what this one is called, the same after a restart. `on_loop` calls a function where batches are
        decided on.
        """
        self._settings = settings
        self._key = read_key(settings.key_file) if settings.key_file else None
        name = uuid.uuid5(uuid.NAMESPACE_URL, node).bytes if node else os.urandom(16)
        self._own = Run(name, time.time_ns())
        self._node = SyncNode(engine, self._own, settings.name, length, clock)
        self._stocks: SharedStocks | None = None
        self._engine, self._on_loop = engine, on_loop
        self._clock = clock
        self._publisher: Publisher | None = None
        self._thread: Thread | None = None
        self._stopping = Event()
        self._notices = BoundedLog(_log, time.monotonic)
        self._endpoints: frozenset[str] = frozenset()
        self._next_tick = self._next_look_up = 0.0
        self._sent = self._heard = self._failures = 0

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why the cluster does not do as it should; empty if it does."""
        far = [peer for peer in self._node.peers() if abs(peer.skew) > _MOST_SKEW and peer.age < _MOST_AGE]
        skews = (f"cluster: the clock of node {short(peer.run)} is {peer.skew:+.1f} s off: mend NTP" for peer in far)
        return (*skews, *(self._stocks.troubles if self._stocks is not None else ()))

    @property
    def endpoint(self) -> str:
        """Where it listens, once it is started."""
        return "" if self._publisher is None else self._publisher.endpoint

    @property
    def shares_capacities(self) -> bool:
        """Whether what is held is counted over all nodes."""
        return self._stocks is not None

    def over_all_nodes(
        self, names: Sequence[str], own: Sequence[Column], interval: float | None = None
    ) -> Sequence[Column]:
        """The usage over all nodes of namespaces that use `own` here."""
        columns = self._node.over_all_nodes(names, own, interval)
        return columns if self._stocks is None else self._stocks.over_all_nodes(names, columns)

    def bind(self, batches: Batches[Any], finish: Callable[[], None]) -> None:
        """Share what is held, and have what was held back decided in this way; all is finished at the end."""
        if self._on_loop is None:
            raise ValueError("what is held is shared by who tells where batches are decided on")
        node = StockNode(cast("DeclaringEngine", self._engine), self._own, self._settings.name, time.monotonic)
        self._stocks = SharedStocks(node, batches, self._on_loop, finish)

    def hold_back(self, items: Sequence[Any]) -> None:
        """Decide on new metrics by what all nodes hold, or have them wait until that is known."""
        if self._stocks is not None:
            self._stocks.hold_back(items)

    def start(self) -> None:
        """Listen, and begin; QuotaError where it cannot listen."""
        listen = self._settings.listen
        try:
            self._publisher = Publisher(
                f"tcp://{_to_bind(listen)}",
                self._node.codec.longest,
                self._key,
                self._own.node,
                self._settings.sync_interval / 2,
            )
        except zmq.ZMQError as error:
            raise QuotaError(
                f"[cluster] listen: cannot listen at {listen}: {error.strerror or error}: "
                "choose an address of this machine, and a port that is free"
            ) from error
        self._thread = Thread(target=self._run, args=(self._publisher,), name="carbonquota-cluster", daemon=True)
        self._thread.start()
        _log.info("cluster %s: listening for other nodes on %s", self._settings.name, listen)

    def stop(self) -> None:
        """End; the others go on counting what was accepted here until the interval ends."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._stocks is not None:
            self._stocks.close()

    def _run(self, publisher: Publisher) -> None:
        """Publish and hear until it is stopped."""
        try:
            while not self._stopping.is_set():
                self._attempt(publisher)
            self._publish(publisher, full=True)
        finally:
            publisher.close()

    def _attempt(self, publisher: Publisher) -> None:
        """One round; a bug in it is counted, and costs no more than that round."""
        try:
            self._round(publisher)
        except Exception:  # noqa: BLE001 - the edge of the process, where a bug is counted
            self._failures += 1
            self._notices.exception("round", "internal error: a round of the cluster failed; it goes on")
            self._stopping.wait(self._settings.sync_interval)

    def _round(self, publisher: Publisher) -> None:
        """Look up who the peers are, hear them until the next tick, and publish."""
        now = time.monotonic()
        if now >= self._next_look_up:
            self._next_look_up = now + LOOK_UP_INTERVAL
            self._look_up(publisher)
        messages, joined = publisher.receive(min(max(self._next_tick - now, 0.0), _LONGEST_WAIT))
        self._heard += len(messages)
        if self._stocks is not None:
            messages = self._stocks.hear(messages)
            self._send(publisher, self._stocks.replies())
        self._node.hear(messages)
        if joined or time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + self._settings.sync_interval
            self._publish(publisher, full=joined)

    def _publish(self, publisher: Publisher, *, full: bool) -> None:
        """Tell the others what changed."""
        data = self._node.tick(full=full)
        if data is not None:
            self._sent += 1
            publisher.publish(data)
        if self._stocks is not None:
            self._send(publisher, self._stocks.tick(len(self._endpoints), len(publisher.connected), joined=full))

    def _send(self, publisher: Publisher, messages: Iterable[bytes]) -> None:
        """Publish these."""
        for message in messages:
            self._sent += 1
            publisher.publish(message)

    def _look_up(self, publisher: Publisher) -> None:
        """Connect to the peers as they are now, and anew to those that are not heard."""
        self._endpoints, failures = endpoints(self._settings.peers, _addresses, self._endpoints)
        for failure in failures:
            self._notices.warning(failure, "cluster: a peer's name cannot be looked up: %s", failure)
        publisher.retry()
        publisher.connect_to(self._endpoints)

    def health(self) -> Iterator[HealthSample]:
        """How the node and its peers are."""
        peers = self._node.peers()
        yield HealthSample("cluster_nodes", self._node.nodes)
        yield HealthSample("cluster_namespaces", self._node.namespaces)
        yield HealthSample("cluster_sent", self._sent)
        yield HealthSample("cluster_heard", self._heard)
        yield HealthSample("cluster_missed", self._node.missed)
        yield HealthSample("cluster_overshoot", self._node.overshoot)
        yield HealthSample("cluster_overshoot_bound", self._node.bound)
        for peer in peers:
            yield HealthSample("cluster_peer_age", peer.age, short(peer.run))
            yield HealthSample("cluster_peer_skew", peer.skew, short(peer.run))
        faults = Counter(self._node.faults)
        if self._stocks is not None:
            faults += self._stocks.faults
            yield from self._stocks.health()
        for fault, count in faults.items():
            yield HealthSample("cluster_refused", count, fault)
        yield HealthSample("internal_errors", self._failures, "cluster")


def short(run: Run) -> str:
    """What a node is called in stats and messages: the beginning of its random name."""
    return run.node.hex()[:8]


def read_key(path: str) -> Key:
    """The cluster's key, from a file that holds the secret one; QuotaError says what is wrong with it."""
    try:
        return key_of(Path(path).read_bytes().strip())
    except OSError as error:
        raise QuotaError(f"[cluster] key-file: {path}: {error.strerror}") from error
    except ValueError as error:
        raise QuotaError(f"[cluster] key-file: {path}: {error}: make one with `carbonquota cluster-key`") from error


def _to_bind(listen: str) -> str:
    """An address as ZeroMQ binds it: all interfaces are `*`, and a name is looked up."""
    host, _, port = listen.rpartition(":")
    if not host:
        return f"*:{port}"
    if host.startswith("["):
        return listen
    try:
        return f"{socket.gethostbyname(host)}:{port}"
    except OSError:
        return listen


def _addresses(name: str) -> Iterable[str]:
    """Every address of a name."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
