"""A node of slices mode at work: one thread that asks the store until it is stopped.

This is an edge of the process: whatever a tick raises is counted and logged, and the next tick goes on.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Final

from carbonquota.cluster.look import Look
from carbonquota.cluster.prepaid import PrepaidEngine, PrepaidNode
from carbonquota.cluster.settings import ClusterSettings
from carbonquota.cluster.store import Membership, Store, StoreError, connector
from carbonquota.errors import QuotaError
from carbonquota.model import Clock
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.trie.columns import Column

_log = logging.getLogger(__name__)

_SHORTEST_WAIT: Final = 0.005
"""Seconds between two ticks that are hurried."""

_END_TIMEOUT: Final = 10.0
"""Seconds that the thread has to end."""


class PrepaidService:
    """One node of slices mode. `start` and `stop` are for one thread, the rest is for any."""

    def __init__(
        self, settings: ClusterSettings, engine: PrepaidEngine, length: float, clock: Clock = time.time, node: str = ""
    ) -> None:
        """`length` is that of an interval, and `clock` the engine's. QuotaError where the store's URL is none.

        `node` is what this one is called, the same after a restart, so that it is no new member then.
        """
        member = member_of(node)
        try:
            connect = connector(settings.store, settings.store_timeout, read_password(settings.store_password_file))
        except ValueError as error:
            raise QuotaError(f"[cluster] store: {error}") from error
        self._store = Store(connect, settings.name, member)
        self._node = PrepaidNode(
            engine,
            self._store,
            cluster=settings.name,
            length=length,
            clock=clock,
            on_outage=settings.on_outage,
            lapse=member.lapse / 1000,
            steady=time.monotonic,
        )
        self._look = Look(Store(connect, settings.name, member), settings.name, length, clock)
        self._settings = settings
        self._thread: Thread | None = None
        self._stopping, self._due = Event(), Event()
        self._notices = BoundedLog(_log, time.monotonic)
        self._told = ""
        self._on_answer: Callable[[], object] = bool
        self._failures = 0
        self._seconds = 0.0

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why the cluster does not do as it should; empty if it does."""
        node = self._node
        if not node.trouble:
            return ()
        if self._settings.on_outage != "share" or not (seconds := node.clock_set_by):
            return (f"cluster: {node.trouble}",)
        return (
            f"cluster: {node.trouble}",
            f"cluster: the clock was set by {seconds:+.1f} s meanwhile, so this node has no share of the limits",
        )

    @property
    def shares_capacities(self) -> bool:
        """Whether what is held is counted over all nodes: as far as daemons claim it."""
        return True

    def start(self) -> None:
        """Begin. A store that is away does not keep a node from starting."""
        self._attempt()
        self._thread = Thread(target=self._run, name="carbonquota-cluster", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End: what is left is handed back."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(_END_TIMEOUT)
            self._thread = None

    @property
    def spent(self) -> Column | None:
        """The namespaces, by their births, of whose limits nothing is left in the store; None: it gives nothing now."""
        return None if self._node.trouble else self._node.spent

    def on_answer(self, call: Callable[[], object]) -> None:
        """Have this called, on the cluster's thread, after each tick; to be set before `start`."""
        self._on_answer = call

    def over_all_nodes(
        self, names: Sequence[str], own: Sequence[Column], interval: float | None = None
    ) -> Sequence[Column]:
        """The usage over all nodes of namespaces that use `own` here; StoreError where the store is away."""
        return self._look.over_all_nodes(names, own, interval)

    def hurry(self) -> None:
        """Have the next tick come at once, as points wait for it."""
        self._due.set()

    def _run(self) -> None:
        """Tick until it is stopped."""
        while not self._stopping.is_set():
            if self._due.wait(self._settings.sync_interval):
                self._stopping.wait(_SHORTEST_WAIT)
            self._due.clear()
            self._attempt()
            self._on_answer()
        try:
            self._node.close()
        except StoreError as error:
            _log.warning("cluster: what is left of the limits here cannot be handed back: %s", error)
        self._store.close()
        self._look.close()

    def _attempt(self) -> None:
        """One tick; a bug in it is counted, and costs no more than that tick."""
        started = time.perf_counter()
        try:
            self._node.tick()
        except Exception:  # noqa: BLE001 - the edge of the process, where a bug is counted
            self._failures += 1
            self._notices.exception("tick", "internal error: a tick of the cluster failed; it goes on")
        self._seconds = time.perf_counter() - started
        self._tell()

    def _tell(self) -> None:
        """Log when an outage begins and when it ends."""
        trouble = self._node.trouble
        if bool(trouble) != bool(self._told):
            if trouble:
                _log.error("cluster: %s; %s", trouble, _OUTAGES[self._settings.on_outage])
            else:
                _log.info("cluster: the store is back")
        self._told = trouble

    def health(self) -> Iterator[HealthSample]:
        """How the node and its store are."""
        node = self._node
        yield HealthSample("cluster_nodes", node.nodes)
        yield HealthSample("cluster_namespaces", node.namespaces)
        yield HealthSample("cluster_store_up", not node.trouble)
        yield HealthSample("cluster_store_seconds", self._seconds)
        yield HealthSample("cluster_store_skew", node.skew)
        for what, points in Counter(node.points).items():
            yield HealthSample("cluster_slices", points, what)
        for kind, count in Counter(node.outages).items():
            yield HealthSample("cluster_outages", count, kind)
        yield HealthSample("internal_errors", self._failures, "cluster")


def member_of(node: str) -> Membership:
    """How the store knows a node of this name: the same after a restart; without one, another each time."""
    return Membership(uuid.uuid5(uuid.NAMESPACE_URL, node).hex if node else uuid.uuid4().hex)


def read_password(path: str, setting: str = "[cluster] store-password-file") -> str:
    """The store's password from its file, which may end its line; QuotaError where it cannot be read."""
    if not path:
        return ""
    try:
        password = Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise QuotaError(f"{setting}: {path}: {getattr(error, 'strerror', None) or error}") from error
    if not password:
        raise QuotaError(f"{setting}: {path}: it is empty: write the password into it")
    return password


_OUTAGES: Final = {
    "share": "from the next interval on this node lives on its share of each limit",
    "accept": "from the next interval on this node accepts the whole of each limit",
    "reject": "this node accepts what it has taken already, and no more",
}
"""What goes on without the store, by `on-outage`."""
