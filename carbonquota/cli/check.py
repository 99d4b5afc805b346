"""`carbonquota check`: files read for errors, and for rules that do not do what they seem to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import click

from carbonquota.cli.checked import CheckReport, FileKind, Linting, check_file
from carbonquota.cli.index import NO_RULES, fill
from carbonquota.cli.options import SOURCE_HELP, index_option, interval_option, output_options, throughput_option
from carbonquota.cli.output import Json, Output, Tone, plural, problem_document
from carbonquota.engine import QuotaEngine
from carbonquota.errors import MOST_SHOWN
from carbonquota.model import ThroughputUnit
from carbonquota.rules import Finding, Severity

EXIT_FINDINGS: Final = 3
"""With --lint-fatal: no errors, but warnings."""

_NOTES: Final = 5
"""Notes of one kind that are shown of a file."""

_NOUNS: Final = {FileKind.QUOTAS: "rule", FileKind.SCHEMAS: "schema", FileKind.AGGREGATION: "aggregation"}
"""What a section of a file is called."""


@click.command(epilog=SOURCE_HELP)
@click.option("--syntax-only", is_flag=True, help="Look for errors only, and print nothing when there are none.")
@click.option("--lint-fatal", is_flag=True, help="Exit with 3 on warnings; notes never count.")
@interval_option
@throughput_option
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
    throughput_unit: ThroughputUnit,
    index: tuple[str, ...],
    as_json: bool,
    no_color: bool,
) -> None:
    """Check storage-quotas.conf files: all errors with their places, then what is allowed but looks wrong.

    A storage-schemas.conf or storage-aggregation.conf is known by its keys, and checked as what it is. A
    carbonquota.conf or go-carbon.conf is checked together with the quotas, schemas and aggregation files that it
    names, by its own interval. With --index, rules that match nothing in it are found as well. Exit 0; 1 if there
    are errors; 3 with --lint-fatal if there are no errors, but warnings.
    """
    output = Output(as_json=as_json, no_color=no_color)
    linting = None if syntax_only else Linting(interval, throughput_unit, _existing(index, output))
    reports = [report for path in files for report in check_file(path, linting)]
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


def _show(report: CheckReport, output: Output, *, quiet: bool) -> None:
    """Print what there is to say about one file."""
    name = click.format_filename(report.path)
    for problem in report.problems[:MOST_SHOWN]:
        output.line(str(problem), tone=Tone.BAD)
    if len(report.problems) > MOST_SHOWN:
        output.line(f"{name}: and {len(report.problems) - MOST_SHOWN:,} more errors, which --json lists", tone=Tone.BAD)
    _show_findings(report.findings, name, output)
    for note in report.notes:
        output.line(note)
    if report.sections is None:
        # Of a file that cannot be read at all, its one line says everything.
        if report.problems[0].line:
            output.line(f"{name}: {plural(len(report.problems), 'error')}")
    elif not quiet:
        output.line(f"{name}: {_amount(report)}")


def _show_findings(findings: Sequence[Finding], name: str, output: Output) -> None:
    """Print the warnings, and of what only informs the first of each kind: most rules have a note on throughput."""
    notes: Counter[str] = Counter()
    for finding in findings:
        if finding.severity is Severity.WARNING:
            output.line(str(finding), tone=Tone.WARNING)
            continue
        notes[finding.code] += 1
        if notes[finding.code] <= _NOTES:
            output.line(str(finding))
    for code, number in notes.items():
        if number > _NOTES:
            output.line(f"{name}: and {number - _NOTES:,} more of {code}, which --json lists")


def _amount(report: CheckReport) -> str:
    """How many sections there are, and how many findings that ask for something, and that only inform."""
    warnings = plural(report.warnings, "warning") if report.warnings else "no warnings"
    parts = [plural(report.sections or 0, _NOUNS[report.kind])] if report.kind in _NOUNS else []
    parts += ["no errors", warnings]
    return ", ".join([*parts, plural(report.remarks, "note")] if report.remarks else parts)


def _document(report: CheckReport) -> Json:
    """One file in JSON."""
    return {
        "file": report.path,
        "kind": report.kind.value,
        "rules": report.sections if report.kind in _NOUNS else None,
        "errors": [problem_document(problem) for problem in report.problems],
        "findings": [
            {"code": finding.code, "severity": finding.severity.value} | problem_document(finding.problem)
            for finding in report.findings
        ],
        "notes": list(report.notes),
    }
