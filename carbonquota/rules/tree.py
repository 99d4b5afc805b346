"""A plain tree of namespaces, for questions about many of them at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from carbonquota.model import ROOT
from carbonquota.rules.matcher import Matcher

Tree = dict[str, "Tree"]
"""The children of a namespace, by their last component."""


def tree_of(namespaces: Iterable[str]) -> Tree:
    """The tree of the namespaces and all their parents."""
    root: Tree = {}
    for namespace in namespaces:
        here = root
        for component in () if namespace == ROOT else namespace.split("."):
            here = here.setdefault(component, {})
    return root


def descend(tree: Tree, matcher: Matcher) -> Iterator[tuple[str, int]]:
    """Each namespace of the tree with the index of its rule: the root first, then level by level."""
    state, rule = matcher.root()
    yield ROOT, rule
    waiting = deque([("", state, tree)])
    while waiting:
        parent, state, children = waiting.popleft()
        for component, below in children.items():
            step, rule = matcher.step(state, component)
            namespace = f"{parent}{component}"
            yield namespace, rule
            if below:
                waiting.append((f"{namespace}.", step, below))
