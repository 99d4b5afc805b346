"""What a file of schemas or aggregations may get wrong without an error, each finding with a stable code.

| code | severity | finding |
|---|---|---|
| S001 | warning | a pattern that only Python's `re` reads, which may take very long for a name |
| S002 | info | a pattern in Go's syntax, which Graphite's own carbon would refuse |
| S003 | warning | a key that belongs into `storage-aggregation.conf` |
| S004 | warning | a schema whose retentions do not go together: carbon passes over it |
| S005 | warning | a pattern with a comment in it |
| S006 | warning | a key that neither carbon nor go-carbon knows, and both pass over |
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from carbonquota.rules.expressions import HAS_RE2, Expression
from carbonquota.rules.glob import Flaw
from carbonquota.rules.ini import Entry, Section
from carbonquota.rules.lint import Finding, Severity
from carbonquota.suggest import did_you_mean

_COMMENT: Final = re.compile(r"\s([#;].*)")
_OF_AGGREGATIONS: Final = {"xfilesfactor": "xFilesFactor", "aggregationmethod": "aggregationMethod"}


def pattern_findings(entry: Entry, expression: Expression) -> Iterator[Finding]:
    """S001, S002 and S005: about the pattern of an entry."""
    if expression.costly is not None and HAS_RE2:
        span = expression.costly
        yield _warning(
            "S001",
            entry,
            Flaw(
                span.offset,
                span.width,
                f"only Python's re reads this pattern ({_reason(expression)}), and this part may take very long",
                "RE2 takes patterns without look-around, back-references and possessive repetitions",
            ),
        )
    if expression.re is None:
        message = "this is Go's syntax, as go-carbon reads it; Graphite's own carbon does not"
        yield Finding("S002", Severity.INFO, entry.value_problem(message))
    comment = _COMMENT.search(entry.value)
    if comment:
        message = "this is part of the pattern, and no name has a blank"
        width = len(comment[1])
        yield _warning("S005", entry, Flaw(comment.start(1), width, message, "a comment stands on a line of its own"))


def _reason(expression: Expression) -> str:
    """Why RE2 does not read it."""
    foreign = expression.syntax and expression.syntax.foreign
    return foreign.name if foreign else "it is too large for RE2"


def misplaced_keys(section: Section) -> Iterator[Finding]:
    """S003: keys of another file, which carbon does not look at in this one."""
    for entry in section.entries:
        name = _OF_AGGREGATIONS.get(entry.key)
        if name:
            message = f"{name} has no effect in storage-schemas.conf"
            hint = "it belongs into a section of storage-aggregation.conf"
            yield Finding("S003", Severity.WARNING, entry.key_problem(message, hint))


def without_unknown_keys(section: Section, known: Collection[str]) -> tuple[Section, tuple[Finding, ...]]:
    """The section without the keys that nobody knows, and S006 for each."""
    findings = []
    for entry in section.entries:
        if entry.key not in known:
            message, hint = f'unknown key "{entry.key}", which has no effect', did_you_mean(entry.key, known, "keys")
            findings.append(Finding("S006", Severity.WARNING, entry.key_problem(message, hint)))
    kept = tuple(entry for entry in section.entries if entry.key in known)
    return replace(section, entries=kept), tuple(findings)


def invalid_retentions(entry: Entry, flaws: tuple[Flaw, ...]) -> Iterator[Finding]:
    """S004: for each pair of retentions that do not go together."""
    for flaw in flaws:
        message = f"{flaw.message}; as carbon does, this schema is passed over"
        yield _warning("S004", entry, Flaw(flaw.offset, flaw.width, message, flaw.suggestion))


def _warning(code: str, entry: Entry, flaw: Flaw) -> Finding:
    """A finding about a part of the entry's value."""
    column = entry.value_column + flaw.offset
    return Finding(code, Severity.WARNING, entry.line.problem(column, flaw.width, flaw.message, flaw.suggestion))
