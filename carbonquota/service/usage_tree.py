"""The namespaces below one of an engine as the lines of a tree, each with what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from carbonquota.control import HELD
from carbonquota.engine import QuotaEngine
from carbonquota.model import ROOT
from carbonquota.service.documents import UsageLine
from carbonquota.service.sorting import TreeSort


@dataclass(frozen=True, slots=True)
class UsageTree:
    """The tree of what an engine holds.

    `depth` is how many levels are shown below the topmost namespace, `top` how many namespaces of each parent, 0 for
    all; the others are summed up in one line. Each namespace is asked for by itself, so that an engine that has traffic
    is never held up; the lines are of slightly different moments then.
    """

    engine: QuotaEngine
    depth: int
    sort: TreeSort = "metrics"
    top: int = 0

    def lines(self, namespace: str = ROOT) -> Iterator[UsageLine]:
        """The lines of the tree from `namespace` down."""
        yield from self._below(self._line(namespace, 0))

    def _below(self, line: UsageLine) -> Iterator[UsageLine]:
        """A namespace and all that is shown below it."""
        yield line
        if line.depth == self.depth:
            return
        children = [self._line(name, line.depth + 1) for name in self.engine.children(line.namespace)]
        children.sort(key=self._order)
        shown = children[: self.top] if self.top else children
        for child in shown:
            yield from self._below(child)
        if hidden := children[len(shown) :]:
            sums = (sum(getattr(child, name) for child in hidden) for name in HELD)
            yield UsageLine(line.namespace, line.depth + 1, len(hidden), *sums)

    def _line(self, namespace: str, depth: int) -> UsageLine:
        usage = self.engine.usage(namespace)
        return UsageLine(namespace, depth, 0, *(getattr(usage, name) for name in HELD))

    def _order(self, line: UsageLine) -> tuple[int, str]:
        """Sorts namespaces of one parent."""
        return 0 if self.sort == "name" else -getattr(line, self.sort), line.namespace
