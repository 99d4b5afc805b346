"""`carbonquota dry-run`: what rules would do to metrics, without doing it."""

from __future__ import annotations

import click

from carbonquota.cli import dry_run_report
from carbonquota.cli.comparison import compare
from carbonquota.cli.index import size_of_schemas
from carbonquota.cli.intake import read_sources
from carbonquota.cli.options import (
    SOURCE_HELP,
    interval_option,
    output_options,
    rows_shown,
    rules_option,
    schemas_option,
    sources_argument,
    throughput_option,
    top_option,
)
from carbonquota.cli.output import Output
from carbonquota.cli.rules_files import read_rules
from carbonquota.cli.trial import TrialTarget
from carbonquota.controls import ThroughputUnit
from carbonquota.model import Size

EXIT_DROPPED = 2
"""With --fail-on-drop: something would be rejected."""


class Both:
    """A target that hands everything to two trials, so that one reading of the sources is enough."""

    def __init__(self, old: TrialTarget, new: TrialTarget) -> None:
        """The trials of the old and the new rules."""
        self._old = old
        self._new = new

    def take_lines(self, plaintext: bytes) -> tuple[int, int]:
        """Offer plaintext lines to both."""
        self._old.take_lines(plaintext)
        return self._new.take_lines(plaintext)

    def take_metric(self, metric: str, size: Size) -> None:
        """Offer a metric to both."""
        self._old.take_metric(metric, size)
        self._new.take_metric(metric, size)


@click.command("dry-run", epilog=SOURCE_HELP)
@rules_option
@schemas_option
@click.option("--against", metavar="OLD", help="Show only what changes compared with this storage-quotas.conf.")
@interval_option
@throughput_option
@top_option
@click.option("--fail-on-drop", is_flag=True, help="Exit with 2 if anything would be rejected.")
@output_options
@sources_argument
@click.pass_context
def command(  # noqa: PLR0913 - click hands every switch over by name
    ctx: click.Context,
    *,
    sources: tuple[str, ...],
    rules_path: str,
    schemas_path: str | None,
    against: str | None,
    interval: float,
    throughput_unit: ThroughputUnit,
    top: int | None,
    fail_on_drop: bool,
    as_json: bool,
    no_color: bool,
) -> None:
    """Tell what rules would do to the metrics of some sources, without doing it.

    Every metric is offered once, in order, and all within one interval: a name counts as one point, and so does a
    plaintext line. Usage is what there would be if nothing were rejected. Exit 0; 2 with --fail-on-drop if
    anything would be rejected; 1 if a source cannot be read.
    """
    output = Output(as_json=as_json, no_color=no_color)
    rows = rows_shown(top, as_json=as_json)
    size_of = size_of_schemas(schemas_path)
    trial = TrialTarget(read_rules(rules_path), size_of, interval, throughput_unit)
    if against is None:
        intake = read_sources(sources, trial, output)
        outcome = trial.outcome()
        dry_run_report.show(outcome, intake, output, rows)
    else:
        old = TrialTarget(read_rules(against), size_of, interval, throughput_unit)
        intake = read_sources(sources, Both(old, trial), output)
        comparison = compare(old, trial)
        outcome = comparison.outcome
        dry_run_report.show_changes(comparison, intake, output, rows)
    if fail_on_drop and outcome.rejected:
        ctx.exit(EXIT_DROPPED)
