"""`carbonquota check`: rules files read for errors, and for rules that do not do what they seem to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from carbonquota.cli.index import NO_RULES, fill
from carbonquota.cli.options import SOURCE_HELP, index_option, interval_option, output_options
from carbonquota.cli.output import Json, Output, Tone, plural
from carbonquota.engine import QuotaEngine
from carbonquota.errors import ConfigError, Problem
from carbonquota.rules import Finding, RuleSet, Severity, lint

EXIT_FINDINGS = 3
"""With --lint-fatal: no errors, but warnings."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be said about one file; `rules` is None where it has errors."""

    path: str
    rules: int | None
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def warnings(self) -> int:
        """How many findings ask for something to be mended; the others only inform."""
        return sum(finding.severity is Severity.WARNING for finding in self.findings)


@click.command(epilog=SOURCE_HELP)
@click.option("--syntax-only", is_flag=True, help="Look for errors only, and print nothing when there are none.")
@click.option("--lint-fatal", is_flag=True, help="Exit with 3 on warnings; notes never count.")
@interval_option
@index_option
@output_options
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=str, readable=False))
@click.pass_context
def command(  # noqa: PLR0913 - click hands every switch over by name
    ctx: click.Context,
    *,
    files: tuple[str, ...],
    syntax_only: bool,
    lint_fatal: bool,
    interval: float,
    index: tuple[str, ...],
    as_json: bool,
    no_color: bool,
) -> None:
    """Check storage-quotas.conf files: all errors with their places, then what is allowed but looks wrong.

    With --index, rules that match nothing in it are found as well. Exit 0; 1 if there are errors; 3 with
    --lint-fatal if there are no errors, but warnings.
    """
    output = Output(as_json=as_json, no_color=no_color)
    namespaces = None if syntax_only else _existing(index, output)
    reports = [_report(path, None if syntax_only else interval, namespaces) for path in files]
    output.document({"files": [_document(report) for report in reports]})
    for report in reports:
        _show(report, output, quiet=syntax_only)
    if any(report.problems for report in reports):
        ctx.exit(1)
    if lint_fatal and any(report.warnings for report in reports):
        ctx.exit(EXIT_FINDINGS)


def _existing(index: Sequence[str], output: Output) -> list[str] | None:
    """The namespaces of the index; None where none was given."""
    if not index:
        return None
    engine = QuotaEngine(NO_RULES)
    fill(engine, index, output)
    return engine.namespaces()


def _report(path: str, interval: float | None, namespaces: list[str] | None) -> Report:
    """Read one file; without an interval it is not linted."""
    try:
        rules = RuleSet.from_file(path)
    except ConfigError as error:
        return Report(path, None, error.problems)
    findings = () if interval is None else lint(rules, namespaces, interval)
    return Report(path, len(rules.rules), (), findings)


def _show(report: Report, output: Output, *, quiet: bool) -> None:
    """Print what there is to say about one file."""
    name = click.format_filename(report.path)
    for problem in report.problems:
        output.line(str(problem), tone=Tone.BAD)
    for finding in report.findings:
        output.line(str(finding), tone=Tone.WARNING if finding.severity is Severity.WARNING else Tone.PLAIN)
    if report.rules is None:
        # Of a file that cannot be read at all, its one line says everything.
        if report.problems[0].line:
            output.line(f"{name}: {plural(len(report.problems), 'error')}")
    elif not quiet:
        output.line(f"{name}: {plural(report.rules, 'rule')}, no errors, {_amount(report)}")


def _amount(report: Report) -> str:
    """How many findings there are that ask for something, and how many that only inform."""
    notes = len(report.findings) - report.warnings
    warnings = plural(report.warnings, "warning") if report.warnings else "no warnings"
    return f"{warnings}, {plural(notes, 'note')}" if notes else warnings


def _document(report: Report) -> Json:
    """One file in JSON."""
    return {
        "file": report.path,
        "rules": report.rules,
        "errors": [_problem_document(problem) for problem in report.problems],
        "findings": [
            {"code": finding.code, "severity": finding.severity.value} | _problem_document(finding.problem)
            for finding in report.findings
        ],
    }


def _problem_document(problem: Problem) -> Json:
    """One problem in JSON."""
    return {
        "line": problem.line,
        "column": problem.column,
        "width": problem.width,
        "text": problem.text,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }
