"""The claims of a node at work: the gate of the batches, and a thread that asks the store.

This is an edge of the process: whatever a cycle raises is counted and logged, and the next one goes on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Event, Thread
from typing import Any, Final, Protocol

from carbonquota.cluster import claiming, gate
from carbonquota.cluster.claim_store import ClaimStore
from carbonquota.cluster.claims import ClaimNode
from carbonquota.cluster.gate import Batches, Gate
from carbonquota.cluster.hold import Hold
from carbonquota.cluster.make import OnLoop
from carbonquota.cluster.prepaid_service import PrepaidService, member_of, read_password
from carbonquota.cluster.settings import ClusterSettings
from carbonquota.cluster.store import Store, connector
from carbonquota.errors import QuotaError
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.trie.columns import Column

_log = logging.getLogger(__name__)

_END_TIMEOUT: Final = 10.0
"""Seconds that the thread has to end."""


class ClaimingEngine(claiming.DeclaringEngine, gate.RefusingEngine, Protocol):
    """What is asked of the engine; see `QuotaEngine`."""


class ClaimService:
    """Holds new metrics back until the store has said whether there is room for them.

    `bind` comes first. `hold_back` is for the thread that batches are decided on, where what waits is decided too;
    `start` and `stop` are for any one thread, the latter for another than that, and the rest is for any.
    """

    def __init__(
        self, settings: ClusterSettings, engine: ClaimingEngine, slices: PrepaidService, node: str, on_loop: OnLoop
    ) -> None:
        """QuotaError where the store's URL is none. The engine must hold new metrics back.

        `slices` is what takes slices of the throughput limits; it begins and ends with the claims.
        """
        try:
            connect = connector(settings.store, settings.store_timeout, read_password(settings.store_password_file))
        except ValueError as error:
            raise QuotaError(f"[cluster] store: {error}") from error
        self._store = Store(connect, settings.name, member_of(node))
        self._settings = settings
        self._slices = slices
        self._on_loop = on_loop
        self._finish: Callable[[], None] = lambda: None
        self.on_answer = slices.on_answer
        self.hurry = slices.hurry
        self._engine = engine
        self._thread: Thread | None = None
        self._stopping, self._due = Event(), Event()
        self._notices = BoundedLog(_log, time.monotonic)
        self._failures = 0

    def bind(self, batches: Batches[Any], finish: Callable[[], None]) -> None:
        """Have what is not held back any more decided in this way, and all of it finished at the end."""
        settings, self._finish = self._settings, finish
        self._hold: Hold[Any] = Hold(time.monotonic, batches.size)
        self._gate: Gate[Any] = Gate(self._engine, self._hold, batches, settings.on_outage)
        self._claims = ClaimStore(self._store, settings.name)
        self._node = ClaimNode(
            self._engine,
            self._claims,
            self._hold,
            settle=lambda answer: self._on_loop(partial(self._gate.apply, answer, self._node)),
            clock=time.monotonic,
            on_outage=settings.on_outage,
        )

    @property
    def spent(self) -> Column | None:
        """Of whose throughput limits there is no more."""
        return self._slices.spent

    @property
    def shares_capacities(self) -> bool:
        """What is held is counted over all nodes."""
        return True

    def over_all_nodes(
        self, names: Sequence[str], own: Sequence[Column], interval: float | None = None
    ) -> Sequence[Column]:
        """The usage over all nodes of namespaces that use `own` here; StoreError where the store is away."""
        return self._slices.over_all_nodes(names, own, interval)

    def start(self) -> None:
        """Begin; the index must be known."""
        self._slices.start()
        self._thread = Thread(target=self._run, name="carbonquota-claims", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End: what waits is claimed for the last time, while the event loop goes on."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(_END_TIMEOUT)
            self._thread = None
        self._gate.is_closed = True
        self._on_loop(self._finish)
        self._slices.stop()

    def hold_back(self, items: Sequence[Any]) -> None:
        """Have what is of new metrics wait until the store was asked, if these are under a limit."""
        self._gate.hold_back(items)
        if len(self._hold):
            self._due.set()

    def _run(self) -> None:
        """Ask the store until it is stopped."""
        while not self._stopping.is_set():
            self._attempt(self._node.cycle)
            self._due.wait(self._settings.sync_interval)
            self._due.clear()
        self._attempt(self._node.close)
        self._claims.close()
        self._store.close()

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do it; a bug in it is counted."""
        try:
            work()
        except Exception:  # noqa: BLE001 - the edge of the process, where a bug is counted
            self._failures += 1
            self._notices.exception("cycle", "internal error: claiming new metrics failed; it goes on")
            self._stopping.wait(self._settings.sync_interval)

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why new metrics are not accepted; empty if they are."""
        own = (f"cluster: {self._node.trouble}",) if self._node.trouble else ()
        return tuple(dict.fromkeys((*self._slices.troubles, *own)))

    def health(self) -> Iterator[HealthSample]:
        """What was claimed, and what waits."""
        yield from self._slices.health()
        for what, count in Counter(self._node.counts).items():
            yield HealthSample("cluster_claims", count, what)
        yield HealthSample("cluster_claims_waiting", len(self._hold))
        yield HealthSample("cluster_claims_waiting_bytes", self._hold.size)
        yield HealthSample("cluster_claims_ready", self._node.is_ready)
        yield HealthSample("internal_errors", self._failures, "claims")
