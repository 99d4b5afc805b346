"""`carbonquota limits check`: rules of rate limits read for errors, and for what does not do what it seems to."""

from __future__ import annotations

import click

from carbonquota.cli.limits.options import read_rules
from carbonquota.cli.options import output_options
from carbonquota.cli.output import Json, Output, Tone, plural, problem_document
from carbonquota.errors import MOST_SHOWN, ConfigError, Problem
from carbonquota.limiter.rules import lint
from carbonquota.rules import Finding, Severity

EXIT_FINDINGS = 3
"""With --lint-fatal: no errors, but warnings."""


@click.command("check")
@click.option("--lint-fatal", is_flag=True, help="Exit with 3 on warnings; notes never count.")
@output_options
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=str, readable=False))
@click.pass_context
def command(ctx: click.Context, *, paths: tuple[str, ...], lint_fatal: bool, as_json: bool, no_color: bool) -> None:
    """Check rules of rate limits: all errors with their places, then what is allowed but looks wrong.

    A PATH is a file of YAML, or a directory of files that end in .yaml or .yml; files of envoyproxy/ratelimit are read
    as they are. All of them are one set of rules. Exit 0; 1 if there are errors; 3 with --lint-fatal if there are no
    errors, but warnings.
    """
    output = Output(as_json=as_json, no_color=no_color)
    name = ", ".join(map(click.format_filename, paths))
    try:
        rules = read_rules(paths)
    except ConfigError as error:
        output.document({"errors": [_problem(problem) for problem in error.problems], "findings": [], "rules": None})
        for problem in error.problems[:MOST_SHOWN]:
            output.line(str(problem), tone=Tone.BAD)
        output.line(f"{name}: {plural(len(error.problems), 'error')}")
        ctx.exit(1)
    findings = lint(rules)
    warnings = sum(found.severity is Severity.WARNING for found in findings)
    output.document({"errors": [], "findings": [_finding(found) for found in findings], "rules": len(rules.rules())})
    for found in findings:
        output.line(str(found), tone=Tone.WARNING if found.severity is Severity.WARNING else Tone.PLAIN)
    told = plural(warnings, "warning") if warnings else "no warnings"
    notes = f", {plural(len(findings) - warnings, 'note')}" if len(findings) > warnings else ""
    domains = plural(len(rules.domains), "domain")
    output.line(f"{name}: {plural(len(rules.rules()), 'rule')} in {domains}, no errors, {told}{notes}")
    if lint_fatal and warnings:
        ctx.exit(EXIT_FINDINGS)


def _problem(problem: Problem) -> Json:
    return {"file": problem.source} | problem_document(problem)


def _finding(found: Finding) -> Json:
    return {"code": found.code, "severity": found.severity.value, **_problem(found.problem)}
