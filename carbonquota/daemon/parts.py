"""The daemon's own parts, made from its settings and wired to the runtime; nothing is opened here.

This is the one place that knows which part needs which: the way of a data point from its end to its beginning (sink,
intake, inputs), then what looks on (scan, cluster, status, HTTP).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from carbonquota.client.fleet_member import FleetMember
from carbonquota.cluster.held_points import HeldPoints, is_grantor
from carbonquota.cluster.line_batches import LineBatches
from carbonquota.cluster.make import make_service, shares_capacities
from carbonquota.controls import Admission
from carbonquota.daemon.http import HttpServer, HttpSource, ReloadAnswer, make_app
from carbonquota.daemon.inputs.receivers import Receivers
from carbonquota.daemon.intake import Intake
from carbonquota.daemon.loop_timers import LoopTimers
from carbonquota.daemon.loop_watch import LoopWatch
from carbonquota.daemon.process_status import ProcessStatus
from carbonquota.daemon.relay import RelaySink
from carbonquota.daemon.settings import Settings
from carbonquota.daemon.sink import Sink
from carbonquota.daemon.whisper import WhisperSink
from carbonquota.model import Clock
from carbonquota.rules.expressions import Search, search_here
from carbonquota.service.exposition import Exposition
from carbonquota.service.rates import RateHistory
from carbonquota.service.reporter import OWN_STATS, Emitter
from carbonquota.service.rule_source import RuleFiles
from carbonquota.service.runtime import HostProfile, Runtime
from carbonquota.service.scan import OnDataThread, Tree
from carbonquota.service.systemd import Systemd
from carbonquota.stats.statsd import StatsDEmitter
from carbonquota.storage.paths import storable_below
from carbonquota.web.make_access import make_access
from carbonquota.web.server import ServerOptions
from carbonquota.web.tls import TlsFiles


class DaemonParts:
    """The runtime, and all that the daemon puts around it."""

    def __init__(self, settings: Settings, clock: Clock, on_data_thread: OnDataThread) -> None:
        """Read the rules, and make the rest; ConfigError where the rules or schemas are bad.

        `on_data_thread` calls a function on the event loop's thread.
        """
        self.settings = settings
        node = f"{socket.gethostname()}:{settings.source}"
        state = settings.state
        kept_at = str(Path(state.directory) / "hub-rules.json") if state.enabled else ""
        fleet = FleetMember(settings.hub, node, kept_at)
        self.runtime = Runtime(settings.runtime, fleet.profile(_profile(settings)), clock)
        self.follower = fleet.follower(self.runtime)
        self.whisper = self._make_whisper() if settings.whisper.enabled else None
        self.sink: Sink = self.whisper or RelaySink(settings.relay, time.monotonic, self._on_room)
        cluster = make_service(settings.cluster, self.runtime, node, on_loop=on_data_thread)
        self.runtime.join(cluster, reports_all=settings.cluster.reports == "cluster")
        self.intake = self._make_intake()
        self.receivers = Receivers(settings.inputs, self.intake)
        self.systemd = Systemd(os.environ, time.monotonic)
        self.loop_watch = LoopWatch(time.monotonic, self.systemd.alive)
        self.status = ProcessStatus(self.runtime, lambda: self.loop_watch.failing)
        self.runtime.add_parts(self.intake, self.receivers, self.loop_watch)
        self.runtime.add_troubled_parts(self.sink)
        if self.whisper is not None:
            self.runtime.scan(self._tree(self.whisper), on_data_thread)
        self.rates = RateHistory(self.intake.health, clock)
        self.tls = TlsFiles(settings.access)
        self.http = self._make_http() if settings.carbonserver.enabled else None

    def _make_intake(self) -> Intake:
        """What has lines decided; where limits are prepaid, lines may wait for more."""
        runtime, cluster = self.runtime, self.runtime.cluster
        capacities = cluster if shares_capacities(cluster) else None
        batches = LineBatches(runtime.engine, self._decide)
        intake = Intake(
            runtime.engine.admit if capacities is None else partial(batches.admit, holder=capacities),
            self.sink,
            write_ahead=runtime.write_ahead,
            observers=[runtime.throttling.note],
            held=HeldPoints(runtime.engine, cluster, LoopTimers()) if is_grantor(cluster) else None,
        )
        if capacities is not None:
            capacities.bind(batches, intake.finish)
        return intake

    def _decide(self, lines: bytes, admit: Callable[[], Admission]) -> Admission | None:
        """Have lines that were held back be decided as all others are."""
        return self.intake.decide(lines, admit)

    def _tree(self, sink: WhisperSink) -> Tree:
        """The Whisper files that the index is kept in line with."""
        settings = self.settings
        # What else there is below the prefix came from senders, and quotas hold it.
        exempt = tuple(f"{settings.common.graph_prefix}.{kind}." for kind in OWN_STATS)
        return Tree(
            settings.whisper.data_dir,
            exempt,
            settings.state.series_ttl,
            sink.is_pending,
            is_clock_trusted=self.runtime.expiry.is_clock_trusted,
            directory=sink.directory,
        )

    def _make_http(self) -> HttpServer:
        """The HTTP side."""
        runtime, server = self.runtime, self.settings.carbonserver
        most = server.prometheus_max_namespaces
        exposition = Exposition(runtime.reporter, runtime.health, self.status.version, most=most)
        source = HttpSource(
            runtime.engine,
            runtime.health,
            exposition.pieces,
            self.status.status,
            self._reload,
            host=socket.gethostname(),
            interval=self.settings.carbonserver.quota_usage_report_frequency,
            findings=runtime.rulebook.findings,
            last_over=lambda: runtime.reporter.last_over,
            rates=self.rates,
            cluster=runtime.cluster,
        )
        access = make_access(self.settings.access)
        if access.file is not None:
            runtime.add_troubled_parts(access.file)
        app = make_app(source, (server.listen.host, *server.allowed_hosts), access)
        options = ServerOptions(tls=self.tls.context(), prepare=app.state.prepare)
        return HttpServer(app, server.listen, options=options)

    def _reload(self) -> ReloadAnswer:
        """Reload for somebody who asked over HTTP."""
        result = self.runtime.rulebook.reload("a request over HTTP")
        return ReloadAnswer(result.ok, result.error or f"{result.outcome.value}: {_rules(result.rules)} in force")

    def _make_whisper(self) -> WhisperSink:
        """The embedded store."""
        state, rulebook = self.settings.state, self.runtime.rulebook
        sink = WhisperSink(
            self.settings,
            rulebook.loaded.schemas,
            rulebook.loaded.aggregations,
            on_room=self._on_room,
            clock=self.runtime.clock,
            leftovers=str(Path(state.directory) / "unwritten") if state.enabled else None,
            on_unstored=self.runtime.engine.forget,
            search=self.runtime.patterns.search_for_files,
        )
        rulebook.on_schemas(lambda schemas: sink.replace(schemas, rulebook.loaded.aggregations))
        rulebook.on_aggregations(lambda aggregations: sink.replace(rulebook.loaded.schemas, aggregations))
        return sink

    def _on_room(self) -> None:
        """The sink has room again."""
        self.intake.on_room()


def _rules(number: int) -> str:
    return f"{number:,} rule{'' if number == 1 else 's'}"


def _profile(settings: Settings) -> HostProfile:
    """What the runtime has to know of the daemon."""
    return HostProfile(
        lambda search: rule_files(settings, search),
        settings.common.graph_prefix,
        # Only the store decides what can be stored: what another will make of it is not known here.
        storable=storable_below(settings.whisper.data_dir) if settings.whisper.enabled else None,
        emitters=make_emitters(settings),
        prepaid=settings.cluster.mode == "slices",
        hold_new=settings.cluster.mode != "off",
        steady=time.monotonic if settings.cluster.mode == "slices" else None,
    )


def rule_files(settings: Settings, search: Search = search_here) -> RuleFiles:
    """The files that can be changed while the daemon runs; `search` is for patterns that may take long."""
    whisper = settings.whisper
    return RuleFiles(
        whisper.quotas_file,
        whisper.schemas_file,
        whisper.aggregation_file,
        whisper.physical_size_factor,
        whisper.sparse_create,
        search=search,
    )


def make_emitters(settings: Settings) -> list[Emitter]:
    """Where reports go beside the sink."""
    statsd = settings.statsd
    if not statsd.enabled:
        return []
    prefix = statsd.prefix or settings.common.graph_prefix
    return [StatsDEmitter(statsd.address.host, statsd.address.port, prefix)]
