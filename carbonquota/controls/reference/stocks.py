"""The stocks: how a new metric is held against what a namespace holds already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from carbonquota.controls.table import METRICS, NAMESPACES, STOCK_CONTROLS, Grant
from carbonquota.model import Size
from carbonquota.trie import Namespaces
from carbonquota.trie.columns import View


class Need:
    """What a new metric would add to a namespace. Its size is asked for once, when it is first wanted."""

    __slots__ = ("_ask", "_size")

    def __init__(self, ask: Callable[[], Size]) -> None:
        """`ask` gives the size, or raises."""
        self._ask = ask
        self._size: Size | None = None

    def size(self) -> Size:
        """The size."""
        if self._size is None:
            self._size = self._ask()
        return self._size

    def of(self, control: int, *, gains: bool) -> int:
        """What it adds by a control; `gains` tells whether the namespace gains a direct sub-namespace by it."""
        if control == NAMESPACES:
            return int(gains)
        if control == METRICS:
            return 1
        amount: int = getattr(self.size(), _SIZE_FIELDS[STOCK_CONTROLS[control]])
        return amount


_SIZE_FIELDS: Final = {"logical_size": "logical", "physical_size": "physical", "data_points": "data_points"}
"""The field of a size that each control counts."""


def usage_views(namespaces: Namespaces) -> tuple[View, ...]:
    """The stocks' usage of single namespaces, by control index."""
    return (
        namespaces.namespaces_at,
        namespaces.metrics_at,
        namespaces.logical_size_at,
        namespaces.physical_size_at,
        namespaces.data_points_at,
    )


def first_over(grant: Grant, held: Sequence[int], need: Need, *, gains: bool) -> int:
    """The first control over whose limit a new metric would bring a namespace that holds so much, or -1."""
    for control, limit in grant.checks:
        if held[control] + need.of(control, gains=gains) > limit:
            return control
    return -1
