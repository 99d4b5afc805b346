"""How the outcome of a dry run is shown: as tables, or as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

from carbonquota.cli.comparison import LimitChange, RulesComparison
from carbonquota.cli.intake import SourceIntake
from carbonquota.cli.limit_usages import LimitUsage
from carbonquota.cli.output import Column, Json, Output, TextTable, Tone, number, plural
from carbonquota.cli.trial import Rejection, TrialOutcome
from carbonquota.model import Rule
from carbonquota.service.documents import rule_document

Item = TypeVar("Item")

_LIMIT_COLUMNS = (
    Column("namespace", folds=True),
    Column("control"),
    Column("limit", numeric=True),
    Column("usage", numeric=True),
    Column("percent", numeric=True),
    Column("over", numeric=True),
    Column("rejected", numeric=True),
    Column("rule", folds=True),
)
_CHANGE_COLUMNS = tuple(column for column in _LIMIT_COLUMNS if column.heading != "percent")
_REJECTION_COLUMNS = (
    Column("rejected by", folds=True),
    Column("control"),
    Column("points", numeric=True),
    Column("rule", folds=True),
    Column("such as", folds=True),
)


def show(outcome: TrialOutcome, intake: SourceIntake, output: Output, top: int) -> None:
    """Show every limit and what the sources ask of it, then what would be rejected and by which rule.

    `top` is how many rows each table has at most, 0 for all.
    """
    output.document(
        _summary(outcome, intake)
        | {
            "quotas": [_limit_document(one) for one in _first(outcome.limits, top)],
            "rejections": [_rejection_document(rejection) for rejection in _first(outcome.rejections, top)],
        }
    )
    if outcome.limits:
        _show_table(output, _LIMIT_COLUMNS, outcome.limits, _limit_row, top)
    else:
        output.line("No rule holds any of these namespaces.")
    if outcome.rejections:
        output.line()
        _show_table(output, _REJECTION_COLUMNS, outcome.rejections, _rejection_row, top)
    output.line()
    _show_verdict(outcome, output)


def show_changes(comparison: RulesComparison, intake: SourceIntake, output: Output, top: int) -> None:
    """Show what is different in the rules, and the limits of namespaces that come out different, as `show` does."""
    outcome, changes = comparison.outcome, comparison.changes
    output.document(
        _summary(outcome, intake)
        | {
            "rules_changed": comparison.rules_changed,
            "changes": [_change_document(change) for change in _first(changes, top)],
        }
    )
    for line in comparison.rules_changed:
        output.line(line)
    if comparison.rules_changed:
        output.line()
    if not changes:
        output.line("Nothing changes for these metrics: each limit is the same, and so is what it rejects.")
        return
    _show_table(output, _CHANGE_COLUMNS, changes, _change_row, top)
    output.line()
    _show_verdict(outcome, output)


def _show_table(
    output: Output, columns: Sequence[Column], items: Sequence[Item], row: Callable[[Item], tuple[str, ...]], top: int
) -> None:
    """Print the first items as a table, and how many there are more."""
    table = TextTable(columns)
    for item in _first(items, top):
        table.add(*row(item), tone=_tone(item))
    output.table(table)
    if (more := len(items) - len(table.rows)) > 0:
        output.line(f"... and {number(more)} more; --top 0 shows all")


def _first(items: Sequence[Item], top: int) -> Sequence[Item]:
    """The first `top` of them; all for 0."""
    return items[:top] if top else items


def _tone(item: object) -> Tone:
    """The colour of a row: what is rejected stands out, and so does what is only over its limit."""
    one = item.latest if isinstance(item, LimitChange) else item
    if not isinstance(one, LimitUsage):
        return Tone.PLAIN
    if one.rejected:
        return Tone.BAD
    return Tone.WARNING if one.over else Tone.PLAIN


def _show_verdict(outcome: TrialOutcome, output: Output) -> None:
    """Say in a line how many points would get through."""
    metrics, namespaces = plural(outcome.metrics, "metric"), plural(outcome.namespaces, "namespace")
    amount = f"{plural(outcome.accepted + outcome.rejected, 'point')} of {metrics} in {namespaces}"
    if outcome.rejected:
        output.line(f"{amount}: {number(outcome.rejected)} would be rejected.", tone=Tone.BAD)
    else:
        output.line(f"{amount}: all would be accepted.")


def _limit_row(one: LimitUsage) -> tuple[str, ...]:
    """The cells of one limit."""
    return (
        one.namespace,
        one.control,
        number(one.limit),
        number(one.usage),
        _percent(one.percent),
        _unless_zero(one.over),
        _unless_zero(one.rejected),
        _rule(one.rule),
    )


def _rejection_row(rejection: Rejection) -> tuple[str, ...]:
    """The cells of what one limit turned away."""
    return (
        rejection.namespace,
        rejection.control,
        number(rejection.points),
        _rule(rejection.rule),
        ", ".join(rejection.samples),
    )


def _change_row(change: LimitChange) -> tuple[str, ...]:
    """The cells of one limit that changed, each as `old -> new` where the two differ."""
    limit, over, rejected, rule = map(_arrow, _sides(change.old), _sides(change.new))
    latest = change.latest
    return (latest.namespace, latest.control, limit, number(latest.usage), over, rejected, rule)


def _sides(one: LimitUsage | None) -> tuple[str, str, str, str]:
    """Limit, amount over it, rejected points and rule on one side of a change; dashes where it sets no limit."""
    if one is None:
        return "-", "-", "-", "-"
    return number(one.limit), number(one.over), number(one.rejected), _rule(one.rule)


def _arrow(old: str, new: str) -> str:
    """What was and what is; once where that is the same."""
    return old if old == new else f"{old} -> {new}"


def _percent(percent: float) -> str:
    """A percentage, exact enough to tell 99.9 from 100."""
    return "-" if math.isinf(percent) else f"{percent:,.1f}%"


def _unless_zero(amount: int) -> str:
    """A number, or a dash for 0, so that the others catch the eye."""
    return number(amount) if amount else "-"


def _rule(rule: Rule) -> str:
    """Where a rule stands and what its section is called."""
    return f"[{rule.pattern}] {rule.place}" + ("" if rule.enforcing else " (not enforced)")


def _summary(outcome: TrialOutcome, intake: SourceIntake) -> Json:
    """What JSON has of a dry run as a whole."""
    points = {
        "offered": outcome.accepted + outcome.rejected,
        "accepted": outcome.accepted,
        "rejected": outcome.rejected,
    }
    return {"points": points, "metrics": outcome.metrics, "namespaces": outcome.namespaces} | intake.document()


def _limit_document(one: LimitUsage) -> Json:
    """One limit in JSON."""
    return {"namespace": one.namespace, "control": one.control} | _amounts(one)


def _amounts(one: LimitUsage) -> Json:
    """What a limit is and what is asked of it, in JSON."""
    return {
        "limit": one.limit,
        "usage": one.usage,
        "percent": None if math.isinf(one.percent) else round(one.percent, 2),
        "over": one.over,
        "rejected": one.rejected,
        "rule": asdict(rule_document(one.rule)),
    }


def _change_document(change: LimitChange) -> Json:
    """One limit that changed in JSON, `old` or `new` being null where the rules do not set it."""
    return {
        "namespace": change.latest.namespace,
        "control": change.latest.control,
        "old": _amounts(change.old) if change.old else None,
        "new": _amounts(change.new) if change.new else None,
    }


def _rejection_document(rejection: Rejection) -> Json:
    """What one limit turned away in JSON."""
    return {
        "namespace": rejection.namespace,
        "control": rejection.control,
        "points": rejection.points,
        "rule": asdict(rule_document(rejection.rule)),
        "samples": rejection.samples,
    }
