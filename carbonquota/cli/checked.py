"""Files read to be checked: rules by themselves, or a daemon's configuration with all the files that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from carbonquota.daemon.configuration import is_configuration, read_configuration
from carbonquota.daemon.settings import Settings
from carbonquota.errors import ConfigError, Problem
from carbonquota.model import ThroughputUnit
from carbonquota.rules import Finding, RuleSet, Schemas, Severity, lint
from carbonquota.rules.aggregation import Aggregations
from carbonquota.rules.expressions import HAS_RE2, WITHOUT_RE2
from carbonquota.rules.fields import CONTROL_KEYS, POLICY_KEY, PREFIX_KEY
from carbonquota.rules.files import read_text
from carbonquota.rules.ini import read_document
from carbonquota.storage.tree import compressed_file

UNKNOWN: Final = "C001"
"""The code of a finding about a key or section that neither we nor go-carbon know."""


class FileKind(Enum):
    """What a file is read as; the value is its name in JSON."""

    QUOTAS = "quotas"
    SCHEMAS = "schemas"
    AGGREGATION = "aggregation"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What is to be said about one file; `sections` is how many it has, None where it has errors."""

    path: str
    kind: FileKind
    sections: int | None
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> int:
        """How many findings ask for something to be mended; the others only inform."""
        return sum(finding.severity is Severity.WARNING for finding in self.findings)

    @property
    def remarks(self) -> int:
        """How many findings and notes only inform."""
        return len(self.findings) - self.warnings + len(self.notes)


@dataclass(frozen=True, slots=True)
class Linting:
    """What quotas are asked besides errors: with the `interval` in seconds, and the namespaces if they are known."""

    interval: float
    throughput_unit: ThroughputUnit = "interval"
    namespaces: Sequence[str] | None = None


def check_file(path: str, linting: Linting | None) -> Iterator[CheckReport]:
    """The reports on a file, and on those that it names; without `linting` only errors are looked for."""
    try:
        text = read_text(path)
    except ConfigError as error:
        yield CheckReport(path, FileKind.QUOTAS, None, error.problems)
        return
    if is_configuration(text):
        yield from _check_configuration(text, path, linting)
        return
    kind = kind_of_rules(text)
    yield _check_quotas(path, linting) if kind is FileKind.QUOTAS else _check_sections(path, kind, linting)


def kind_of_rules(text: str) -> FileKind:
    """Which of carbon's files of rules a text is, by its keys: those that it has most of, and else quotas."""
    keys = Counter(key for section in read_document(text, "").sections for key in {e.key for e in section.entries})
    counts = {kind: sum(keys[key] for key in known) for kind, known in _KEYS_OF.items()}
    return max(counts, key=lambda kind: counts[kind])


def _check_configuration(text: str, path: str, linting: Linting | None) -> Iterator[CheckReport]:
    """The report on a daemon's configuration, and those on its files, as far as it tells them."""
    read = read_configuration(text, path)
    sections = None if read.problems else 0
    notes = (*read.diagnostics.lines(), *_notes_on_tree(read.settings)) if linting and not read.problems else ()
    findings = (
        tuple(Finding(UNKNOWN, Severity.WARNING, warning) for warning in read.diagnostics.warnings) if linting else ()
    )
    yield CheckReport(path, FileKind.CONFIGURATION, sections, read.problems, findings, notes)
    yield from _check_named_files(read.settings, linting)


def _notes_on_tree(settings: Settings) -> Iterator[str]:
    """What is to be said about the Whisper files that are there; some of them are looked at."""
    store = settings.whisper
    if store.enabled and (path := compressed_file(store.data_dir)):
        yield (
            f"{_shown(path)}: a compressed Whisper file, as go-carbon makes them: such files count with the room they "
            "take, but points for them cannot be written here; have go-carbon write this tree, behind a relay"
        )


def _check_named_files(settings: Settings, linting: Linting | None) -> Iterator[CheckReport]:
    whisper = settings.whisper
    if whisper.quotas_file:
        server = settings.carbonserver
        frequency, unit = server.quota_usage_report_frequency, server.throughput_unit
        own = Linting(frequency, unit, linting.namespaces) if linting else None
        yield _check_quotas(_shown(whisper.quotas_file), own)
    for kind, path in ((FileKind.SCHEMAS, whisper.schemas_file), (FileKind.AGGREGATION, whisper.aggregation_file)):
        if path:
            yield _check_sections(_shown(path), kind, linting)


def _check_quotas(path: str, linting: Linting | None) -> CheckReport:
    try:
        rules = RuleSet.from_file(path)
    except ConfigError as error:
        return CheckReport(path, FileKind.QUOTAS, None, error.problems)
    findings = lint(rules, linting.namespaces, linting.interval, linting.throughput_unit) if linting else ()
    return CheckReport(path, FileKind.QUOTAS, len(rules.rules), (), findings)


def _check_sections(path: str, kind: FileKind, linting: Linting | None) -> CheckReport:
    try:
        sections, findings = _READ[kind](path)
    except ConfigError as error:
        return CheckReport(path, kind, None, error.problems)
    notes = () if HAS_RE2 or not sections else (f"{path}: {WITHOUT_RE2}",)
    return CheckReport(path, kind, sections, (), findings, notes) if linting else CheckReport(path, kind, sections)


def _read_schemas(path: str) -> tuple[int, tuple[Finding, ...]]:
    found = Schemas.from_file(path)
    return len(found.schemas), found.findings


def _read_aggregations(path: str) -> tuple[int, tuple[Finding, ...]]:
    found = Aggregations.from_file(path)
    return len(found.rules), found.findings


_KEYS_OF: Final = {
    FileKind.QUOTAS: (*CONTROL_KEYS, POLICY_KEY, PREFIX_KEY),
    FileKind.SCHEMAS: ("retentions", "pattern"),
    FileKind.AGGREGATION: ("aggregationmethod", "xfilesfactor", "pattern"),
}
"""The keys by which each kind is known; where several have as many, the first."""

_READ: Final[dict[FileKind, Callable[[str], tuple[int, tuple[Finding, ...]]]]] = {
    FileKind.SCHEMAS: _read_schemas,
    FileKind.AGGREGATION: _read_aggregations,
}
"""How a file is read, to the number of its sections and what looks wrong."""


def _shown(path: str) -> str:
    """The path from here, where it is below here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
