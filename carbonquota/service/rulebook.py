"""The rules in force, and their reload: read, swapped atomically, and told.

Theory of operation. A source, usually three files, gives one configuration: quotas, schemas, aggregation. They are read
together and put in force together; if one of them is bad or missing, none is, and all stays as it was. Reading and
logging are done by whoever asks for the reload, on his thread; only the swap is the engine's. A reload whose texts say
what is in force already swaps nothing. The rulebook knows no signals and no file events: others call `reload` for them.

A file that is about to be written anew is empty, or half a file, for a moment. So files are read when they have
settled, and read again if they changed meanwhile; and one that has lost all of its sections is refused, unless a
comment in it says that this is meant.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Final

from carbonquota.engine import QuotaEngine
from carbonquota.errors import ConfigError, Problem
from carbonquota.model import Clock, ThroughputUnit
from carbonquota.rules import Finding, RuleSet, Schemas, Severity, diff, lint
from carbonquota.rules.aggregation import Aggregations
from carbonquota.rules.expressions import Expression
from carbonquota.service.health import HealthSample
from carbonquota.service.rule_source import FileSource, LoadedRules, RuleSource

_LOGGER: Final = logging.getLogger(__name__)
_MOST_READINGS: Final = 5
"""How often files are read again because they changed meanwhile."""
_MOST_LINES: Final = 50
"""Lines of a difference, or findings, that are logged at one reload."""


class ReloadOutcome(Enum):
    """How a reload ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """How a reload ended, who asked for it (`reason`), when (seconds since the epoch), and every problem in full.

    `rules` is the number of rules in force since.
    """

    outcome: ReloadOutcome
    reason: str
    time: float
    rules: int
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether what stands in the files is in force."""
        return self.outcome is not ReloadOutcome.FAILED


class Rulebook:
    """Keeps an engine's rules, and whoever needs schemas and aggregations, as the files say."""

    def __init__(
        self,
        engine: QuotaEngine,
        loaded: LoadedRules,
        *,
        clock: Clock,
        interval: float = 60.0,
        throughput_unit: ThroughputUnit = "interval",
        source: RuleSource | None = None,
    ) -> None:
        """Take over an engine in which `loaded` is in force; `interval` is that of its reports, in seconds.

        `throughput_unit` is what its throughput limits are per. `source` is what rules are read from at each reload,
        the files of `loaded` if nothing else.
        """
        self._engine = engine
        self._loaded = loaded
        self._clock = clock
        self._interval = interval
        self._unit = throughput_unit
        self._source = source or FileSource(loaded.files)
        self._lock = Lock()
        self._linting = Lock()
        self._linted: tuple[RuleSet, tuple[Finding, ...]] | None = None
        self._counts: Counter[ReloadOutcome] = Counter()
        self._tell_schemas: list[Callable[[Schemas], None]] = []
        self._tell_aggregations: list[Callable[[Aggregations], None]] = []
        self._last = ReloadResult(ReloadOutcome.APPLIED, "start", clock(), len(loaded.rules.rules))

    @property
    def loaded(self) -> LoadedRules:
        """What is in force."""
        return self._loaded

    @property
    def last(self) -> ReloadResult:
        """How the last reload ended; before the first one, that the program started with good files."""
        return self._last

    def on_expressions(self, tell: Callable[[Sequence[Expression]], None]) -> None:
        """Call `tell` with all patterns, now and each time others are in force."""
        tell(self._loaded.expressions)
        self.on_schemas(lambda _: tell(self._loaded.expressions))
        self.on_aggregations(lambda _: tell(self._loaded.expressions))

    def on_schemas(self, tell: Callable[[Schemas], None]) -> None:
        """Call `tell` with the schemas each time others are in force, on the thread of the reload."""
        self._tell_schemas.append(tell)

    def on_aggregations(self, tell: Callable[[Aggregations], None]) -> None:
        """Call `tell` with the aggregations each time others are in force, on the thread of the reload."""
        self._tell_aggregations.append(tell)

    def reload(self, reason: str, settled: Hashable | None = None) -> ReloadResult:
        """Put in force what the files say now; `reason` is who asked, as the log tells it.

        From any thread that may wait; one reload runs at a time. Bad files are no exception, but a result and
        log lines, and leave in force what is. `settled` is the version of the source when it had settled; without it
        that is waited for.
        """
        with self._lock:
            try:
                loaded = self._read(settled)
            except ConfigError as error:
                result = self._refused(reason, error)
            else:
                result = self._accepted(reason, loaded)
            self._counts[result.outcome] += 1
            self._last = result
            return result

    def _read(self, settled: Hashable | None) -> LoadedRules:
        """What the source says, once nobody is changing it; ConfigError where it cannot be put in force."""
        source = self._source
        for _ in range(_MOST_READINGS):
            settled = settled or source.settled_version()
            if settled is None:
                break
            try:
                read: LoadedRules | ConfigError = source.read(self._loaded)
            except ConfigError as error:
                read = error
            if source.version() != settled:
                settled = None
            elif isinstance(read, ConfigError):
                raise read
            else:
                return read
        message = "the files keep changing, and half a file may not be put in force"
        raise ConfigError([Problem(source.name, 0, 0, 0, "", message, "ask again when they are written")])

    def health(self) -> Iterator[HealthSample]:
        """The rules in force and how reloads went."""
        last = self._last
        yield HealthSample("rules", len(self._loaded.rules.rules))
        for outcome in ReloadOutcome:
            yield HealthSample("reloads", self._counts[outcome], outcome.value)
        yield HealthSample("reload_ok", float(last.ok))
        yield HealthSample("reload_time", last.time)

    def _result(self, outcome: ReloadOutcome, reason: str, error: str = "") -> ReloadResult:
        return ReloadResult(outcome, reason, self._clock(), len(self._loaded.rules.rules), error)

    def _refused(self, reason: str, error: ConfigError) -> ReloadResult:
        for problem in error.problems[:_MOST_LINES]:
            _LOGGER.error("%s", problem)
        if len(error.problems) > _MOST_LINES:
            _LOGGER.error("and %d more errors, which `carbonquota check` tells", len(error.problems) - _MOST_LINES)
        _LOGGER.error("reload (%s) failed: the rules in force stay, until the files change again", reason)
        return self._result(ReloadOutcome.FAILED, reason, str(error))

    def _accepted(self, reason: str, loaded: LoadedRules) -> ReloadResult:
        before = self._loaded
        if loaded is before:
            _LOGGER.info("reload (%s): the files say what is in force already", reason)
            return self._result(ReloadOutcome.UNCHANGED, reason)
        self._engine.apply(loaded.rules, size_of=loaded.schemas)
        self._loaded = loaded
        self._hand_on(before, loaded)
        self._tell(reason, before, loaded)
        return self._result(ReloadOutcome.APPLIED, reason)

    def _hand_on(self, before: LoadedRules, loaded: LoadedRules) -> None:
        """Tell those who need the other two files, if they changed."""
        if loaded.texts[1] != before.texts[1]:
            for tell_schemas in self._tell_schemas:
                tell_schemas(loaded.schemas)
        if loaded.texts[2] != before.texts[2]:
            for tell_aggregations in self._tell_aggregations:
                tell_aggregations(loaded.aggregations)

    def _tell(self, reason: str, before: LoadedRules, loaded: LoadedRules) -> None:
        """Log what changed, and what looks wrong in the new rules; by now they are in force."""
        count = len(loaded.rules.rules)
        _LOGGER.info("reload (%s): %d %s in force", reason, count, "rule" if count == 1 else "rules")
        for path, was, now in zip(
            (loaded.files.schemas, loaded.files.aggregation), before.texts[1:], loaded.texts[1:], strict=True
        ):
            if was != now:
                _LOGGER.info("%s: changed; new metrics follow it", path)
        if loaded.texts[1:] != before.texts[1:]:
            log_warnings(loaded)
        if loaded.texts[0] == before.texts[0]:
            return
        difference = str(diff(before.rules, loaded.rules)).splitlines()
        _log_lines(logging.INFO, difference)
        warnings = [str(found) for found in self.findings() if found.severity is Severity.WARNING]
        _log_lines(logging.WARNING, warnings)

    def findings(self) -> tuple[Finding, ...]:
        """What looks wrong in the quotas in force; looked for when it is first asked, which takes a while of many."""
        rules = self._loaded.rules
        with self._linting:
            if self._linted is None or self._linted[0] is not rules:
                self._linted = rules, lint(rules, interval=self._interval, throughput_unit=self._unit)
            return self._linted[1]


def log_warnings(loaded: LoadedRules) -> None:
    """Warn of what looks wrong in schemas and aggregations."""
    _log_lines(logging.WARNING, loaded.warnings)


def _log_lines(level: int, lines: Sequence[str]) -> None:
    """Log each line, but a bounded number of them."""
    for line in lines[:_MOST_LINES]:
        _LOGGER.log(level, "%s", line)
    if len(lines) > _MOST_LINES:
        _LOGGER.log(level, "and %d more, which `carbonquota check` and `carbonquota dry-run --against` tell",
                    len(lines) - _MOST_LINES)  # fmt: skip
