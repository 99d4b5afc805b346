"""The questions under `/api`: what namespaces hold, why a metric is rejected, the rules, who is near a limit.

Every endpoint is a plain function, so it runs on a thread of its own: the engine's calls are thread-safe and may wait
for its lock, and sorting a hundred thousand children takes a while. The docstrings are what `/docs` says.
"""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, HTTPException, Path, Query
from numpy.typing import NDArray

from carbonquota.controls import Children, NamespaceExplanation, QuotaColumns
from carbonquota.daemon.http.documents import Answers
from carbonquota.daemon.http.orders import STRETCH, Positions, by_amount, by_name
from carbonquota.daemon.http.over_all_nodes import Of, OverAllNodes
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
from carbonquota.service.runtime import ClusterNode
from carbonquota.service.sorting import ChildSort, Order, QuotaSort, TreeSort
from carbonquota.service.usage_documents import (
    Child,
    LimitState,
    NamespacePage,
    QuotaPage,
    QuotaRow,
    RulesDocument,
    limit_state,
    quota_row,
    rule_row,
)
from carbonquota.service.usage_tree import UsageTree
from carbonquota.web.access import Role, require
from carbonquota.web.kept import Recent
from carbonquota.web.problems import ProblemDocument

MOST_LINES: Final = 20_000
"""Lines of a tree in one answer."""
_MOST_ROWS: Final = 1000
_MOST_METRICS: Final = 100

NamespaceName = Annotated[str, Path(max_length=LONGEST, description="Its dotted name; empty is the root")]
Limit = Annotated[int, Query(ge=1, le=_MOST_ROWS, description="The most rows of the answer")]
Offset = Annotated[int, Query(ge=0, le=MAXIMUM, description="How many rows to pass over")]
Whose = Annotated[Of, Query(description="Whose usage: this node's, or that of all nodes of its cluster")]
Ordered = Annotated[Order | None, Query(description="Amounts come largest first unless told, names from a on")]

_BAD: Final[Answers] = {422: {"model": ProblemDocument, "description": "A parameter is out of range"}}
_UNKNOWN: Final[Answers] = {404: {"model": ProblemDocument, "description": "No metric lies in it"}}
_NO_NAME: Final[Answers] = {400: {"model": ProblemDocument, "description": "No metric can be called so"}}


