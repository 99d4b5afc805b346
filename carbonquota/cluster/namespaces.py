"""Where metrics lie, by their normal names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from carbonquota.metric_name import dotted_part
from carbonquota.model import ROOT

_TAG: Final = ";"
"""What stands before each tag in a name."""


def namespace_of(metric: str) -> str:
    """The namespace that a metric lies in."""
    return dotted_part(metric).rpartition(".")[0] or ROOT


def namespaces_of(metrics: Sequence[str]) -> list[str]:
    """The same of many metrics."""
    if any(_TAG in metric for metric in metrics):
        return list(map(namespace_of, metrics))
    return [metric.rpartition(".")[0] or ROOT for metric in metrics]


def above(namespace: str) -> str:
    """The namespace that this one lies in; empty for the root."""
    if namespace == ROOT:
        return ""
    return namespace.rpartition(".")[0] or ROOT


def way_up(namespace: str) -> Iterator[str]:
    """A namespace and all above it."""
    while namespace:
        yield namespace
        namespace = above(namespace)
