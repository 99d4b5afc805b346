"""The keys of a storage schema: the table of what each may hold, and a section read by it into a `Schema`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from carbonquota.errors import ConfigError, Problem
from carbonquota.rules.entries import Reader, choice_of, read_entries
from carbonquota.rules.expressions import Expression, ExpressionError, read_expression
from carbonquota.rules.glob import Flaw
from carbonquota.rules.ini import Entry, Section
from carbonquota.rules.lint import Finding
from carbonquota.rules.retentions import Retention, read_retentions
from carbonquota.rules.schema_checks import invalid_retentions, misplaced_keys, pattern_findings, without_unknown_keys

_SWITCH: Final = choice_of({"true": True, "false": False}, "values")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_REQUIRED: Final = {"pattern": '"pattern = .*" matches all metrics', "retentions": 'for example "retentions = 60s:30d"'}


@dataclass(frozen=True, slots=True)
class Schema:
    """One section: the metrics in which `pattern` is found keep these retentions, finest first.

    `compressed` tells whether their files take less room than their points would.
    """

    name: str
    pattern: Expression
    retentions: tuple[Retention, ...]
    priority: int = 0
    compressed: bool = False
    source: str = ""
    line: int = 0


def read_schema(section: Section) -> tuple[Schema | None, tuple[Problem, ...], tuple[Finding, ...]]:
    """The schema that the section gives, with what is wrong and what is found.

    None if there are problems, or where carbon passes over it.
    """
    missing = tuple(_missing(section))
    # Where something is missing, an unknown key is likely to be what was meant by it.
    section, unknown = (section, ()) if missing else without_unknown_keys(section, _READERS)
    values, problems = read_entries(section, _READERS)
    problems += missing
    if problems or section.name is None:
        return None, problems, ()
    retentions, invalid = values["retentions"]
    findings = (
        *unknown,
        *misplaced_keys(section),
        *pattern_findings(section.entry("pattern"), values["pattern"]),
        *invalid_retentions(section.entry("retentions"), invalid),
    )
    if invalid:
        return None, problems, findings
    schema = Schema(
        name=section.name,
        pattern=values["pattern"],
        retentions=retentions,
        priority=values.get("priority", 0),
        compressed=values.get("compressed", False),
        source=section.line.source,
        line=section.line.number,
    )
    return schema, problems, findings


def _missing(section: Section) -> Iterator[Problem]:
    for key, hint in _REQUIRED.items():
        if section.name is not None and section.get(key) is None:
            yield section.name_problem(f"this schema has no {key}", hint)


def read_pattern(entry: Entry) -> Expression:
    """The regular expression of an entry; ConfigError where it is none."""
    if not entry.value:
        raise ConfigError([entry.value_problem("the pattern is empty", _REQUIRED["pattern"])])
    try:
        return read_expression(entry.value)
    except ExpressionError as error:
        message = f"pattern: {error.message}"
        if error.offset is None:
            raise ConfigError([entry.value_problem(message)]) from None
        raise ConfigError([entry.line.problem(entry.value_column + error.offset, 1, message)]) from None


def _read_retention_list(entry: Entry) -> tuple[tuple[Retention, ...], tuple[Flaw, ...]]:
    """The retentions, and why they do not go together."""
    if not entry.value:
        raise ConfigError([entry.value_problem("there are no retentions", _REQUIRED["retentions"])])
    retentions, flaws, invalid = read_retentions(entry.value)
    if flaws:
        raise ConfigError(
            entry.line.problem(entry.value_column + flaw.offset, flaw.width, flaw.message, flaw.suggestion)
            for flaw in flaws
        )
    return retentions, invalid


def _read_priority(entry: Entry) -> int:
    if not entry.value:
        return 0
    if not _WHOLE.fullmatch(entry.value):
        raise ConfigError(
            [entry.value_problem("priority: not a whole number", "the higher goes first; without one it is 0")]
        )
    return int(entry.value)


def _ignored(entry: Entry) -> str:
    return entry.value


_READERS: Final[Mapping[str, Reader]] = {
    "pattern": read_pattern,
    "retentions": _read_retention_list,
    "priority": _read_priority,
    "compressed": _SWITCH,
    "migration": _SWITCH,
    # Of another file: see the findings.
    "xfilesfactor": _ignored,
    "aggregationmethod": _ignored,
}
