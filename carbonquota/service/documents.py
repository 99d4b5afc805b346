"""The JSON documents that the command line and the daemon's HTTP interface share, as values.

A document's keys are its fields. `asdict` makes JSON of it, and either side may make one of JSON, so that a command
shows what a daemon says just as it shows what it found out itself. Keys are only ever added.
"""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING

from carbonquota.control import HELD
from carbonquota.controls import ControlState, Explanation, NamespaceExplanation
from carbonquota.model import Rule, Size


@dataclass(frozen=True, slots=True)
class RuleDocument:
    """A rule: its pattern, where it stands, and whether it rejects what is over its limits (`enforced`)."""

    pattern: str
    file: str
    line: int
    enforced: bool

    def __str__(self) -> str:
        """The rule as a person refers to it: `[pattern] (file:line)`."""
        return f"[{self.pattern}] ({self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class RejectionDocument:
    """What rejects a metric."""

    namespace: str
    control: str
    rule: RuleDocument


@dataclass(frozen=True, slots=True)
class ControlDocument:
    """One limit, what is used and left of it, what an offer needs, and whether the offer is over it."""

    control: str
    limit: int
    usage: int
    headroom: int
    needed: int
    over: bool


@dataclass(frozen=True, slots=True)
class ExplainedNamespace:
    """One namespace above a metric, the rule that holds it, and the rules that match it but lose."""

    namespace: str
    exists: bool
    rule: RuleDocument | None
    lost: tuple[RuleDocument, ...]
    controls: tuple[ControlDocument, ...]


@dataclass(frozen=True, slots=True)
class ExplainedMetric:
    """All that decides about one metric; `rejected_by` is null where it would be accepted."""

    metric: str
    known: bool
    accepted: bool
    rejected_by: RejectionDocument | None
    size: Size
    namespaces: tuple[ExplainedNamespace, ...]


@dataclass(frozen=True, slots=True)
class ExplainDocument:
    """What `carbonquota explain --json` prints and `/api/explain` answers."""

    metrics: tuple[ExplainedMetric, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    namespace: str
    depth: int
    hidden: int


if TYPE_CHECKING:

    class UsageLine(_Line):
        """One line of a tree of usage: a namespace, or where `hidden` is above 0, so many children of it together.

        Behind that it has a field for each amount that is held, in the order of `HELD`.
        """

        def __init__(self, namespace: str, depth: int, hidden: int, *amounts: int) -> None: ...
        def __getattr__(self, amount: str) -> int: ...
else:
    UsageLine = make_dataclass("UsageLine", [(amount, int) for amount in HELD], bases=(_Line,), frozen=True, slots=True)
    UsageLine.__module__ = __name__
    UsageLine.__doc__ = "A namespace, or where `hidden` is above 0, so many children of it together."


@dataclass(frozen=True, slots=True)
class UsageDocument:
    """What `carbonquota usage --json` prints and `/api/usage` answers."""

    usage: tuple[UsageLine, ...]


def rule_document(rule: Rule) -> RuleDocument:
    """A rule's document."""
    return RuleDocument(rule.pattern, rule.source, rule.line, rule.enforcing)


def explained_metric(explanation: Explanation) -> ExplainedMetric:
    """An explanation's document."""
    return ExplainedMetric(
        metric=explanation.metric,
        known=explanation.known,
        accepted=explanation.verdict.accepted,
        rejected_by=_rejection(explanation),
        size=explanation.size,
        namespaces=tuple(map(_explained_namespace, explanation.namespaces)),
    )


def _rejection(explanation: Explanation) -> RejectionDocument | None:
    verdict = explanation.verdict
    if verdict.namespace is None or verdict.control is None or verdict.rule is None:
        return None
    return RejectionDocument(verdict.namespace, verdict.control, rule_document(verdict.rule))


def _explained_namespace(namespace: NamespaceExplanation) -> ExplainedNamespace:
    return ExplainedNamespace(
        namespace=namespace.namespace,
        exists=namespace.exists,
        rule=None if namespace.rule is None else rule_document(namespace.rule),
        lost=tuple(map(rule_document, namespace.lost)),
        controls=tuple(map(_control, namespace.controls)),
    )


def _control(state: ControlState) -> ControlDocument:
    return ControlDocument(state.control, state.limit, state.usage, state.headroom, state.needed, state.over)
