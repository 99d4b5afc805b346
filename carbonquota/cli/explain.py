"""`carbonquota explain`: which rules hold a metric, and whether it would be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import click

from carbonquota.cli.index import NO_RULES, fill, size_of_schemas
from carbonquota.cli.options import (
    SOURCE_HELP,
    index_option,
    interval_option,
    output_options,
    refuse_with_url,
    require,
    schemas_option,
    throughput_option,
    url_option,
)
from carbonquota.cli.output import Column, Json, Output, TextTable, Tone, number
from carbonquota.cli.remote import LiveDaemon
from carbonquota.cli.rules_files import read_rules
from carbonquota.controls import ThroughputUnit
from carbonquota.engine import QuotaEngine
from carbonquota.errors import InputError
from carbonquota.model import MAXIMUM, Size
from carbonquota.service.documents import (
    ControlDocument,
    ExplainDocument,
    ExplainedMetric,
    ExplainedNamespace,
    RuleDocument,
    explained_metric,
)

_COLUMNS = (
    Column("  control"),
    Column("limit", numeric=True),
    Column("usage", numeric=True),
    Column("headroom", numeric=True),
    Column("needed", numeric=True),
    Column("offer"),
)


@click.command(epilog=SOURCE_HELP)
@click.option("--rules", "rules_path", metavar="FILE", type=click.Path(path_type=str, readable=False),
              help="The storage-quotas.conf to apply; required without --url.")  # fmt: skip
@schemas_option
@index_option
@interval_option
@throughput_option
@url_option
@click.option("--cluster", is_flag=True, help="With --url, decide by what all nodes of its cluster use together.")
@click.option("--expect", type=click.Choice(["accepted", "rejected"]), help="Exit with 1 if any metric is not that.")
@output_options
@click.argument("metrics", metavar="METRIC...", nargs=-1)
@click.pass_context
def command(  # noqa: PLR0913 - click hands every switch over by name
    ctx: click.Context,
    *,
    metrics: tuple[str, ...],
    rules_path: str | None,
    cluster: bool,
    schemas_path: str | None,
    index: tuple[str, ...],
    interval: float,
    throughput_unit: ThroughputUnit,
    url: str | None,
    expect: str | None,
    as_json: bool,
    no_color: bool,
) -> None:
    """Tell which rules hold a metric, and whether one point of it would be accepted now.

    Each namespace above the metric is shown with the rule that holds it, the rules that match it but lose, and
    each limit. Usage is what the --index holds; without one, everything is new. With --url, all of it is that of a
    live daemon. Exit 0; 1 if --expect is not met.
    """
    require(ctx, "metrics")
    _check_names(metrics)
    output = Output(as_json=as_json, no_color=no_color)
    if url is not None:
        refuse_with_url(ctx, "rules_path", "schemas_path", "index", "interval", "throughput_unit")
        explained, unread = _live(LiveDaemon(url), metrics, **({"of": "cluster"} if cluster else {})), {}
    else:
        if cluster:
            raise click.UsageError("--cluster needs --url: files tell nothing of other nodes", ctx)
        require(ctx, "rules_path")
        rules = read_rules(rules_path or "")
        engine = QuotaEngine(NO_RULES, size_of=size_of_schemas(schemas_path), clock=lambda: 0.0,
                             interval=interval, throughput_unit=throughput_unit)  # fmt: skip
        unread = _fill(engine, index, output)
        engine.apply(rules)
        explained = [explained_metric(engine.explain(metric)) for metric in metrics]
    output.document(asdict(ExplainDocument(tuple(explained))) | unread)
    for number_of, one in enumerate(explained):
        if number_of:
            output.line()
        _show(one, output)
    if expect and not _all_are(expect, explained, output):
        ctx.exit(1)


def _check_names(metrics: Iterable[str]) -> None:
    """InputError where one of them is no name alone, as a line of the plaintext protocol is none."""
    for metric in metrics:
        if len(metric.split()) != 1:
            why = "as it has blanks in it: give the name alone" if metric.strip() else "as there is nothing in it"
            raise InputError(f"{metric!r} is no metric name, {why}")


def _live(daemon: LiveDaemon, metrics: Iterable[str], **query: str) -> list[ExplainedMetric]:
    """What a live daemon says of each metric."""
    documents = [daemon.ask(ExplainDocument, "/api/explain", metric=metric, **query) for metric in metrics]
    return [metric for document in documents for metric in document.metrics]


def _fill(engine: QuotaEngine, index: Sequence[str], output: Output) -> Json:
    """Load what exists into an engine without rules; what of it could not be read, for JSON."""
    if index:
        return fill(engine, index, output).document()
    output.note("no --index given: usage is 0 and every metric is new")
    return {}


def _all_are(expected: str, explained: Iterable[ExplainedMetric], output: Output) -> bool:
    """Whether every metric is `accepted` or `rejected`, as expected; each that is not is told."""
    unmet = [metric for metric in explained if metric.accepted != (expected == "accepted")]
    for metric in unmet:
        output.note(f"{metric.metric}: expected to be {expected}, but it is {_outcome(metric)}")
    return not unmet


def _outcome(metric: ExplainedMetric) -> str:
    """What becomes of a metric, in words."""
    rejection = metric.rejected_by
    if rejection is None:
        return "accepted"
    return f"rejected by the {rejection.control} limit of {rejection.namespace}, rule {rejection.rule}"


def _show(metric: ExplainedMetric, output: Output) -> None:
    """Print all about one metric."""
    kind = "in the index" if metric.known else "new"
    tone = Tone.PLAIN if metric.accepted else Tone.BAD
    output.line(f"{metric.metric} ({kind}): {_outcome(metric)}", tone=tone)
    if not metric.known:
        output.line(f"  would hold {_size(metric.size)}")
    for namespace in metric.namespaces:
        _show_namespace(namespace, output)


def _size(size: Size) -> str:
    """A size in words."""
    return (
        f"{number(size.data_points)} data points, {number(size.logical)} bytes logical, "
        f"{number(size.physical)} bytes physical"
    )


def _show_namespace(namespace: ExplainedNamespace, output: Output) -> None:
    """Print the rule that holds a namespace, those that it overrides, and each limit."""
    output.line(f"{namespace.namespace}: {_rule(namespace.rule)}")
    for lost in namespace.lost:
        output.line(f"  overrides {lost}")
    table = TextTable(_COLUMNS)
    for state in namespace.controls:
        table.add(*_state_cells(state), tone=Tone.BAD if state.over else Tone.PLAIN)
    if table.rows:
        output.table(table)


def _rule(rule: RuleDocument | None) -> str:
    """The rule that holds a namespace, in words."""
    if rule is None:
        return "no rule"
    return str(rule) if rule.enforced else f"{rule}, not enforced"


def _state_cells(state: ControlDocument) -> tuple[str, str, str, str, str, str]:
    """The cells of one limit."""
    headroom = number(MAXIMUM if state.limit == MAXIMUM else state.headroom)
    fit = "over" if state.over else "fits"
    return f"  {state.control}", number(state.limit), number(state.usage), headroom, number(state.needed), fit
