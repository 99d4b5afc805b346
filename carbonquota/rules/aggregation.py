"""`storage-aggregation.conf`: how the fine points of a new metric become the coarse ones.

The first section whose pattern is found in a metric's name counts, in file order. What a section leaves out is as
Whisper has it: half of the fine points must be known, and the coarse one is their average.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from carbonquota.errors import ConfigError, Problem
from carbonquota.rules.entries import Reader, choice_of, read_entries
from carbonquota.rules.expressions import Expression, Search, search_here
from carbonquota.rules.files import read_text
from carbonquota.rules.first_match import FirstMatch
from carbonquota.rules.ini import Entry, Section
from carbonquota.rules.lint import Finding
from carbonquota.rules.schema_checks import pattern_findings, without_unknown_keys
from carbonquota.rules.schema_fields import read_pattern
from carbonquota.rules.sections import read_sections
from carbonquota.suggest import nearest

_METHODS: Final = {
    **{name: name for name in ("average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin")},
    "avg": "average",
}
"""What may be written, and the Whisper method that it means."""

_NAMES: Final = "methods are: " + ", ".join(name for name in _METHODS if name != "avg")
_OTHER_METHODS: Final = re.compile(r"first|mix|percentile|median|p[0-9.]+", re.ASCII | re.IGNORECASE)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_SHARE: Final = "it is the share of points that must be known, from 0 to 1; without it 0.5"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A coarse point is made by `method`, of finer ones of which at least the share `x_files_factor` is known."""

    x_files_factor: float = 0.5
    method: str = "average"


@dataclass(frozen=True, slots=True)
class AggregationRule:
    """One section: the metrics in which `pattern` is found are aggregated so."""

    name: str
    pattern: Expression
    aggregation: Aggregation
    source: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Aggregations:
    """All sections in file order; `default` is for metrics that none matches, `findings` what looks wrong."""

    source: str = "<none>"
    rules: tuple[AggregationRule, ...] = ()
    default: Aggregation = Aggregation()
    findings: tuple[Finding, ...] = ()
    _first: FirstMatch = field(default_factory=lambda: FirstMatch(()), repr=False, compare=False)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], search: Search = search_here) -> Aggregations:
        """Read a file; raises ConfigError with all of its problems, or with why it cannot be read."""
        return cls.from_text(read_text(path), os.fspath(path), search)

    @classmethod
    def from_text(cls, text: str, source: str = "<text>", search: Search = search_here) -> Aggregations:
        """Read the text of a file, called `source` in messages; raises ConfigError with all of its problems.

        `search` is asked about patterns that RE2 does not read.
        """
        rules, findings, _ = read_sections(text, source, _read_rule)
        first = FirstMatch((rule.pattern for rule in rules), search)
        return cls(source, tuple(rules), findings=findings, _first=first)

    def searching(self, search: Search) -> Aggregations:
        """The same, with `search` asked about patterns that RE2 does not read."""
        return replace(self, _first=self._first.searching(search))

    def match(self, metric: str) -> Aggregation:
        """How the metric is aggregated."""
        index = self._first.find(metric)
        return self.rules[index].aggregation if index < len(self.rules) else self.default


def _read_rule(section: Section) -> tuple[AggregationRule | None, tuple[Problem, ...], tuple[Finding, ...]]:
    """The rule that the section gives, with what is wrong and what is found; None if there are problems."""
    has_pattern = section.get("pattern") is not None
    section, unknown = without_unknown_keys(section, _READERS) if has_pattern else (section, ())
    values, problems = read_entries(section, _READERS)
    if section.name is not None and not has_pattern:
        hint = '"pattern = .*" matches all metrics'
        problems += (section.name_problem("this section has no pattern", hint),)
    if problems or section.name is None:
        return None, problems, ()
    aggregation = Aggregation(values.get("xfilesfactor", 0.5), values.get("aggregationmethod", "average"))
    line = section.line
    rule = AggregationRule(section.name, values["pattern"], aggregation, line.source, line.number)
    findings = (*unknown, *pattern_findings(section.entry("pattern"), rule.pattern))
    return rule, problems, findings


def _read_factor(entry: Entry) -> float:
    if not entry.value:
        raise ConfigError([entry.value_problem("xFilesFactor is empty", _SHARE)])
    if not _NUMBER.fullmatch(entry.value):
        raise ConfigError([entry.value_problem(f'xFilesFactor: "{entry.value}" is not a number', _SHARE)])
    factor = float(entry.value)
    if not 0 <= factor <= 1:
        raise ConfigError([entry.value_problem(f"xFilesFactor: {entry.value} is not from 0 to 1", _SHARE)])
    return factor


def _read_method(entry: Entry) -> str:
    written = entry.value
    if written in _METHODS:
        return _METHODS[written]
    if not written:
        raise ConfigError([entry.value_problem("aggregationMethod is empty", _NAMES)])
    if _OTHER_METHODS.fullmatch(written):
        raise ConfigError([entry.value_problem(f'no Whisper file can aggregate by "{written}"', _NAMES)])
    near = nearest(written, _METHODS)
    hint = f'did you mean "{near}"?' if near else _NAMES
    raise ConfigError([entry.value_problem(f'unknown aggregationMethod "{written}"', hint)])


_SWITCH: Final = choice_of({"true": True, "false": False}, "values")

_READERS: Final[Mapping[str, Reader]] = {
    "pattern": read_pattern,
    "xfilesfactor": _read_factor,
    "aggregationmethod": _read_method,
    # Of go-carbon's migration of files that exist, which is not done here: read, so that its files pass.
    "xffmigration": _SWITCH,
    "aggregationmethodmigration": _SWITCH,
}
"""Keys as they compare: in lower case."""
