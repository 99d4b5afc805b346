"""How namespaces stand: usage beside limits, read from the index."""

from __future__ import annotations

from collections.abc import Sequence

from carbonquota.controls.explanation import NamespaceQuota
from carbonquota.controls.table import CONTROLS, Grant
from carbonquota.kernel import UNKNOWN
from carbonquota.model import Usage
from carbonquota.trie import NO_QUOTA, Index


def usage_of(index: Index, row: int) -> Usage:
    """What the namespace at `row` holds, UNKNOWN standing for one that does not exist."""
    if row == UNKNOWN:
        return Usage()
    namespaces, quota = index.namespaces, index.own_quota(row)
    return Usage(
        namespaces=namespaces.namespaces_at[row],
        metrics=namespaces.metrics_at[row],
        logical_size=namespaces.logical_size_at[row],
        physical_size=namespaces.physical_size_at[row],
        data_points=namespaces.data_points_at[row],
        throughput=0 if quota == NO_QUOTA else index.quotas.used(quota),
    )


def quota_of(index: Index, grants: Sequence[Grant], quota: int) -> NamespaceQuota:
    """How the namespace of one quota stands; the counts of ended intervals that no report gave yet are in."""
    quotas = index.quotas
    grant = grants[quotas.rule_at[quota]]
    row = quotas.namespace_at[quota]
    running, ended = quotas.counts, quotas.closed_counts
    throttle, *dropped = (int(now[quota]) + int(before[quota]) for now, before in zip(running, ended, strict=True))
    return NamespaceQuota(
        namespace=index.namespaces.names[row],
        rule=grant.rule,
        limits=grant.limits,
        usage=usage_of(index, row),
        throttle=throttle,
        dropped={control.key: points for control, points in zip(CONTROLS, dropped, strict=True) if points},
    )
