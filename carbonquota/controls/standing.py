"""How namespaces stand: usage beside limits, read from the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carbonquota.controls.explanation import NamespaceQuota
from carbonquota.controls.table import CONTROLS, Grant
from carbonquota.kernel import UNKNOWN
from carbonquota.model import CONTROL_FIELDS, ROOT, Usage
from carbonquota.trie import NO_QUOTA, Index
from carbonquota.trie.columns import Column


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


@dataclass(frozen=True, slots=True)
class Quotas:
    """How every quota stood at one moment, as parallel sequences in the order of their rows.

    `usages` has a column for each control, `counts` one for throttle and then one for what each control dropped: the
    counts of ended intervals that no report gave yet are in.
    """

    namespaces: Sequence[str]
    rules: Sequence[int]
    usages: Sequence[Sequence[int]]
    counts: Sequence[Sequence[int]]
    grants: Sequence[Grant]

    def values(self) -> list[NamespaceQuota]:
        """The same as values, the root first, then by name."""
        usages, counts = zip(*self.usages, strict=True), zip(*self.counts, strict=True)
        quotas = map(self._value, self.namespaces, self.rules, usages, counts)
        return sorted(quotas, key=lambda quota: "" if quota.namespace == ROOT else quota.namespace)

    def _value(self, namespace: str, rule: int, usage: Sequence[int], counts: Sequence[int]) -> NamespaceQuota:
        """One quota."""
        grant, (throttle, *dropped) = self.grants[rule], counts
        by_control = {control.key: points for control, points in zip(CONTROLS, dropped, strict=True) if points}
        return NamespaceQuota(namespace, grant.rule, grant.limits, Usage(*usage), throttle, by_control)


def take_quotas(index: Index, grants: Sequence[Grant]) -> Quotas:
    """A copy of how every quota stands, quick to make, as it is under the index's lock; `grants` are those in force."""
    quotas, namespaces = index.quotas, index.namespaces
    rows = np.array(quotas.rows(), np.int64)
    held = quotas.namespace[rows]
    stocks = [getattr(namespaces, control)[held].tolist() for control in CONTROL_FIELDS[:-1]]
    counts = zip(quotas.counts, quotas.closed_counts, strict=True)
    return Quotas(
        namespaces=quotas.namespace_names[rows].tolist(),
        rules=quotas.rule[rows].tolist(),
        usages=[*stocks, (quotas.limit[rows] - quotas.left[rows]).tolist()],
        counts=[_sums(running[rows], ended[rows]) for running, ended in counts],
        grants=grants,
    )


def _sums(running: Column, ended: Column) -> list[int]:
    """The sums, which may pass 2^63 - 1."""
    counts: list[int] = running.tolist()
    if not ended.any():
        return counts
    return [now + before for now, before in zip(counts, ended.tolist(), strict=True)]
