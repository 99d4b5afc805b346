"""Documents on namespaces and their limits: what the HTTP interface answers, and what pages are made of.

The docstrings are part of the interface: OpenAPI and `/docs` show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from carbonquota.controls import CONTROLS, NamespaceQuota
from carbonquota.model import Limits, Rule, Usage
from carbonquota.service.documents import RuleDocument, rule_document


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit in force, what is used and left of it (below 0 where usage is above it), and usage in percent of it.

    `control` is spelled as in the rules file; a `throughput` is per report interval. `percent` is null where the limit
    is 0, as one per minute may be in a shorter interval.
    """

    control: str
    limit: int
    usage: int
    headroom: int
    percent: float | None


@dataclass(frozen=True, slots=True)
class Child:
    """A direct sub-namespace, what it holds, and the limits of the rule that holds it, if any does."""

    namespace: str
    usage: Usage
    controls: tuple[LimitState, ...]


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """A namespace: what it holds, the rule that holds it, rules that match it but lose, and one page of its children.

    `total` is how many children there are; `children` are `limit` of them at most, from number `offset` on.
    """

    namespace: str
    usage: Usage
    rule: RuleDocument | None
    lost: tuple[RuleDocument, ...]
    controls: tuple[LimitState, ...]
    total: int
    offset: int
    limit: int
    children: tuple[Child, ...]


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """A namespace under a rule: its limits, and `percent` of the most pressing one (null: it has none).

    `throttle` are the points that were over a limit since the last report, enforced or not; `dropped` are those that
    were really dropped, by control.
    """

    namespace: str
    rule: RuleDocument
    percent: float | None
    throttle: int
    dropped: dict[str, int]
    controls: tuple[LimitState, ...]


@dataclass(frozen=True, slots=True)
class QuotaPage:
    """One page of the namespaces under rules, of `total` that were asked for."""

    total: int
    offset: int
    limit: int
    quotas: tuple[QuotaRow, ...]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule in force, as its file has it (null: no limit), and how many namespaces it holds now."""

    pattern: str
    file: str
    line: int
    enforced: bool
    dropping_policy: str
    stat_metric_prefix: str
    limits: Limits
    namespaces: int


@dataclass(frozen=True, slots=True)
class RulesDocument:
    """All rules in force, in file order: of those that match a namespace the last one holds it."""

    rules: tuple[RuleRow, ...]


def limit_state(control: str, limit: int, usage: int) -> LimitState:
    """One limit's document."""
    return LimitState(control, limit, usage, limit - usage, _percent(_part(limit, usage)))


def quota_row(quota: NamespaceQuota) -> QuotaRow:
    """One namespace's document."""
    return QuotaRow(
        namespace=quota.namespace,
        rule=rule_document(quota.rule),
        percent=_percent(_pressure(quota)),
        throttle=quota.throttle,
        dropped=dict(quota.dropped),
        controls=tuple(limit_state(*amounts) for amounts in _amounts(quota)),
    )


def _pressure(quota: NamespaceQuota) -> float:
    """The usage of the most pressing limit as a part of it: infinite for a limit of 0, -1 where nothing is limited."""
    return max((_part(limit, usage) for _, limit, usage in _amounts(quota)), default=-1.0)


def _amounts(quota: NamespaceQuota) -> Iterable[tuple[str, int, int]]:
    """Key, limit and usage of each control that is set."""
    for control in CONTROLS:
        limit = getattr(quota.limits, control.stat)
        if limit is not None:
            yield control.key, limit, getattr(quota.usage, control.stat)


def _part(limit: int, usage: int) -> float:
    return usage / limit if limit else math.inf


def _percent(part: float) -> float | None:
    return round(100 * part, 2) if 0 <= part < math.inf else None


def rule_row(rule: Rule, namespaces: int) -> RuleRow:
    """One rule's document."""
    return RuleRow(
        pattern=rule.pattern,
        file=rule.source,
        line=rule.line,
        enforced=rule.enforcing,
        dropping_policy=rule.policy.value,
        stat_metric_prefix=rule.stat_prefix,
        limits=rule.limits,
        namespaces=namespaces,
    )
