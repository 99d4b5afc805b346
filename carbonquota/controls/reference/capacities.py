"""The stocks: how a new metric is held against what a namespace holds already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carbonquota.control import CONTROLS
from carbonquota.controls.table import METRICS, NAMESPACES, CompiledRule
from carbonquota.model import Size


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
        return 1 if control == METRICS else CONTROLS[control].amount(self.size())


def first_over(rule: CompiledRule, held: Sequence[int], need: Need, *, gains: bool) -> int:
    """The first control over whose limit a new metric would bring a namespace that holds so much, or -1."""
    for control, limit in rule.checks:
        # What is over its limit takes nothing, however small, so no size need be known.
        if held[control] > limit or held[control] + need.of(control, gains=gains) > limit:
            return control
    return -1
