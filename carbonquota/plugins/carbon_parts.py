"""What quotas inside carbon are made of, wired to one another; nothing is opened here, and no thread started.

This is the one place that knows which part needs which. It knows no twisted: what belongs to the reactor's thread
comes in as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from carbon.pipeline import Processor

from carbonquota.engine import QuotaEngine
from carbonquota.kernel import KERNEL
from carbonquota.model import Clock, Storable, throughput_per_interval
from carbonquota.plugins.carbon_decisions import Decisions
from carbonquota.plugins.carbon_host import CarbonHost
from carbonquota.plugins.carbon_schemas import read_schemas
from carbonquota.plugins.carbon_settings import QuotaSettings
from carbonquota.plugins.graphite_carbon import QuotaProcessor, Store
from carbonquota.rules.expressions import Search, search_here
from carbonquota.service.expiry import Expiry
from carbonquota.service.health import Health, Sample
from carbonquota.service.patterns import PatternGuard
from carbonquota.service.reporter import Reporter, Timetable
from carbonquota.service.rulebook import LoadedRules, Rulebook, RuleFiles, load_rules
from carbonquota.service.scan import Scanner, Settle, Tree
from carbonquota.service.state import StateKeeper
from carbonquota.service.throttling import ThrottleLog
from carbonquota.service.watch import FileWatch
from carbonquota.storage.paths import hashed_path_of, readable_path_of, storable_below

_CREATES: Final = "QUOTA_MAX_CREATES_PER_SECOND"


@dataclass(frozen=True, slots=True)
class Carbon:
    """What carbon gives: the processor that stores or relays, and its thread, the reactor's.

    `store_plain` is what that processor calls with a point whose metric has no tags, None where that is not known.
    `room` tells how many points it takes before senders have to wait.
    `settle` calls a function on that thread and waits for it, from any other; `soon` calls it there when the reactor
    has done what it is at. `is_pending` tells there whether points of a metric wait to be written.
    """

    sink: Processor
    store_plain: Store | None
    room: Callable[[], float]
    settle: Settle
    soon: Callable[[Callable[[], None]], object]
    is_pending: Callable[[str], bool]


class Parts:
    """Everything that quotas inside one carbon daemon are made of."""

    def __init__(self, settings: QuotaSettings, host: CarbonHost, carbon: Carbon, clock: Clock) -> None:
        """Read the rules, and make the rest; ConfigError where the rules or schemas are bad."""
        self.settings = settings
        self.clock = clock
        self.data_dir = host.data_dir
        self.patterns = PatternGuard()
        files = rule_files(settings, host, self.patterns)
        # Made before the files are read, so that no change falls in between.
        self.watch = FileWatch(files.paths, lambda settled: self.rulebook.reload("a file changed", settled))
        loaded = load_rules(files)
        interval, creates = settings.usage_report_frequency, settings.max_creates_per_second
        path_of = hashed_path_of if host.hashes_tags else readable_path_of
        storable = storable_below(host.data_dir, path_of) if host.data_dir else None
        self.engine = make_engine(settings, loaded, clock, storable)
        unit = settings.throughput_unit
        self.rulebook = Rulebook(self.engine, loaded, clock=clock, interval=interval, throughput_unit=unit)
        self.throttling = ThrottleLog(
            clock,
            creates_limit=creates,
            creates_key=_CREATES,
            in_force=lambda limit: throughput_per_interval(limit, interval, unit),
        )
        self.state = StateKeeper(settings.state_dir, self.engine, clock) if settings.state_enabled else None
        write_ahead = self.state.write_ahead if self.state is not None else bool
        times = (storable.earliest, storable.latest) if storable is not None else None
        decisions = Decisions(self.engine, note=self.throttling.note, write_ahead=write_ahead, times=times)
        self.processor = QuotaProcessor(
            decisions, carbon.sink, soon=carbon.soon, room=carbon.room, store_plain=carbon.store_plain
        )
        self.expiry = Expiry(self.engine, settings.series_ttl, clock)
        is_settled = self.expiry.is_settled
        tree = Tree(host.data_dir, host.own_prefixes, settings.series_ttl, carbon.is_pending, path_of, is_settled)
        self.scanner = Scanner(tree, self.engine, settle=carbon.settle, clock=clock) if host.data_dir else None
        self.health = Health(part.health for part in self._parts() if part is not None)
        self.reporter = Reporter(self.engine, self.health, host.stats_prefix, timetable=Timetable(interval, clock))

    @property
    def has_tree(self) -> bool:
        """Whether there is a directory of Whisper files; carbon makes it with the first of them."""
        return Path(self.data_dir).is_dir()

    def _parts(self) -> tuple[_HasHealth | None, ...]:
        """All that has something to say of itself."""
        size = IndexSize(self.engine, self.clock)
        return (self.processor, self.rulebook, self.patterns, self.watch, size, self.expiry, self.state, self.scanner)


class IndexSize:
    """How large the index is, and since when it is kept."""

    def __init__(self, engine: QuotaEngine, clock: Clock) -> None:
        """It is kept from now on."""
        self._engine = engine
        self._started = clock()

    def health(self) -> Iterator[Sample]:
        """The size of the index, the start and the kernel."""
        yield Sample("series", len(self._engine))
        yield Sample("namespaces", self._engine.namespace_count())
        yield Sample("start_time", self._started)
        yield Sample("kernel", 1, KERNEL)


_HasHealth = QuotaProcessor | Rulebook | PatternGuard | FileWatch | IndexSize | Expiry | StateKeeper | Scanner


def make_engine(
    settings: QuotaSettings, loaded: LoadedRules, clock: Clock, storable: Storable | None = None
) -> QuotaEngine:
    """The engine, under the rules that were read."""
    return QuotaEngine(
        loaded.rules,
        size_of=loaded.schemas.size_of,
        clock=clock,
        interval=settings.usage_report_frequency,
        throughput_unit=settings.throughput_unit,
        record_changes=settings.state_enabled,
        keep_seen=settings.series_ttl > 0,
        max_creates_per_second=settings.max_creates_per_second or None,
        storable=storable,
    )


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
