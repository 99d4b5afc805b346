"""`carbonquota explain`: which rules hold a metric, and whether it would be accepted."""

from __future__ import annotations

import click

from carbonquota.cli.index import NO_RULES, fill, size_of_schemas
from carbonquota.cli.options import (
    SOURCE_HELP,
    index_option,
    interval_option,
    output_options,
    rules_option,
    schemas_option,
    throughput_option,
)
from carbonquota.cli.output import Column, Json, Output, Table, Tone, number, rule_document
from carbonquota.controls import ControlState, Explanation, NamespaceExplanation, ThroughputUnit
from carbonquota.engine import QuotaEngine
from carbonquota.errors import InputError
from carbonquota.model import MAXIMUM, Rule, Size, Verdict
from carbonquota.rules import RuleSet

_COLUMNS = (
    Column("  control"),
    Column("limit", numeric=True),
    Column("usage", numeric=True),
    Column("headroom", numeric=True),
    Column("needed", numeric=True),
    Column("offer"),
)


@click.command(epilog=SOURCE_HELP)
@rules_option
@schemas_option
@index_option
@interval_option
@throughput_option
@click.option("--expect", type=click.Choice(["accepted", "rejected"]), help="Exit with 1 if any metric is not that.")
@output_options
@click.argument("metrics", metavar="METRIC...", nargs=-1, required=True)
@click.pass_context
def command(  # noqa: PLR0913 - click hands every switch over by name
    ctx: click.Context,
    *,
    metrics: tuple[str, ...],
    rules_path: str,
    schemas_path: str | None,
    index: tuple[str, ...],
    interval: float,
    throughput_unit: ThroughputUnit,
    expect: str | None,
    as_json: bool,
    no_color: bool,
) -> None:
    """Tell which rules hold a metric, and whether one point of it would be accepted now.

    Each namespace above the metric is shown with the rule that holds it, the rules that match it but lose, and
    each limit. Usage is what the --index holds; without one, everything is new. Exit 0; 1 if --expect is not met.
    """
    for metric in metrics:
        if len(metric.split()) != 1:
            raise InputError(f"{metric!r} is no metric name, as it has blanks in it: give the name alone")
    output = Output(as_json=as_json, no_color=no_color)
    rules = RuleSet.from_file(rules_path)
    engine = QuotaEngine(NO_RULES, size_of=size_of_schemas(schemas_path), clock=lambda: 0.0,
                         interval=interval, throughput_unit=throughput_unit)  # fmt: skip
    unread = fill(engine, index, output).document() if index else {}
    engine.apply(rules)
    explanations = [engine.explain(metric) for metric in metrics]
    if not index:
        output.note("no --index given: usage is 0 and every metric is new")
    output.document({"metrics": [_document(explanation) for explanation in explanations]} | unread)
    for number_of, explanation in enumerate(explanations):
        if number_of:
            output.line()
        _show(explanation, output)
    unmet = [one for one in explanations if expect and one.verdict.accepted != (expect == "accepted")]
    for explanation in unmet:
        output.note(f"{explanation.metric}: expected to be {expect}, but it is {_outcome(explanation.verdict)}")
    if unmet:
        ctx.exit(1)


def _outcome(verdict: Verdict) -> str:
    """A verdict in words."""
    if verdict.accepted:
        return "accepted"
    return f"rejected by the {verdict.control} limit of {verdict.namespace}, rule {verdict.rule}"


def _show(explanation: Explanation, output: Output) -> None:
    """Print all about one metric."""
    kind = "in the index" if explanation.known else "new"
    accepted = explanation.verdict.accepted
    tone = Tone.PLAIN if accepted else Tone.BAD
    output.line(f"{explanation.metric} ({kind}): {_outcome(explanation.verdict)}", tone=tone)
    if not explanation.known:
        output.line(f"  would hold {_size(explanation.size)}")
    for namespace in explanation.namespaces:
        _show_namespace(namespace, output)


def _size(size: Size) -> str:
    """A size in words."""
    return (
        f"{number(size.data_points)} data points, {number(size.logical)} bytes logical, "
        f"{number(size.physical)} bytes physical"
    )


def _show_namespace(namespace: NamespaceExplanation, output: Output) -> None:
    """Print the rule that holds a namespace, those that it overrides, and each limit."""
    output.line(f"{namespace.namespace}: {_rule(namespace.rule)}")
    for lost in namespace.lost:
        output.line(f"  overrides {lost}")
    table = Table(_COLUMNS)
    for state in namespace.controls:
        table.add(*_state_cells(state), tone=Tone.BAD if state.over else Tone.PLAIN)
    if table.rows:
        output.table(table)


def _rule(rule: Rule | None) -> str:
    """The rule that holds a namespace, in words."""
    if rule is None:
        return "no rule"
    return str(rule) if rule.enforcing else f"{rule}, not enforced"


def _state_cells(state: ControlState) -> tuple[str, str, str, str, str, str]:
    """The cells of one limit."""
    headroom = number(MAXIMUM if state.limit == MAXIMUM else state.headroom)
    fit = "over" if state.over else "fits"
    return f"  {state.control}", number(state.limit), number(state.usage), headroom, number(state.needed), fit


def _document(explanation: Explanation) -> Json:
    """All about one metric in JSON."""
    verdict = explanation.verdict
    size = explanation.size
    return {
        "metric": explanation.metric,
        "known": explanation.known,
        "accepted": verdict.accepted,
        "rejected_by": None
        if verdict.accepted
        else {
            "namespace": verdict.namespace,
            "control": verdict.control,
            "rule": rule_document(verdict.rule),
        },
        "size": {"logical": size.logical, "physical": size.physical, "data_points": size.data_points},
        "namespaces": [_namespace_document(namespace) for namespace in explanation.namespaces],
    }


def _namespace_document(namespace: NamespaceExplanation) -> Json:
    """One namespace of a metric in JSON."""
    return {
        "namespace": namespace.namespace,
        "exists": namespace.exists,
        "rule": rule_document(namespace.rule),
        "lost": [rule_document(rule) for rule in namespace.lost],
        "controls": [
            {
                "control": state.control,
                "limit": state.limit,
                "usage": state.usage,
                "headroom": state.headroom,
                "needed": state.needed,
                "over": state.over,
            }
            for state in namespace.controls
        ],
    }
