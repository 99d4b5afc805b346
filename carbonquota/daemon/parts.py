"""The daemon's parts, made from its settings and wired to one another; nothing is opened here.

This is the one place that knows which part needs which. First the rules and the engine; then the way of a data point
from its end to its beginning: sink, intake, receivers; then what looks on: state, scan, reports, health, HTTP.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from carbonquota.daemon.held_lines import Grantor, HeldLines
from carbonquota.daemon.http import HttpServer, ReloadOutcome, Source, make_app
from carbonquota.daemon.intake import Intake
from carbonquota.daemon.loop_watch import LoopWatch
from carbonquota.daemon.receivers import Receivers
from carbonquota.daemon.relay import RelaySink
from carbonquota.daemon.settings import Settings
from carbonquota.daemon.sink import Sink
from carbonquota.daemon.systemd import Systemd
from carbonquota.daemon.vitals import Vitals
from carbonquota.daemon.whisper import WhisperSink
from carbonquota.engine import QuotaEngine
from carbonquota.errors import InputError
from carbonquota.model import Clock, throughput_per_interval
from carbonquota.rules.expressions import Search, search_here
from carbonquota.service.expiry import Expiry
from carbonquota.service.exposition import Exposition
from carbonquota.service.health import Health
from carbonquota.service.patterns import PatternGuard
from carbonquota.service.reporter import OWN_STATS, Emitter, Reporter, Timetable
from carbonquota.service.rulebook import LoadedRules, Rulebook, RuleFiles, load_rules
from carbonquota.service.scan import Scanner, Settle, Tree
from carbonquota.service.state import StateKeeper
from carbonquota.service.throttling import ThrottleLog
from carbonquota.service.watch import FileWatch
from carbonquota.stats.statsd import StatsDEmitter
from carbonquota.storage.paths import storable_below

if TYPE_CHECKING:
    from carbonquota.cluster.prepaid_service import PrepaidService
    from carbonquota.cluster.service import SyncService


class Parts:
    """Everything that a daemon is made of."""

    def __init__(self, settings: Settings, clock: Clock, settle: Settle) -> None:
        """Read the rules, and make the rest; ConfigError where the rules or schemas are bad.

        `settle` calls a function on the event loop's thread.
        """
        self.settings = settings
        self.clock = clock
        self.patterns = PatternGuard()
        files = rule_files(settings, self.patterns)
        # Made before the files are read, so that no change falls in between.
        self.watch = FileWatch(files.paths, lambda settled: self.rulebook.reload("a file changed", settled))
        loaded = load_rules(files)
        self.engine = make_engine(settings, loaded, clock)
        interval, unit = _interval(settings), settings.carbonserver.throughput_unit
        self.rulebook = Rulebook(self.engine, loaded, clock=clock, interval=interval, throughput_unit=unit)
        self.throttling = ThrottleLog(
            clock,
            creates_limit=settings.carbonserver.max_creates_per_second,
            in_force=lambda limit: throughput_per_interval(limit, interval, unit),
        )
        self.whisper = self._make_whisper(loaded) if settings.whisper.enabled else None
        self.sink: Sink = self.whisper or RelaySink(settings.relay, time.monotonic, self._on_room)
        state = settings.state
        self.state = StateKeeper(state.directory, self.engine, clock) if state.enabled else None
        write_ahead = self.state.write_ahead if self.state is not None else bool
        self.cluster = self._make_cluster()
        observers = [self.throttling.note]
        # Where limits are prepaid, lines may wait for more.
        held = HeldLines(self.engine, self.cluster) if is_grantor(self.cluster) else None
        self.intake = Intake(self.engine.admit, self.sink, write_ahead=write_ahead, observers=observers, held=held)
        self.receivers = Receivers(settings, self.intake)
        self.expiry = Expiry(self.engine, state.series_ttl, clock)
        self.scanner = self._make_scanner(settle) if self.whisper is not None else None
        self.systemd = Systemd(os.environ, time.monotonic)
        self.loop_watch = LoopWatch(time.monotonic, self.systemd.alive)
        self.vitals = Vitals(
            self.engine, self.rulebook, clock, troubles=self._troubles, failing=lambda: self.loop_watch.failing
        )
        self.health = self._make_health()
        self.reporter = self._make_reporter()
        self.http = self._make_http() if settings.carbonserver.enabled else None

    def _make_scanner(self, settle: Settle) -> Scanner:
        """What brings the index in line with the Whisper files."""
        assert self.whisper is not None  # noqa: S101 - there is nothing to scan else
        settings, sink = self.settings, self.whisper
        # What else there is below the prefix came from senders, and quotas hold it.
        exempt = tuple(f"{settings.common.graph_prefix}.{kind}." for kind in OWN_STATS)
        ttl = settings.state.series_ttl
        tree = Tree(
            settings.whisper.data_dir,
            exempt,
            ttl,
            sink.is_pending,
            is_settled=self.expiry.is_settled,
            directory=sink.directory,
        )
        return Scanner(tree, self.engine, settle=settle, clock=self.clock)

    def _make_cluster(self) -> SyncService | PrepaidService | None:
        """What counts throughput together with other nodes; InputError where its package is not installed."""
        settings = self.settings.cluster
        if settings.mode == "off":
            return None
        try:
            # Not imported where it is off, as its packages may not be there.
            name = "prepaid_service.PrepaidService" if settings.mode == "slices" else "service.SyncService"
            module, _, service = name.partition(".")
            make = getattr(importlib.import_module(f"carbonquota.cluster.{module}"), service)
        except ModuleNotFoundError as error:
            raise InputError(
                f"[cluster] needs the package {error.name}: install carbonquota with its extra cluster"
            ) from None
        cluster: SyncService | PrepaidService = make(
            settings,
            self.engine,
            _interval(self.settings),
            self.clock,
            node=f"{socket.gethostname()}:{self.settings.source}",
        )
        return cluster

    def _make_health(self) -> Health:
        """What all parts say of themselves; the reporter adds its own."""
        parts = (
            self.intake,
            self.sink,
            self.receivers,
            self.rulebook,
            self.patterns,
            self.watch,
            self.vitals,
            self.loop_watch,
            self.state,
            self.scanner,
            self.expiry,
            self.cluster,
        )
        return Health([part.health for part in parts if part is not None])

    def _troubles(self) -> tuple[str, ...]:
        """Why the daemon works less well."""
        parts = (self.state, self.patterns, self.sink, self.scanner, self.cluster)
        # One cause may be a trouble of several parts.
        return tuple(dict.fromkeys(text for part in parts if part is not None for text in part.troubles))

    def _make_reporter(self) -> Reporter:
        """What makes the reports."""
        timetable = Timetable(_interval(self.settings), self.clock)
        prefix = self.settings.common.graph_prefix
        return Reporter(self.engine, self.health, prefix, timetable=timetable, emitters=make_emitters(self.settings))

    def _make_http(self) -> HttpServer:
        """The HTTP side."""
        most = self.settings.carbonserver.prometheus_max_namespaces
        exposition = Exposition(self.reporter, self.health, self.vitals.version, most=most)
        source = Source(self.engine, self.health, exposition.pieces, self.vitals.standing, self._reload)
        server = self.settings.carbonserver
        return HttpServer(make_app(source, (server.listen.host, *server.allowed_hosts)), server.listen)

    def _reload(self) -> ReloadOutcome:
        """Reload for somebody who asked over HTTP."""
        result = self.rulebook.reload("a request over HTTP")
        return ReloadOutcome(result.ok, result.error or f"{result.outcome.value}: {_rules(result.rules)} in force")

    def _make_whisper(self, loaded: LoadedRules) -> WhisperSink:
        """The embedded store."""
        state = self.settings.state
        sink = WhisperSink(
            self.settings,
            loaded.schemas,
            loaded.aggregations,
            on_room=self._on_room,
            clock=self.clock,
            leftovers=str(Path(state.directory) / "unwritten") if state.enabled else None,
            on_unstored=self.engine.forget,
        )
        self.rulebook.on_schemas(lambda schemas: sink.replace(schemas, self.rulebook.loaded.aggregations))
        self.rulebook.on_aggregations(lambda aggregations: sink.replace(self.rulebook.loaded.schemas, aggregations))
        return sink

    def _on_room(self) -> None:
        """The sink has room again."""
        self.intake.on_room()


def is_grantor(cluster: object) -> TypeGuard[Grantor]:
    """Whether the cluster takes slices; its class may not be imported here."""
    return hasattr(cluster, "on_answer")


def _rules(number: int) -> str:
    return f"{number:,} rule{'' if number == 1 else 's'}"


def _interval(settings: Settings) -> float:
    """The seconds of a report interval."""
    return settings.carbonserver.quota_usage_report_frequency


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


def make_engine(settings: Settings, loaded: LoadedRules, clock: Clock) -> QuotaEngine:
    """The engine, under the rules that were read."""
    server, state = settings.carbonserver, settings.state
    return QuotaEngine(
        loaded.rules,
        size_of=loaded.schemas.size_of,
        clock=clock,
        interval=server.quota_usage_report_frequency,
        throughput_unit=server.throughput_unit,
        record_changes=state.enabled,
        keep_seen=state.series_ttl > 0,
        max_creates_per_second=server.max_creates_per_second or None,
        # Only the store decides what can be stored: what another will make of it is not known here.
        storable=storable_below(settings.whisper.data_dir) if settings.whisper.enabled else None,
        prepaid=settings.cluster.mode == "slices",
    )


def make_emitters(settings: Settings) -> list[Emitter]:
    """Where reports go beside the sink."""
    statsd = settings.statsd
    if not statsd.enabled:
        return []
    prefix = statsd.prefix or settings.common.graph_prefix
    return [StatsDEmitter(statsd.address.host, statsd.address.port, prefix)]
