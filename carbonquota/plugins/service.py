"""Quotas inside carbon: a runtime, the processor that asks it, and their life as a twisted service among carbon's own.

Theory of operation. Carbon makes its services, becomes a daemon, and starts them: so this is made before the fork
and started after it, and no thread is begun before. Points are decided on the reactor's thread. All that waits for a
disk or takes long (state, scan, report, expiry) runs on the reactor's threads; the watch on files has its own.

Where no state was kept, the index is not known before the first scan: until it is done, carbon's sockets are open, but
nothing is read from them, so that no metric that has a file is taken for a new one.

At the end, everything that runs is waited for while the reactor still serves it. The state is closed after all
connections are, as it must know every metric that was accepted.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from carbon.pipeline import Processor
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from carbonquota.client.fleet_member import FleetMember
from carbonquota.cluster.held_points import HeldPoints, HoldBounds, Timers, is_grantor
from carbonquota.cluster.make import make_service, shares_capacities
from carbonquota.errors import QuotaError
from carbonquota.model import Clock
from carbonquota.plugins.cache import StatsWriter
from carbonquota.plugins.decisions import Decisions
from carbonquota.plugins.point_batches import PointBatches
from carbonquota.plugins.processors import Point, QuotaProcessor, Store
from carbonquota.plugins.schemas import read_schemas, warn_of_slow
from carbonquota.plugins.settings import CarbonHost, QuotaSettings
from carbonquota.rules.expressions import Search, search_here
from carbonquota.service.lifecycle import Lifecycle
from carbonquota.service.periodic_tasks import PeriodicTasks
from carbonquota.service.reporter import Piece
from carbonquota.service.rule_source import RuleFiles
from carbonquota.service.runtime import HostProfile, Runtime
from carbonquota.service.scan import OnDataThread, Tree
from carbonquota.service.state import StateKeeper
from carbonquota.storage.paths import hashed_path_of, readable_path_of, storable_below

_log = logging.getLogger(__name__)

_CREATES: Final = "QUOTA_MAX_CREATES_PER_SECOND"

_BOUNDS: Final = HoldBounds(size=1_048_576)
"""What waits for more of a limit: bytes of names, beside each of which its point takes some 250 bytes."""

Reactor = Any
"""A reactor of twisted, or a clock of it; their interfaces tell type checkers nothing."""


@dataclass(frozen=True, slots=True)
class Carbon:
    """What carbon gives: the processor that stores or relays, and its thread, the reactor's.

    `store_plain` is what that processor calls with a point whose metric has no tags, None where that is not known.
    `room` tells how many points it takes before senders have to wait.
    `on_data_thread` calls a function on that thread and waits for it, from any other; `soon` calls it there when the
    reactor has done what it is at; `timers` are the reactor's. `is_pending` tells there whether points of a metric wait
    to be written.
    """

    sink: Processor
    store_plain: Store | None
    room: Callable[[], float]
    on_data_thread: OnDataThread
    soon: Callable[[Callable[[], None]], object]
    is_pending: Callable[[str], bool]
    timers: Timers


class CarbonParts:
    """The runtime inside one carbon daemon, and the processor that asks it about every point."""

    def __init__(self, settings: QuotaSettings, host: CarbonHost, carbon: Carbon, clock: Clock) -> None:
        """Read the rules, and make the rest; ConfigError where the rules or schemas are bad."""
        self.data_dir = host.data_dir
        path_of = hashed_path_of if host.hashes_tags else readable_path_of
        storable = storable_below(host.data_dir, path_of) if host.data_dir else None
        profile = HostProfile(
            lambda search: rule_files(settings, host, search),
            host.stats_prefix,
            storable=storable,
            creates_key=_CREATES,
            prepaid=settings.cluster.mode == "slices",
            hold_new=settings.cluster.mode != "off",
            steady=monotonic if settings.cluster.mode == "slices" else None,
        )
        node = f"{socket.gethostname()}:{settings.runtime.state_dir}:{host.stats_prefix}"
        kept_at = str(Path(settings.runtime.state_dir) / "hub-rules.json") if settings.runtime.state_enabled else ""
        fleet = FleetMember(settings.hub, node, kept_at)
        self.runtime = runtime = Runtime(settings.runtime, fleet.profile(profile), clock)
        self.follower = fleet.follower(runtime)
        cluster = make_service(settings.cluster, runtime, node, on_loop=carbon.on_data_thread)
        runtime.join(cluster, reports_all=settings.cluster.reports == "cluster")
        waiting: HeldPoints[list[Point]] | None = None
        if is_grantor(cluster):
            waiting = HeldPoints(runtime.engine, cluster, carbon.timers, bounds=_BOUNDS)
        times = (storable.earliest, storable.latest) if storable is not None else None
        decisions = Decisions(
            runtime.engine,
            note=runtime.throttling.note,
            write_ahead=runtime.write_ahead,
            times=times,
            holds_new=shares_capacities(cluster),
        )
        decisions.holder = waiting
        self.processor = QuotaProcessor(
            decisions,
            carbon.sink,
            soon=carbon.soon,
            room=carbon.room,
            store_plain=carbon.store_plain,
            waiting=waiting,
        )
        if shares_capacities(cluster):
            cluster.bind(PointBatches(decisions, self.processor.hand_on), self.processor.finish)
            self.processor.hold_back = cluster.hold_back
        runtime.add_parts(self.processor)
        if host.data_dir:
            ttl, is_clock_trusted = settings.runtime.series_ttl, runtime.expiry.is_clock_trusted
            tree = Tree(host.data_dir, host.own_prefixes, ttl, carbon.is_pending, path_of, is_clock_trusted)
            runtime.scan(tree, carbon.on_data_thread)

    @property
    def has_tree(self) -> bool:
        """Whether there is a directory of Whisper files; carbon makes it with the first of them."""
        return Path(self.data_dir).is_dir()


def rule_files(settings: QuotaSettings, host: CarbonHost, search: Search = search_here) -> RuleFiles:
    """The files that can be changed while carbon runs; `search` is for patterns that may take long."""
    return RuleFiles(
        settings.quotas_file,
        host.schemas_file,
        physical_size_factor=settings.physical_size_factor,
        sparse=host.sparse,
        read_schemas=read_schemas,
        search=search,
    )


class Port(Protocol):
    """A socket that carbon takes points at."""

    def stopReading(self) -> None:  # noqa: N802 - twisted's name
        """Leave what comes in to the system's own queue."""

    def startReading(self) -> None:  # noqa: N802 - twisted's name
        """Take what comes in."""


