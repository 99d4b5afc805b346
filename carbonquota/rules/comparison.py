"""What one pattern has to do with another: whether it holds all of its namespaces, or any of them.

A pattern's namespaces are all combinations of its components' names, so it is enough to compare components. The
answers err on the safe side: `covers_above` says yes, and `may_overlap` says no, only when that is certain. Comparing
two components as automata takes a while, so in files with very many hard ones the last are not compared.
"""

from __future__ import annotations

from typing import Final

from carbonquota.rules.automaton import includes, overlap
from carbonquota.rules.component import Component, Pattern
from carbonquota.rules.glob import ANY_CHARACTER, AnyRun, Characters, Token, Tokens

_MOST: Final = 3_000
"""Comparisons of automata, of some hundred microseconds each."""
_MOST_STEPS: Final = 10_000
"""Steps of comparing two components token by token, some hundred nanoseconds each."""


class PatternComparison:
    """Compares patterns, and remembers what it found about each two components."""

    __slots__ = ("_included", "_left", "_overlapping")

    def __init__(self) -> None:
        """Start with nothing compared."""
        self._included: dict[tuple[Component, Component], bool] = {}
        self._overlapping: dict[tuple[Component, Component], bool] = {}
        self._left = _MOST

    def covers_above(self, outer: Pattern, inner: Pattern) -> bool:
        """Whether each namespace of `inner` surely is, or has above it, one of `outer`."""
        pairs = zip(outer.components, inner.components, strict=False)
        return outer.depth <= inner.depth and all(self.includes(*pair) for pair in pairs)

    def may_overlap(self, one: Pattern, other: Pattern) -> bool:
        """Whether some namespace may be one of both patterns'."""
        return one.depth == other.depth and self.may_overlap_above(one, other)

    def may_overlap_above(self, upper: Pattern, lower: Pattern) -> bool:
        """Whether some namespace of `lower` may be, or have above it, one of `upper`."""
        pairs = zip(upper.components, lower.components, strict=False)
        return upper.depth <= lower.depth and all(self.overlap(*pair) for pair in pairs)

    def includes(self, outer: Component, inner: Component) -> bool:
        """Whether each name of `inner` surely is one of `outer`."""
        if outer is inner or outer.any_name:
            return True
        if inner.literals is not None:
            return all(outer.matches(name) for name in inner.literals if name)
        if inner.example and not outer.matches(inner.example):
            return False
        if outer.is_simple and inner.is_simple:
            # Where the inner one's `*` were put into its example, only those of the outer one can be.
            return True
        key = (outer, inner)
        if key not in self._included:
            self._included[key] = _surely_includes(outer, inner) or (
                self._may_compare() and includes(outer.automaton, inner.automaton)
            )
        return self._included[key]

    def overlap(self, one: Component, other: Component) -> bool:
        """Whether some name may be one of both."""
        if one is other or one.any_name or other.any_name:
            return True
        if one.literals is not None:
            return any(other.matches(name) for name in one.literals)
        if other.literals is not None:
            return any(one.matches(name) for name in other.literals)
        if not (_agree(one.prefix, other.prefix) and _agree(one.suffix[::-1], other.suffix[::-1])):
            return False
        if one.is_simple and other.is_simple:
            # Whatever else one of them wants fits into a `*` of the other.
            return True
        key = (one, other)
        if key not in self._overlapping:
            self._overlapping[key] = not self._may_compare() or overlap(one.automaton, other.automaton)
        return self._overlapping[key]

    def _may_compare(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _surely_includes(outer: Component, inner: Component) -> bool:
    """Whether that can be seen without looking at all that the two match."""
    wide, narrow = outer.spellings or [], inner.spellings or []
    if not narrow or len(wide) * len(narrow) * len(outer.tokens) * len(inner.tokens) > _MOST_STEPS:
        return False
    return all(any(_takes(tokens, spelling) for tokens in wide) for spelling in narrow)


def _takes(outer: Tokens, inner: Tokens) -> bool:
    """Whether `outer` matches all that `inner` does, token by token; neither has a choice in it.

    The nearest fit of what follows a `*` is never worse than a later one, so only the last `*` is ever tried again.
    """
    at = place = 0
    again: tuple[int, int] | None = None
    while place < len(inner):
        if at < len(outer) and isinstance(outer[at], AnyRun):
            again, at = (at, place), at + 1
        elif at < len(outer) and _takes_one(outer[at], inner[place]):
            at, place = at + 1, place + 1
        elif again is not None:
            at, place = again[0] + 1, again[1] + 1
            again = again[0], place
        else:
            return False
    return all(isinstance(token, AnyRun) for token in outer[at:])


def _takes_one(outer: Token, inner: Token) -> bool:
    """Whether a token that is no `*` matches all that another one does."""
    if isinstance(inner, AnyRun):
        return False
    if outer is ANY_CHARACTER or outer == inner:
        return True
    return isinstance(outer, Characters) and isinstance(inner, str) and inner in outer


def _agree(one: str, other: str) -> bool:
    """Whether a name can start with both."""
    return one.startswith(other) or other.startswith(one)
