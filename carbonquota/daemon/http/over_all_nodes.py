"""Usage over all nodes of a cluster, in the place of what this one uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from fastapi import HTTPException

from carbonquota.control import HELD
from carbonquota.controls import CONTROLS, QuotaColumns
from carbonquota.errors import QuotaError
from carbonquota.service.documents import (
    ControlDocument,
    ExplainedMetric,
    ExplainedNamespace,
    RejectionDocument,
    UsageLine,
)
from carbonquota.service.runtime import ClusterNode
from carbonquota.trie.columns import Column

Of = Literal["node", "cluster"]
"""Whose usage: that of this node, or of all nodes together as far as they share limits."""

_BY_KEY: Final = {control.key: control.index for control in CONTROLS}
"""Where each control stands, by its name in documents."""

_COLUMNS: Final = [next(control.index for control in CONTROLS if control.stat == name) for name in HELD]
"""Where the amounts of a line stand among the controls."""


class OverAllNodes:
    """Puts the usage of all nodes in the place of this one's: 422 where there is no cluster, 503 where it is away."""

    def __init__(self, cluster: ClusterNode | None) -> None:
        """`cluster` is what shares limits with other nodes, if anything does."""
        self._cluster = cluster

    def quotas(self, quotas: QuotaColumns) -> QuotaColumns:
        """How quotas stand by the usage of all nodes."""
        return replace(quotas, usages=self._ask(quotas.names.tolist(), quotas.usages))

    def lines(self, lines: Sequence[UsageLine]) -> list[UsageLine]:
        """Lines of a tree by the usage of all nodes; those that sum up others stay this node's."""
        if self._cluster is not None and not self._cluster.shares_capacities:
            raise HTTPException(422, "nodes share throughput alone here: what is held is each node's own")
        shown = [line for line in lines if not line.hidden]
        own = [np.zeros(len(shown), np.int64) for _ in CONTROLS]
        for column, name in zip(_COLUMNS, HELD, strict=True):
            own[column] = np.array([getattr(line, name) for line in shown], np.int64)
        usages = self._ask([line.namespace for line in shown], own)
        amounts = zip(*(usages[column].tolist() for column in _COLUMNS), strict=True)
        return [line if line.hidden else replace(line, **dict(zip(HELD, next(amounts), strict=True))) for line in lines]

    def explained(self, metric: ExplainedMetric) -> ExplainedMetric:
        """What decides about a metric by the usage of all nodes, none of which has it if it is new here."""
        own = [np.zeros(len(metric.namespaces), np.int64) for _ in CONTROLS]
        for place, namespace in enumerate(metric.namespaces):
            for control in namespace.controls:
                own[_BY_KEY[control.control]][place] = control.usage
        usages = self._ask([namespace.namespace for namespace in metric.namespaces], own)
        namespaces = tuple(
            replace(namespace, controls=tuple(_by_all(one, usages, place) for one in namespace.controls))
            for place, namespace in enumerate(metric.namespaces)
        )
        rejected_by = metric.rejected_by or next(_refusals(namespaces), None)
        return replace(metric, namespaces=namespaces, rejected_by=rejected_by, accepted=rejected_by is None)

    def _ask(self, names: Sequence[str], own: Sequence[Column]) -> Sequence[Column]:
        """The usage over all nodes."""
        if self._cluster is None:
            raise HTTPException(422, "this daemon is no node of a cluster: its [cluster] mode is off")
        try:
            return self._cluster.over_all_nodes(names, own)
        except QuotaError as error:
            raise HTTPException(503, f"what all nodes use cannot be told now: {error}") from None


def _by_all(control: ControlDocument, usages: Sequence[Column], place: int) -> ControlDocument:
    """A limit by the usage of all nodes at a place in the columns."""
    usage = int(usages[_BY_KEY[control.control]][place])
    over = control.over or (control.needed > 0 and usage + control.needed > control.limit)
    return replace(control, usage=usage, headroom=control.limit - usage, over=over)


def _refusals(namespaces: Sequence[ExplainedNamespace]) -> Iterator[RejectionDocument]:
    """What rejects an offer, from the root down."""
    for namespace in namespaces:
        rule = namespace.rule
        if rule is not None and rule.enforced:
            for control in namespace.controls:
                if control.over:
                    yield RejectionDocument(namespace.namespace, control.control, rule)