class QuotaService(Service):
    """Keeps the runtime going while carbon runs."""

    name = "carbonquota"

    def __init__(
        self, parts: CarbonParts, stats: StatsWriter, ports: Callable[[], Iterable[Port]], reactor: Reactor
    ) -> None:
        """Nothing is begun before `startService`; `ports` are asked for when carbon's services have started."""
        self._parts = parts
        self._runtime = parts.runtime
        self._stats = stats
        self._find_ports = ports
        self._reactor = reactor
        self._tasks = ReactorTasks(reactor)
        self._lifecycle = Lifecycle(self._runtime, self._tasks, self)

    def startService(self) -> None:  # noqa: N802 - twisted's name
        """Take back what was kept; the rest begins with the reactor. QuotaError where the state cannot be used."""
        super().startService()
        self._runtime.rulebook.on_expressions(self._runtime.patterns.use)
        self._runtime.rulebook.on_expressions(warn_of_slow)
        self._lifecycle.restore()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._close)
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        """Begin to work, on the reactor's thread."""
        self._join_cluster()
        if self._parts.follower is not None:
            self._parts.follower.start()
        if not self._lifecycle.needs_first_scan:
            self._lifecycle.go_live()
            self._begin_tasks(scan_at_once=True)
            return
        ports = tuple(self._find_ports())
        for port in ports:
            port.stopReading()
        _log.info("nothing is known of a former run, and nothing is received before the first scan is done")
        self._tasks.run_once("first scan", lambda: self._first_scan(ports))

    def _join_cluster(self) -> None:
        """Count together with other nodes from now on; carbon goes on by itself where that cannot be."""
        if self._runtime.cluster is not None:
            try:
                self._runtime.cluster.start()
            except QuotaError as error:
                _log.error("limits are not shared: %s", error)

    async def _first_scan(self, ports: Iterable[Port]) -> None:
        """Fill the index from the Whisper files, and then receive."""
        try:
            if self._parts.has_tree:
                await self._lifecycle.first_scan()
            else:
                _log.info("%s: there is no such directory yet, so there are no metrics", self._parts.data_dir)
                self._lifecycle.go_live()
                await self._lifecycle.keep(StateKeeper.snapshot)
        finally:
            if not self._lifecycle.is_ending:
                self._begin_tasks(scan_at_once=False)
                for port in ports:
                    port.startReading()

    def _begin_tasks(self, *, scan_at_once: bool) -> None:
        """Begin what is periodic; a scan frequency of 0 is one scan, at the start."""
        engine = self._runtime.engine
        self._lifecycle.begin(scan_at_once=scan_at_once)
        if scan_at_once and not self._runtime.settings.scan_frequency:
            self._tasks.run_once("scan", self._lifecycle.scan)
        _log.info("quotas are in force; metrics: %d, rules: %d", len(engine), len(engine.rules.rules))

    async def write_stats(self, piece: Piece) -> None:
        """Give lines of a report to carbon."""
        await self._stats.write(piece.lines)

    async def stop_receiving(self) -> None:
        """Hand on what was gathered; what comes in until all connections are closed is decided on at once."""
        self._parts.processor.end()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - the same
        """End all that runs; fires when it has."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        if self._parts.follower is not None:
            self._parts.follower.stop()
        # At once, while whoever points go on to still takes them: carbon ends its services from the last to the first.
        await self._lifecycle.end()
        await self._lifecycle.keep(StateKeeper.flush)

    def _close(self) -> None:
        """Keep everything a last time; no point comes in any more."""
        self._runtime.patterns.close()
        try:
            self._lifecycle.close_state()
        except Exception:  # noqa: BLE001 - the edge of the process: carbon has more to end than us
            _log.exception("the state could not be closed")


class ReactorTimers:
    """Timers of twisted's reactor."""

    def __init__(self, reactor: Reactor) -> None:
        """Nothing is set yet."""
        self._reactor = reactor

    def after(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        """Call it then; gives what cancels that. For the reactor's thread."""
        cancel: Callable[[], object] = self._reactor.callLater(max(seconds, 0.0), call).cancel
        return cancel

    def soon(self, call: Callable[[], object]) -> None:
        """Call it; for any thread."""
        self._reactor.callFromThread(call)


class ReactorTasks(PeriodicTasks):
    """Periodic tasks on twisted's reactor."""

    def __init__(self, clock: Reactor) -> None:
        """Start without tasks; `clock` is a reactor."""
        super().__init__()
        self._clock = clock
        self._runs: list[Deferred[None]] = []
        self._waits: set[Deferred[None]] = set()
        self._is_stopping = False

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:  # noqa: ARG002 - twisted's have no names
        self._runs.append(Deferred.fromCoroutine(work))

    async def _wait(self, seconds: float) -> bool:
        if self._is_stopping:
            return False
        wait: Deferred[None] = deferLater(self._clock, max(seconds, 0.0))
        self._waits.add(wait)
        with suppress(CancelledError):
            await wait
        self._waits.discard(wait)
        return not self._is_stopping

    def in_thread(self, function: Callable[[], object]) -> Awaitable[object]:
        """Call it on one of the reactor's threads."""
        return deferToThread(function)

    async def stop(self) -> None:
        """Run no task again, and wait for those that are running."""
        self._is_stopping = True
        for wait in tuple(self._waits):
            wait.cancel()
        await DeferredList(self._runs)
