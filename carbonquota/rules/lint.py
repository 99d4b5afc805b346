"""What a rule set without errors may still get wrong, each finding with a stable code.

| code | severity | finding |
|---|---|---|
| Q001 | warning | a rule can never win: a later pattern matches all of its namespaces |
| Q002 | warning | a section stands twice: the later one wins |
| Q003 | warning | a limit that can never be reached: an enforcing rule above grants less |
| Q004 | warning | two namespaces bear the same stat name |
| Q005 | warning | a `stat-metric-prefix` does not end with a dot |
| Q006 | warning | a rule matches none of the given namespaces |
| Q007 | info | a `throughput` limit in points per second |
| Q008 | warning | a key stands twice in a section: the later one counts |
| Q009 | warning | a `throughput` limit per minute that is 0 in a shorter interval |
| Q010 | warning | a pattern with what patterns do not have (a regular expression, tags, quotes, placeholders) |
| Q011 | warning | a rule without a limit that the rule has whose place it takes |

A finding is made only where it is certain; a question too large to decide makes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from carbonquota.errors import Problem
from carbonquota.model import ThroughputUnit
from carbonquota.rules import checks
from carbonquota.rules.ruleset import RuleSet


class Severity(Enum):
    """How much a finding asks for: a `WARNING` to be mended, an `INFO` to be known."""

    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: its stable code, its severity, and the problem with its place."""

    code: str
    severity: Severity
    problem: Problem

    def __str__(self) -> str:
        """The problem as errors are shown, with the code before its message."""
        place = f"{self.problem.place}: "
        return f"{place}{self.code} {str(self.problem).removeprefix(place)}"


def lint(
    ruleset: RuleSet,
    namespaces: Iterable[str] | None = None,
    interval: float = 60.0,
    throughput_unit: ThroughputUnit = "interval",
) -> tuple[Finding, ...]:
    """All findings in file order, with those about the existing `namespaces` where they are given.

    `interval` is the length of a throughput interval in seconds; ValueError unless it is above 0.
    """
    if not interval > 0:
        raise ValueError(f"an interval is longer than 0 s, not {interval} s")
    subject = checks.Subject(ruleset, namespaces, interval, throughput_unit)
    found = [Finding(code, severity, problem) for code, severity, check in _CHECKS for problem in check(subject)]
    return tuple(sorted(found, key=lambda finding: (finding.problem.line, finding.problem.column, finding.code)))


_CHECKS: Final[tuple[tuple[str, Severity, Callable[[checks.Subject], Iterator[Problem]]], ...]] = (
    ("Q001", Severity.WARNING, checks.rules_that_never_win),
    ("Q002", Severity.WARNING, checks.duplicate_sections),
    ("Q003", Severity.WARNING, checks.limits_out_of_reach),
    ("Q004", Severity.WARNING, checks.shared_stat_names),
    ("Q005", Severity.WARNING, checks.prefixes_without_dot),
    ("Q006", Severity.WARNING, checks.rules_without_namespace),
    ("Q007", Severity.INFO, checks.throughput_per_second),
    ("Q008", Severity.WARNING, checks.repeated_keys),
    ("Q009", Severity.WARNING, checks.throughput_of_nothing),
    ("Q010", Severity.WARNING, checks.patterns_in_another_language),
    ("Q011", Severity.WARNING, checks.limits_that_are_dropped),
)
