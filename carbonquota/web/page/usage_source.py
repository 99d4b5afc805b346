"""What the explorer shows, and whom it asks: one daemon, or whoever knows a whole fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from carbonquota.rules import Finding
from carbonquota.service.documents import ExplainedMetric
from carbonquota.service.rates import RateHistory
from carbonquota.service.sorting import ChildSort, Order, QuotaSort
from carbonquota.service.usage_documents import NamespacePage, QuotaPage, QuotaRow, RulesDocument


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source is: `status` is `ok`, `degraded` or `failing`, with the reasons, a line each.

    `counts` are data points since the start by what became of them. `reload_error` has every problem of rules that
    were refused, in full; it is empty where the files are in force.
    """

    status: str
    reasons: tuple[str, ...]
    version: str
    uptime: float
    metrics: int
    namespaces: int
    ruled: int
    rules: int
    interval: float
    counts: dict[str, int] = field(default_factory=dict)
    reload_error: str = ""


@dataclass(frozen=True, slots=True)
class Pressing:
    """Who needs to be looked at: who was over a limit in this interval or the last, and who is nearest to one.

    `before` has the points dropped in the interval before by namespace and control; `over` tells how many namespaces
    are over a limit in all. Both lists are bounded, the worst first.
    """

    dropping: Sequence[QuotaRow]
    before: dict[tuple[str, str], int]
    near: Sequence[QuotaRow]
    over: int


class UsageSource(Protocol):
    """Whose usage is shown. Every call may wait, and come from any thread."""

    def status(self) -> SourceStatus:
        """How it is now."""

    def rates(self) -> RateHistory | None:
        """What came in and became of it over time; None where nobody keeps that."""

    def pressing(self, most: int) -> Pressing:
        """The `most` pressing namespaces of each kind."""

    def namespace(
        self, namespace: str, sort: ChildSort, order: Order | None, limit: int, offset: int
    ) -> NamespacePage | None:
        """A namespace with a page of its children; None where no metric lies in it, MetricNameError where none can."""

    def quotas(self, *, sort: QuotaSort, order: Order | None, limit: int, offset: int, over: bool) -> QuotaPage:
        """A page of the namespaces under rules."""

    def explain(self, metric: str, points: int) -> ExplainedMetric:
        """All that decides about a metric now; MetricNameError where it is none."""

    def rules(self) -> RulesDocument:
        """The rules in force."""

    def findings(self) -> Sequence[Finding]:
        """What looks wrong in them."""
