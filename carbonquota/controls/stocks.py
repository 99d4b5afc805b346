"""The stocks: how a new metric is held against what a namespace holds already."""

from __future__ import annotations

from typing import Final

from carbonquota.controls.table import THROUGHPUT, Grant
from carbonquota.model import CONTROL_FIELDS, Size
from carbonquota.trie import Namespaces
from carbonquota.trie.columns import View

STOCK_CONTROLS: Final = CONTROL_FIELDS[:THROUGHPUT]
"""The stocks' names, by control index."""

Need = tuple[int, int, int, int, int]
"""What a new metric would add to a namespace, by control index."""


def need(size: Size, gained: int) -> Need:
    """What a new metric of this size adds; `gained` is 1 where the namespace gains a direct sub-namespace by it."""
    return (gained, 1, size.logical, size.physical, size.data_points)


def usage_views(namespaces: Namespaces) -> tuple[View, ...]:
    """The stocks' usage of single namespaces, by control index."""
    return (
        namespaces.namespaces_at,
        namespaces.metrics_at,
        namespaces.logical_size_at,
        namespaces.physical_size_at,
        namespaces.data_points_at,
    )


def first_over(grant: Grant, usage: tuple[View, ...], namespace: int, needed: Need) -> int:
    """The first control over which `needed` would bring a namespace, or -1."""
    for control, limit in grant.checks:
        if usage[control][namespace] + needed[control] > limit:
            return control
    return -1


def first_over_when_empty(grant: Grant, needed: Need) -> int:
    """The same for a namespace that holds nothing yet."""
    for control, limit in grant.checks:
        if needed[control] > limit:
            return control
    return -1
