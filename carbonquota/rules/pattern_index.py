"""Patterns found by what they have to do with another one, without looking at all of them.

Theory of operation. The patterns of one depth form a tree, a level for each component. A node knows the latest pattern
(by its number, which grows) that leads through it, and finds its children in four ways: all of them in the order of the
latest; by literal, and by how a name may start; and by a piece that is in all names of a glob. What covers a component
matches its example, so it has the example among its literals, or its piece in the example. What overlaps with a glob
starts as the glob does, as far as both say. So of ten thousand children few are ever compared. A search goes into the
child with the latest pattern first, and into none whose latest is not later than what is found already. It gives up
after some hundreds of comparisons, so that rules made to be hard cost their number and not its square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from carbonquota.rules.comparison import PatternComparison
from carbonquota.rules.component import Component, Pattern

NONE: Final = -1
"""The number of no pattern."""
_LONGEST: Final = 8
"""Characters of a piece by which components are found."""
_MOST: Final = 300
"""Comparisons of components in one search."""
_MOST_IN_ALL: Final = 1_000_000
_FEW: Final = 20
"""Comparisons in all searches, and in each that is begun after these."""

_MOST_LISTED: Final = 8
"""Children that are looked at one after the other; of more, those that may fit are found."""

_Few = dict[Component, None]
_Bucket = defaultdict[str, _Few]


class _PatternNode:
    """What the patterns through it have in common; `children` are in the order of their latest pattern."""

    __slots__ = ("_ways", "children", "latest")

    def __init__(self) -> None:
        self.latest = NONE
        self.children: dict[Component, _PatternNode] = {}
        self._ways: _Ways | None = None

    def child(self, component: Component) -> _PatternNode:
        """The child of a component, which becomes the last of all; made where there is none."""
        node = self.children.pop(component, None)
        if node is None:
            node = _PatternNode()
            self._enter(component)
        self.children[component] = node
        return node

    def _enter(self, component: Component) -> None:
        """Let a new child be found."""
        if self._ways is not None:
            self._ways.add(component)
        elif len(self.children) == _MOST_LISTED:
            self._ways = _Ways()
            for each in (*self.children, component):
                self._ways.add(each)

    def may_cover(self, inner: Component) -> Iterable[Component]:
        """The children that may hold all names of a component, and more."""
        example = inner.example if inner.literals is None else min(inner.literals, default="")
        if self._ways is None or not example:
            return reversed(self.children)
        found = self._ways.to_example(example)
        if inner in self.children:
            found.append({inner: None})
        return self._latest_first(found)

    def may_overlap(self, other: Component) -> Iterable[Component]:
        """The children that may have a name in common with a component."""
        if other.literals is not None and len(other.literals) == 1:
            return self.may_cover(other)
        start = other.prefix[:_LONGEST]
        if self._ways is None or not start:
            return reversed(self.children)
        return self._latest_first(self._ways.to_start(start))

    def _latest_first(self, found: Sequence[_Few]) -> Iterable[Component]:
        if sum(map(len, found)) > _MOST:
            # Sorting them would cost more than anybody looks at.
            return (child for child in reversed(self.children) if any(child in some for some in found))
        return sorted(set().union(*found), key=lambda component: -self.children[component].latest)


class _Ways:
    """Ways to those of many components that are worth comparing."""

    __slots__ = ("_by_literal", "_by_piece", "_by_prefix", "_by_start", "_lengths")

    def __init__(self) -> None:
        self._by_literal: _Bucket = defaultdict(dict)
        self._by_start: _Bucket = defaultdict(dict)
        self._by_prefix: _Bucket = defaultdict(dict)
        self._by_piece: _Bucket = defaultdict(dict)
        self._lengths: set[int] = set()
        """How long these pieces are."""

    def add(self, component: Component) -> None:
        """Let a component be found."""
        for name in component.literals or ():
            self._by_literal[name][component] = None
        if component.literals is None:
            piece = component.piece[:_LONGEST]
            self._by_piece[piece][component] = None
            self._lengths.add(len(piece))
            self._by_prefix[component.prefix[:_LONGEST]][component] = None
        for start in component.literals or (component.prefix,):
            for length in range(1, min(len(start), _LONGEST) + 1):
                self._by_start[start[:length]][component] = None

    def to_example(self, example: str) -> list[_Few]:
        """Those that may match a name."""
        found = [self._by_literal.get(example, {})]
        pieces = _pieces(example, self._lengths)
        found += (self._by_piece[piece] for piece in pieces if piece in self._by_piece)
        return found

    def to_start(self, start: str) -> list[_Few]:
        """Those that may match a name which starts so."""
        found = [self._by_start.get(start, {})]
        found += (self._by_prefix.get(start[:length], {}) for length in range(len(start)))
        return found


def _pieces(name: str, lengths: Iterable[int]) -> set[str]:
    """What a name has in it of these lengths."""
    size = len(name)
    return {name[start : start + length] for length in lengths for start in range(size - length + 1)}


Candidates = Callable[[_PatternNode, Component], Iterable[Component]]
Fits = Callable[[Component, Component], bool]


class PatternIndex:
    """Patterns of all depths, added in the order of their numbers."""

    def __init__(self, comparison: PatternComparison) -> None:
        """Start with none."""
        self._comparison = comparison
        self._roots: defaultdict[int, _PatternNode] = defaultdict(_PatternNode)
        self._left = _MOST_IN_ALL

    def add(self, pattern: Pattern, number: int) -> None:
        """Add a pattern under a number above all that were added."""
        node = self._roots[pattern.depth]
        node.latest = number
        for component in pattern.components:
            node = node.child(component)
            node.latest = number

    def latest_covering(self, inner: Pattern, after: int = NONE) -> int:
        """The latest pattern after `after` that surely matches all that `inner` does; `after` if none is found."""
        root = self._roots.get(inner.depth)
        search = self._search(_PatternNode.may_cover, self._comparison.includes, after)
        return self._found(search, root, inner.components) if root else after

    def latest_overlapping(self, lower: Pattern, depth: int) -> int:
        """The latest pattern of a depth that may match a namespace above one of `lower`; NONE if that is not known."""
        root = self._roots.get(depth)
        search = self._search(_PatternNode.may_overlap, self._comparison.overlap, NONE)
        found = self._found(search, root, lower.components[:depth]) if root else NONE
        return NONE if search.is_given_up else found

    def _search(self, candidates: Candidates, fits: Fits, best: int) -> _Search:
        return _Search(candidates, fits, best, most=min(_MOST, max(self._left, _FEW)))

    def _found(self, search: _Search, root: _PatternNode, components: tuple[Component, ...]) -> int:
        most = search.left
        found = search.below(root, components)
        self._left -= most - search.left
        return found


class _Search:
    """One search for the latest pattern whose components all fit, if it is later than `best`."""

    __slots__ = ("_best", "_candidates", "_fits", "left")

    def __init__(self, candidates: Candidates, fits: Fits, best: int, most: int) -> None:
        self._candidates = candidates
        self._fits = fits
        self._best = best
        self.left = most

    @property
    def is_given_up(self) -> bool:
        """Whether there were too many to compare, so that a later one may be there."""
        return self.left <= 0

    def below(self, node: _PatternNode, components: tuple[Component, ...]) -> int:
        """Search below a node, for the components from its level on."""
        if not components:
            self._best = max(self._best, node.latest)
            return self._best
        for child in self._candidates(node, components[0]):
            if node.children[child].latest <= self._best or self.is_given_up:
                break
            self.left -= 1
            if self._fits(child, components[0]):
                self.below(node.children[child], components[1:])
        return self._best
