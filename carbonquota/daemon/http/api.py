"""The questions under `/api`: what namespaces hold, why a metric is rejected, the rules, who is near a limit.

Every endpoint is a plain function, so it runs on a thread of its own: the engine's calls are thread-safe and may wait
for its lock, and sorting a hundred thousand children takes a while. The docstrings are what `/docs` says.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Annotated, Final, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Path, Query

from carbonquota.controls import NamespaceQuota
from carbonquota.daemon.http.documents import (
    Answers,
    Child,
    NamespacePage,
    QuotaPage,
    QuotaRow,
    Refusal,
    RulesDocument,
    is_over,
    limit_state,
    pressure,
    quota_row,
    rule_row,
)
from carbonquota.daemon.http.standings import Standings
from carbonquota.engine import QuotaEngine
from carbonquota.errors import MetricNameError
from carbonquota.metric_name import DEEPEST, LONGEST, normalize_namespace
from carbonquota.model import MAXIMUM, ROOT
from carbonquota.service.documents import (
    ExplainDocument,
    UsageDocument,
    UsageLine,
    explained_metric,
    rule_document,
)
from carbonquota.service.usage_tree import TreeSort, UsageTree

MOST_LINES: Final = 20_000
"""Lines of a tree in one answer."""
_MOST_ROWS: Final = 1000
_MOST_METRICS: Final = 100

ChildSort = Literal["name", "namespaces", "metrics", "logical_size", "physical_size", "data_points", "throughput"]
QuotaSort = Literal["percent", "namespace", "throttle", "dropped"]
Order = Literal["asc", "desc"]
Row = TypeVar("Row")

NamespaceName = Annotated[str, Path(max_length=LONGEST, description="Its dotted name; empty is the root")]
Limit = Annotated[int, Query(ge=1, le=_MOST_ROWS, description="The most rows of the answer")]
Offset = Annotated[int, Query(ge=0, le=MAXIMUM, description="How many rows to pass over")]
Ordered = Annotated[Order | None, Query(description="Amounts come largest first unless told, names from a on")]

_BAD: Final[Answers] = {422: {"model": Refusal, "description": "A parameter is out of range"}}
_UNKNOWN: Final[Answers] = {404: {"model": Refusal, "description": "No metric lies in it"}}
_NO_NAME: Final[Answers] = {400: {"model": Refusal, "description": "No metric can be called so"}}


class Api:
    """Answers from one engine."""

    def __init__(self, engine: QuotaEngine) -> None:
        """Read `engine`, which may go on meanwhile."""
        self._engine = engine
        self._standings = Standings(engine.quotas)

    def router(self) -> APIRouter:
        """The paths, for an application to include."""
        router = APIRouter(prefix="/api", tags=["quotas"], responses=_BAD)
        router.add_api_route("/namespaces", self.root, summary="The root namespace", include_in_schema=False)
        router.add_api_route("/namespaces/{namespace:path}", self.namespace, summary="A namespace", responses=_UNKNOWN)
        router.add_api_route("/usage", self.usage, summary="A tree of namespaces", responses=_UNKNOWN)
        router.add_api_route("/explain", self.explain, summary="Why a metric is accepted or not", responses=_NO_NAME)
        router.add_api_route("/rules", self.rules, summary="The rules in force")
        router.add_api_route("/quotas", self.quotas, summary="All namespaces under rules")
        return router

    def root(
        self, sort: ChildSort = "metrics", order: Ordered = None, limit: Limit = 100, offset: Offset = 0
    ) -> NamespacePage:
        """The root namespace, as `/api/namespaces/` has it."""
        return self.namespace(ROOT, sort, order, limit, offset)

    def namespace(
        self,
        namespace: NamespaceName,
        sort: ChildSort = "metrics",
        order: Ordered = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> NamespacePage:
        """What a namespace holds, the rule that holds it with its limits, and its direct sub-namespaces, page by page.

        Tags are no part of a namespace: `cpu.idle;host=a` lies in `cpu`. Sorting by anything but `name` looks at all
        children, which takes half a second where there are 100,000.
        """
        name = self._existing(namespace)
        names = self._engine.children(name)
        # Of any metric right in the namespace, the last explained is the namespace itself.
        itself = self._engine.explain("x" if name == ROOT else f"{name}.x").namespaces[-1]
        return NamespacePage(
            namespace=name,
            usage=self._engine.usage(name),
            rule=None if itself.rule is None else rule_document(itself.rule),
            lost=tuple(map(rule_document, itself.lost)),
            controls=tuple(limit_state(state.control, state.limit, state.usage) for state in itself.controls),
            total=len(names),
            offset=offset,
            limit=limit,
            children=self._children(names, sort, order, slice(offset, offset + limit)),
        )

    def _existing(self, namespace: str) -> str:
        """The normal name of a namespace that holds a metric, or is the root; else the answer is 404."""
        name = normalize_namespace(namespace)
        if name != ROOT and not self._engine.usage(name).metrics:
            raise HTTPException(404, f"no metric lies in a namespace called {name!r}")
        return name

    def _children(self, names: list[str], sort: ChildSort, order: Order | None, page: slice) -> tuple[Child, ...]:
        """One page of these namespaces; they come by name, and those with the same amount stay so."""
        if sort == "name":
            return tuple(Child(name, self._engine.usage(name)) for name in _directed(names, order)[page])
        sign = 1 if order == "asc" else -1
        children = [Child(name, self._engine.usage(name)) for name in names]
        return tuple(sorted(children, key=lambda child: sign * getattr(child.usage, sort))[page])

    def usage(
        self,
        namespace: Annotated[str, Query(max_length=LONGEST, description="Where the tree begins")] = ROOT,
        depth: Annotated[int, Query(ge=0, le=DEEPEST, description="Levels below that")] = 2,
        sort: TreeSort = "metrics",
        top: Annotated[int, Query(ge=0, le=MAXIMUM, description="Namespaces of each parent, 0 for all")] = 0,
    ) -> UsageDocument:
        """What a namespace and those below it hold, as the lines of a tree; as `carbonquota usage --json` prints it."""
        lines: list[UsageLine] = []
        tree = UsageTree(self._engine, depth, sort, top).lines(self._existing(namespace))
        lines.extend(islice(tree, MOST_LINES + 1))
        if len(lines) > MOST_LINES:
            raise HTTPException(422, f"the tree has over {MOST_LINES:,} lines: ask for a lower depth, or give a top")
        return UsageDocument(tuple(lines))

    def explain(
        self,
        metric: Annotated[list[str], Query(max_length=_MOST_METRICS, description="A metric's name; may be repeated")],
        points: Annotated[int, Query(ge=1, le=MAXIMUM, description="Data points of the offer")] = 1,
    ) -> ExplainDocument:
        """Which rules hold a metric, what its limits leave, and whether it would be accepted now; nothing is charged.

        As `carbonquota explain --json` prints it.
        """
        for name in metric:
            if len(name[: LONGEST + 1].split()) != 1:
                raise MetricNameError(f"{name[:LONGEST]!r} is no metric name, as it is empty or has blanks in it")
        return ExplainDocument(tuple(explained_metric(self._engine.explain(name, points)) for name in metric))

    def rules(self) -> RulesDocument:
        """The rules in force with their places, their limits as their file has them, and how much each holds."""
        held = Counter((quota.rule.pattern, quota.rule.line) for quota in self._standings.quotas())
        rules = self._engine.rules.rules
        return RulesDocument(tuple(rule_row(rule, held[rule.pattern, rule.line]) for rule in rules))

    def quotas(
        self,
        *,
        sort: QuotaSort = "percent",
        order: Ordered = None,
        limit: Limit = 100,
        offset: Offset = 0,
        over: Annotated[bool, Query(description="Only those that were over a limit since the last report")] = False,
    ) -> QuotaPage:
        """Every namespace under a rule, usage against limits, the most pressing first: what a live table shows.

        Listing them stops all deciding for a moment, so where there are very many, the answer may be seconds old.
        """
        quotas = [quota for quota in self._standings.quotas() if not over or is_over(quota)]
        ordered = _ordered(quotas, sort, order)
        rows: tuple[QuotaRow, ...] = tuple(map(quota_row, ordered[offset : offset + limit]))
        return QuotaPage(len(quotas), offset, limit, rows)


def _ordered(quotas: list[NamespaceQuota], sort: QuotaSort, order: Order | None) -> list[NamespaceQuota]:
    """Quotas in the order asked for; they come by name, and those with the same amount stay so."""
    if sort == "namespace":
        return _directed(quotas, order)
    sign = 1 if order == "asc" else -1
    return sorted(quotas, key=lambda quota: sign * _amount(quota, sort))


def _amount(quota: NamespaceQuota, sort: QuotaSort) -> float:
    if sort == "percent":
        return pressure(quota)
    return quota.throttle if sort == "throttle" else sum(quota.dropped.values())


def _directed(by_name: list[Row], order: Order | None) -> list[Row]:
    """What comes by name, from the end where the order is descending."""
    return by_name[:: -1 if order == "desc" else 1]
