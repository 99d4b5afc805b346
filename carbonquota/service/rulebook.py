"""The rules in force, and their reload: read, swapped atomically, and told.

Theory of operation. Three files make one configuration: quotas, schemas, aggregation. They are read together and put in
force together; if one of them is bad or missing, none is, and all stays as it was. Reading and telling are done by
whoever asks for the reload, on his thread; only the swap is the engine's. A reload whose files say what is in force
already swaps nothing. The rulebook knows no signals and no file events: others call `reload` for them.

A file that is about to be written anew is empty, or half a file, for a moment. So files are read when they have
settled, and read again if they changed meanwhile; and one that has lost all of its sections is refused, unless a
comment in it says that this is meant.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock
from typing import Final, TypeVar

from carbonquota.engine import QuotaEngine
from carbonquota.errors import ConfigError, Problem
from carbonquota.model import Clock, ThroughputUnit
from carbonquota.rules import RuleSet, Schemas, Severity, diff, lint
from carbonquota.rules.aggregation import Aggregations
from carbonquota.rules.emptied import emptied
from carbonquota.rules.expressions import Expression, Search, search_here
from carbonquota.rules.files import read_text
from carbonquota.service.health import Sample
from carbonquota.service.settling import Signature, signatures, wait_until_settled

Read = TypeVar("Read")

_LOGGER: Final = logging.getLogger(__name__)
_MOST_READINGS: Final = 5
"""How often files are read again because they changed meanwhile."""
_MOST_LINES: Final = 50
"""Lines of a difference, or findings, that are logged at one reload."""


Settle = Callable[[Sequence[str]], tuple[Signature, ...] | None]
"""Waits until files have settled: their signatures then, or None where they do not."""


def _read_schemas(text: str, files: RuleFiles) -> Schemas:
    """The schemas as the daemon reads them, every doubt being an error."""
    factor, sparse = files.physical_size_factor, files.sparse
    return Schemas.from_text(text, files.schemas, physical_size_factor=factor, sparse=sparse, search=files.search)


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """Where the configuration stands, an empty path being no file, and what else decides about sizes.

    `physical_size_factor` and `sparse` are as `Schemas.from_text` takes them. `read_schemas` reads the text of the
    schemas, for a host that has a dialect of its own; ConfigError says what is wrong. `search` is asked about patterns
    that RE2 does not read.
    """

    quotas: str = ""
    schemas: str = ""
    aggregation: str = ""
    physical_size_factor: float = 1.0
    sparse: bool = False
    read_schemas: Callable[[str, RuleFiles], Schemas] = _read_schemas
    search: Search = search_here

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that there are."""
        return tuple(path for path in (self.quotas, self.schemas, self.aggregation) if path)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """What the files said: all of it immutable, so any thread may use it. `texts` are the files' own."""

    files: RuleFiles
    rules: RuleSet
    schemas: Schemas
    aggregations: Aggregations
    texts: tuple[str, str, str] = field(default=("", "", ""), repr=False)

    def log_findings(self) -> None:
        """Warn of what looks wrong in schemas and aggregations."""
        findings = (*self.schemas.findings, *self.aggregations.findings)
        _log_lines(logging.WARNING, [str(found) for found in findings if found.severity is Severity.WARNING])

    @property
    def expressions(self) -> list[Expression]:
        """Every pattern of schemas and aggregations."""
        return [*(one.pattern for one in self.schemas.schemas), *(one.pattern for one in self.aggregations.rules)]

    def emptied_since(self, before: LoadedRules) -> Iterator[Problem]:
        """The files that have lost all of their sections, without a word that this is meant."""
        for path, text, was, now in zip(
            (self.files.quotas, self.files.schemas, self.files.aggregation),
            self.texts,
            before.sections(),
            self.sections(),
            strict=True,
        ):
            if was and not now:
                yield from emptied(path, text, was)

    def sections(self) -> tuple[int, int, int]:
        """How many sections each file has."""
        return len(self.rules.rules), len(self.schemas.schemas), len(self.aggregations.rules)


class Outcome(Enum):
    """How a reload ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """How a reload ended, who asked for it (`reason`), when (seconds since the epoch), and every problem in full.

    `rules` is the number of rules in force since.
    """

    outcome: Outcome
    reason: str
    time: float
    rules: int
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether what stands in the files is in force."""
        return self.outcome is not Outcome.FAILED


def load_rules(files: RuleFiles, known: LoadedRules | None = None) -> LoadedRules:
    """Read all the files; raises ConfigError with the problems of all of them.

    Where they say what is `known` already, that is the answer.
    """
    reading = _Reading()
    texts = (reading.text(files.quotas), reading.text(files.schemas), reading.text(files.aggregation))
    if known is not None and texts == known.texts and not reading.problems:
        return known
    rules = reading.parse(lambda: RuleSet.from_text(texts[0], files.quotas))
    schemas = reading.parse(lambda: files.read_schemas(texts[1], files))
    aggregations = reading.parse(lambda: Aggregations.from_text(texts[2], files.aggregation, files.search))
    if rules is None or schemas is None or aggregations is None or reading.problems:
        raise ConfigError(reading.problems)
    return LoadedRules(files, rules, schemas, aggregations, texts)