class Api:
    """Answers from one engine."""

    def __init__(self, engine: QuotaEngine, cluster: ClusterNode | None = None) -> None:
        """Read `engine`, which may go on meanwhile; `cluster` is what shares its limits with other nodes."""
        self._engine = engine
        self._all_nodes = OverAllNodes(cluster)
        self._cluster_quotas: Recent[QuotaColumns] = Recent()
        self._quotas: Recent[QuotaColumns] = Recent()
        self._quota_order: Recent[Positions] = Recent()
        # A page shows children in two orders: as a map of the largest, and as a table.
        self._children: Recent[Children] = Recent(most=2)

    def router(self) -> APIRouter:
        """The paths, for an application to include."""
        router = APIRouter(prefix="/api", tags=["quotas"], responses=_BAD, dependencies=[require(Role.OPERATOR)])
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

        Tags are no part of a namespace: `cpu.idle;host=a` lies in `cpu`. Where there are very many children, their
        order may be seconds old; what they hold is of now. Names are sorted by their first 64 bytes.
        """
        name = self._existing(namespace)
        children = self._children.get((name, sort, order), lambda: self._sorted_children(name, sort, order))
        itself = self._explained(name)
        return NamespacePage(
            namespace=name,
            usage=self._engine.usage(name),
            rule=None if itself.rule is None else rule_document(itself.rule),
            lost=tuple(map(rule_document, itself.lost)),
            controls=_limit_states(itself),
            total=len(children),
            offset=offset,
            limit=limit,
            children=tuple(
                Child(name, usage, _limit_states(self._explained(name)))
                for name, usage in self._engine.usages_at(children.at(slice(offset, offset + limit)))
            ),
        )

    def _explained(self, namespace: str) -> NamespaceExplanation:
        """How the limits of a namespace stand: the last that is explained of any metric right in it."""
        return self._engine.explain("x" if namespace == ROOT else f"{namespace}.x").namespaces[-1]

    def _existing(self, namespace: str) -> str:
        """The normal name of a namespace that holds a metric, or is the root; else the answer is 404."""
        name = normalize_namespace(namespace)
        if name != ROOT and not self._engine.usage(name).metrics:
            raise HTTPException(404, f"no metric lies in a namespace called {name!r}")
        return name

    def _sorted_children(self, namespace: str, sort: ChildSort, order: Order | None) -> Children:
        """All of them in an order; of up to `STRETCH`, those with the same amount come by name."""
        by_amounts = sort != "name"
        children = self._engine.children_by(namespace, sort if by_amounts else "")
        if not by_amounts or len(children) <= STRETCH:
            stretches = (children.at(slice(start, start + STRETCH)) for start in range(0, len(children), STRETCH))
            names = map(self._engine.names_at, stretches)
            children = children.at(by_name(names, descending=not by_amounts and order == "desc"))
        return children.at(by_amount(children.amounts, descending=order != "asc")) if by_amounts else children

    def usage(
        self,
        namespace: Annotated[str, Query(max_length=LONGEST, description="Where the tree begins")] = ROOT,
        depth: Annotated[int, Query(ge=0, le=DEEPEST, description="Levels below that")] = 2,
        sort: TreeSort = "metrics",
        top: Annotated[int, Query(ge=0, le=MAXIMUM, description="Namespaces of each parent, 0 for all")] = 0,
        of: Whose = "node",
    ) -> UsageDocument:
        """What a namespace and those below it hold, as the lines of a tree; as `carbonquota usage --json` prints it."""
        lines: list[UsageLine] = []
        tree = UsageTree(self._engine, depth, sort, top).lines(self._existing(namespace))
        lines.extend(islice(tree, MOST_LINES + 1))
        if len(lines) > MOST_LINES:
            raise HTTPException(422, f"the tree has over {MOST_LINES:,} lines: ask for a lower depth, or give a top")
        return UsageDocument(tuple(self._all_nodes.lines(lines) if of == "cluster" else lines))

    def explain(
        self,
        metric: Annotated[list[str], Query(max_length=_MOST_METRICS, description="A metric's name; may be repeated")],
        points: Annotated[int, Query(ge=1, le=MAXIMUM, description="Data points of the offer")] = 1,
        of: Whose = "node",
    ) -> ExplainDocument:
        """Which rules hold a metric, what its limits leave, and whether it would be accepted now; nothing is charged.

        As `carbonquota explain --json` prints it. With `of=cluster`, by what all nodes use together.
        """
        for name in metric:
            if len(name[: LONGEST + 1].split()) != 1:
                raise MetricNameError(f"{name[:LONGEST]!r} is no metric name, as it is empty or has blanks in it")
        explained = tuple(explained_metric(self._engine.explain(name, points)) for name in metric)
        return ExplainDocument(tuple(map(self._all_nodes.explained, explained)) if of == "cluster" else explained)

    def rules(self) -> RulesDocument:
        """The rules in force with their places, their limits as their file has them, and how much each holds."""
        quotas = self.recent_quotas()
        numbers = np.bincount(quotas.rules, minlength=len(quotas.compiled)).tolist()
        held = {
            (compiled.rule.pattern, compiled.rule.line): number
            for compiled, number in zip(quotas.compiled, numbers, strict=True)
        }
        rules = self._engine.rules.rules
        return RulesDocument(tuple(rule_row(rule, held.get((rule.pattern, rule.line), 0)) for rule in rules))

    def quotas(
        self,
        *,
        sort: QuotaSort = "percent",
        order: Ordered = None,
        limit: Limit = 100,
        offset: Offset = 0,
        over: Annotated[bool, Query(description="Only those that were over a limit since the last report")] = False,
        of: Whose = "node",
    ) -> QuotaPage:
        """Every namespace under a rule, usage against limits, the most pressing first: what a live table shows.

        Where there are very many, the answer may be seconds old. Names are sorted by their first 64 bytes.
        """
        quotas = self._over_all_nodes() if of == "cluster" else self.recent_quotas()
        positions = self._quota_order.get(
            (quotas, sort, order, over), lambda: _ordered(quotas, sort, order, only_over=over)
        )
        page = positions[offset : offset + limit].tolist()
        rows = (quota_row(quotas.value(position)) for position in page)
        there: tuple[QuotaRow, ...] = tuple(row for row in rows if row.namespace)
        return QuotaPage(len(positions), offset, limit, there)

    def recent_quotas(self) -> QuotaColumns:
        """How all quotas stand, or stood a moment ago."""
        return self._quotas.get((), self._engine.unnamed_quota_columns)

    def _over_all_nodes(self) -> QuotaColumns:
        """The same by the usage of all nodes of the cluster."""
        return self._cluster_quotas.get((), lambda: self._all_nodes.quotas(self._engine.quota_columns()))


def _limit_states(namespace: NamespaceExplanation) -> tuple[LimitState, ...]:
    return tuple(limit_state(state.control, state.limit, state.usage) for state in namespace.controls)


def _ordered(quotas: QuotaColumns, sort: QuotaSort, order: Order | None, *, only_over: bool) -> Positions:
    """Positions in the order asked for; of up to `STRETCH`, those with the same amount come by name."""
    by_amounts = sort != "namespace"
    ordered = np.arange(len(quotas))
    if not by_amounts or len(quotas) <= STRETCH:
        names = (quotas.names_at(slice(start, start + STRETCH)) for start in range(0, len(quotas), STRETCH))
        ordered = by_name(names, descending=not by_amounts and order == "desc")
    if by_amounts:
        ordered = ordered[by_amount(_amounts(quotas, sort)[ordered], descending=order != "asc")]
    return ordered[quotas.are_over()[ordered]] if only_over else ordered


def _amounts(quotas: QuotaColumns, sort: QuotaSort) -> NDArray[np.float64] | NDArray[np.uint64]:
    if sort == "percent":
        return quotas.pressures()
    if sort == "throttle":
        return quotas.throttle
    dropped = np.zeros(len(quotas))
    dropped[quotas.counted] = np.sum(quotas.dropped, axis=0, dtype=np.float64)
    return dropped
