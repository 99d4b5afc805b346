"""Everything that keeps an engine going in a long-running host: made once here, for the daemon and the plugin alike.

Nothing is opened and no thread is started by making it; `carbonquota.service.lifecycle` does that, in order. The
host adds what is its own: where points come from and go to, the tree of Whisper files if it has one, and the service
of a cluster, which stands above this layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from carbonquota.engine import QuotaEngine
from carbonquota.kernel import KERNEL
from carbonquota.model import Clock, Storable, throughput_per_interval
from carbonquota.rules.expressions import Search
from carbonquota.service.expiry import Expiry
from carbonquota.service.health import Health, HealthSample
from carbonquota.service.patterns import PatternGuard
from carbonquota.service.reporter import Emitter, Reporter, Timetable
from carbonquota.service.rule_source import LoadedRules, RuleFiles, RuleSource, load_rules
from carbonquota.service.rulebook import Rulebook
from carbonquota.service.runtime_settings import RuntimeSettings
from carbonquota.service.scan import OnDataThread, Scanner, Tree
from carbonquota.service.state import StateKeeper
from carbonquota.service.throttling import CREATES_KEY, ThrottleLog
from carbonquota.service.watch import FileWatch
from carbonquota.trie.columns import Column


@dataclass(frozen=True, slots=True)
class HostProfile:
    """What a runtime has to know of its host.

    `rule_files` gives the files of rules; it is called with the search for patterns that may take long.
    `rule_source` gives what rules are read from in their place. Reports are
    made under `graph_prefix` and sent to the `emitters` too. `storable` tells what the host's store can keep.
    `creates_key` is what the host's configuration calls the limit on new metrics a second. With `prepaid`, throughput
    is taken in slices from elsewhere, and `steady` tells when the clock was set; with `hold_new`, new metrics are held
    back until they are claimed elsewhere.
    """

    rule_files: Callable[[Search], RuleFiles]
    graph_prefix: str
    storable: Storable | None = None
    creates_key: str = CREATES_KEY
    emitters: Sequence[Emitter] = ()
    prepaid: bool = False
    hold_new: bool = False
    steady: Clock | None = None
    rule_source: Callable[[RuleFiles], StartingSource] | None = None


class StartingSource(RuleSource, Protocol):
    """A source of rules other than files."""

    def load(self) -> LoadedRules:
        """The rules to start with; ConfigError where there are none."""


class Part(Protocol):
    """A part that tells how it is; from any thread."""

    def health(self) -> Iterable[HealthSample]:
        """Its values now."""


class TroubledPart(Part, Protocol):
    """A part that may work less well than it should."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why it does, a line each; empty if it does not."""


class ClusterNode(TroubledPart, Protocol):
    """What counts throughput together with other nodes."""

    def start(self) -> None:
        """Begin; QuotaError where it cannot."""

    def stop(self) -> None:
        """End; may wait."""

    @property
    def shares_capacities(self) -> bool:
        """Whether what is held is counted over all nodes, and not throughput alone."""

    def over_all_nodes(
        self, names: Sequence[str], own: Sequence[Column], interval: float | None = None
    ) -> Sequence[Column]:
        """The usage over all nodes of namespaces that use `own` here, a column for each control.

        Throughput is that of the running interval, or of the one that began at a time. From any thread; QuotaError
        where it cannot be told now.
        """


class Runtime:
    """The engine, its rules, state, scan, expiry, health and reports."""

    def __init__(self, settings: RuntimeSettings, profile: HostProfile, clock: Clock) -> None:
        """Read the rules, and make the rest; ConfigError where the rules or schemas are bad."""
        self.settings = settings
        self.clock = clock
        self.started = clock()
        self.patterns = PatternGuard()
        files = profile.rule_files(self.patterns)
        # Made before the files are read, so that no change falls in between.
        self.watch = FileWatch(files.paths, lambda settled: self.rulebook.reload("a file changed", settled))
        source = profile.rule_source(files) if profile.rule_source else None
        loaded = source.load() if source else load_rules(files)
        interval, unit = settings.usage_report_frequency, settings.throughput_unit
        self.engine = QuotaEngine(
            loaded.rules,
            size_of=loaded.schemas,
            clock=clock,
            interval=interval,
            throughput_unit=unit,
            record_changes=settings.state_enabled,
            keep_seen=settings.series_ttl > 0,
            max_creates_per_second=settings.max_creates_per_second or None,
            storable=profile.storable,
            prepaid=profile.prepaid,
            hold_new=profile.hold_new,
            steady=profile.steady,
        )
        self.rulebook = Rulebook(
            self.engine, loaded, clock=clock, interval=interval, throughput_unit=unit, source=source
        )
        self.throttling = ThrottleLog(
            clock,
            creates_limit=settings.max_creates_per_second,
            creates_key=profile.creates_key,
            in_force=lambda limit: throughput_per_interval(limit, interval, unit),
        )
        self.state = StateKeeper(settings.state_dir, self.engine, clock) if settings.state_enabled else None
        self.expiry = Expiry(self.engine, settings.series_ttl, clock)
        self.scanner: Scanner | None = None
        self.cluster: ClusterNode | None = None
        self.health = Health([self._index_health])
        self._troubled: list[TroubledPart] = []
        self.add_parts(self.rulebook, self.watch, self.expiry)
        self.add_troubled_parts(*([self.state] if self.state is not None else []), self.patterns)
        timetable = Timetable(interval, clock)
        self.reporter = Reporter(
            self.engine, self.health, profile.graph_prefix, timetable=timetable, emitters=profile.emitters
        )

    @property
    def write_ahead(self) -> Callable[[], object]:
        """What has to be called between the decision on a batch and its points going on."""
        return self.state.write_ahead if self.state is not None else bool

    def add_parts(self, *parts: Part) -> None:
        """Include parts of the host in health."""
        for part in parts:
            self.health.add(part.health)

    def add_troubled_parts(self, *parts: TroubledPart) -> None:
        """Include parts of the host in health and in `troubles`."""
        self.add_parts(*parts)
        self._troubled += parts

    def scan(self, tree: Tree, on_data_thread: OnDataThread) -> None:
        """Keep the index in line with a tree of Whisper files; see `OnDataThread`."""
        self.scanner = Scanner(tree, self.engine, on_data_thread=on_data_thread, clock=self.clock)
        self.add_troubled_parts(self.scanner)

    def join(self, cluster: ClusterNode | None, *, reports_all: bool = False) -> None:
        """Count together with other nodes, if there is a cluster; where it `reports_all`, reports tell what all use."""
        self.cluster = cluster
        if cluster is not None:
            self.add_troubled_parts(cluster)
            if reports_all:
                self.reporter.tell_over_all(cluster.over_all_nodes)

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why it works less well than it should, a line each; from any thread."""
        # One cause may be a trouble of several parts.
        return tuple(dict.fromkeys(text for part in self._troubled for text in part.troubles))

    def _index_health(self) -> Iterator[HealthSample]:
        """The size of the index, the start and the kernel."""
        yield HealthSample("series", len(self.engine))
        yield HealthSample("namespaces", self.engine.namespace_count())
        yield HealthSample("start_time", self.started)
        yield HealthSample("kernel", 1, KERNEL)