class _Reading:
    """Gathers the problems of several files."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def text(self, path: str) -> str:
        """The text of a file; empty where there is none to read."""
        return (self.parse(lambda: read_text(path, again=True)) or "") if path else ""

    def parse(self, read: Callable[[], Read]) -> Read | None:
        """What `read` gives, or None after its problems were noted."""
        try:
            return read()
        except ConfigError as error:
            self.problems += error.problems
            return None


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
        settle: Settle = wait_until_settled,
    ) -> None:
        """Take over an engine in which `loaded` is in force; `interval` is that of its reports, in seconds.

        `throughput_unit` is what its throughput limits are per. `settle` waits until files have settled, for
        whoever asks for a reload at a time of his own.
        """
        self._engine = engine
        self._loaded = loaded
        self._clock = clock
        self._interval = interval
        self._unit = throughput_unit
        self._settle = settle
        self._lock = Lock()
        self._counts: Counter[Outcome] = Counter()
        self._tell_schemas: list[Callable[[Schemas], None]] = []
        self._tell_aggregations: list[Callable[[Aggregations], None]] = []
        self._last = ReloadResult(Outcome.APPLIED, "start", clock(), len(loaded.rules.rules))

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

    def reload(self, reason: str, settled: tuple[Signature, ...] | None = None) -> ReloadResult:
        """Put in force what the files say now; `reason` is who asked, as the log tells it.

        From any thread that may wait; one reload runs at a time. Bad files are no exception, but a result and
        log lines, and leave in force what is. `settled` is how the files were when they had settled; without it they
        are waited for.
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

    def _read(self, settled: tuple[Signature, ...] | None) -> LoadedRules:
        """What the files say, once nobody is writing them; ConfigError where it cannot be put in force."""
        before, paths = self._loaded, self._loaded.files.paths
        for _ in range(_MOST_READINGS):
            settled = settled or self._settle(paths)
            if settled is None:
                break
            read = _attempt(before)
            if signatures(paths) != settled:
                settled = None
            elif isinstance(read, ConfigError):
                raise read
            else:
                return read
        message = "the files keep changing, and half a file may not be put in force"
        raise ConfigError([Problem(", ".join(paths), 0, 0, 0, "", message, "ask again when they are written")])

    def health(self) -> Iterator[Sample]:
        """The rules in force and how reloads went."""
        last = self._last
        yield Sample("rules", len(self._loaded.rules.rules))
        for outcome in Outcome:
            yield Sample("reloads", self._counts[outcome], outcome.value)
        yield Sample("reload_ok", float(last.ok))
        yield Sample("reload_time", last.time)

    def _result(self, outcome: Outcome, reason: str, error: str = "") -> ReloadResult:
        return ReloadResult(outcome, reason, self._clock(), len(self._loaded.rules.rules), error)

    def _refused(self, reason: str, error: ConfigError) -> ReloadResult:
        for problem in error.problems:
            _LOGGER.error("%s", problem)
        _LOGGER.error("reload (%s) failed: the rules in force stay, until the files change again", reason)
        return self._result(Outcome.FAILED, reason, str(error))

    def _accepted(self, reason: str, loaded: LoadedRules) -> ReloadResult:
        before = self._loaded
        if loaded is before:
            _LOGGER.info("reload (%s): the files say what is in force already", reason)
            return self._result(Outcome.UNCHANGED, reason)
        self._engine.apply(loaded.rules, size_of=loaded.schemas.size_of)
        self._loaded = loaded
        self._hand_on(before, loaded)
        self._tell(reason, before, loaded)
        return self._result(Outcome.APPLIED, reason)

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
            loaded.log_findings()
        if loaded.texts[0] == before.texts[0]:
            return
        difference = str(diff(before.rules, loaded.rules)).splitlines()
        _log_lines(logging.INFO, difference)
        findings = lint(loaded.rules, interval=self._interval, throughput_unit=self._unit)
        _log_lines(logging.WARNING, [str(found) for found in findings if found.severity is Severity.WARNING])


def _attempt(before: LoadedRules) -> LoadedRules | ConfigError:
    """What the files say now, or why that cannot be put in force after `before`."""
    try:
        loaded = load_rules(before.files, before)
    except ConfigError as error:
        return error
    problems = tuple(loaded.emptied_since(before))
    return ConfigError(problems) if problems else loaded


def _log_lines(level: int, lines: Sequence[str]) -> None:
    """Log each line, but a bounded number of them."""
    for line in lines[:_MOST_LINES]:
        _LOGGER.log(level, "%s", line)
    if len(lines) > _MOST_LINES:
        _LOGGER.log(level, "and %d more, which `carbonquota check` and `carbonquota dry-run --against` tell",
                    len(lines) - _MOST_LINES)  # fmt: skip
