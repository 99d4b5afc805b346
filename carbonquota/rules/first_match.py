"""Which of a list of expressions is the first that is found in a name: for one new metric, or for all of a batch.

Theory of operation. All expressions that RE2 reads are one automaton, which tells in one pass over a name which of them
are found in it. Most names need not even that. What a name has up to its last dot often decides: an expression that
begins with `^servers.` is never found below another namespace, and one that is found in `servers.web1.` already,
and has no `$`, is found in each name that goes on behind it. What is then left below a namespace is remembered, and
found from what is left below its parent. Expressions that only `re` reads are asked last, and only of names in which
nothing before them is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from carbonquota.rules.expressions import Expression, ExpressionEngine, Search, encoded, quiet, search_here

try:
    import re2
except ImportError:  # a library without extras does without
    re2 = None

_MOST_NAMESPACES: Final = 20_000
_LONGEST: Final = 256
"""So many namespaces are remembered, none longer than so many characters: 10 MB at most."""

_NOT_ASCII: Final = "\u00b5"

_Left = list[int] | tuple[int, ...] | int
"""The answer for each name below a namespace; or else, of the expressions with a prefix, those it does not rule out.

A list where it was not looked yet whether one of them is always found."""


class FirstMatch:
    """Finds the first expression; their number where there is none. From any thread."""

    __slots__ = (
        "_automaton",
        "_by_part",
        "_expressions",
        "_general",
        "_left",
        "_open",
        "_search",
        "_unread",
        "_unread_ascii",
    )

    def __init__(self, expressions: Iterable[Expression], search: Search = search_here) -> None:
        """`search` is asked where RE2 cannot answer."""
        self._expressions = all_of = tuple(expressions)
        self._search = search
        self._automaton = _Automaton(all_of)
        self._open = frozenset(n for n, one in enumerate(all_of) if one.syntax is not None and one.syntax.is_open)
        # What `re` must be asked about: for names in ASCII, and for others.
        self._unread_ascii = [n for n, one in enumerate(all_of) if one.engine is ExpressionEngine.RE]
        self._unread = [n for n, one in enumerate(all_of) if not one.is_for_re2(_NOT_ASCII)]
        self._general: list[int] = []
        self._by_part: dict[str, list[int]] = {}
        for index, expression in enumerate(all_of):
            part, dot, _ = expression.prefix.partition(".")
            (self._by_part.setdefault(part, []) if dot else self._general).append(index)
        self._left: dict[str, _Left] = {}

    def find(self, name: str) -> int:
        """The first expression that is found in the name."""
        left = self._left_below(name[: name.rfind(".") + 1])
        if isinstance(left, int):
            return left
        return self._look_into((name,))[0] if self._unread else self._automaton.first_in(name)

    def find_all(self, names: Sequence[str]) -> list[int]:
        """The same for each name."""
        known = self._left
        answers: list[int] = []
        places: list[int] = []
        for name in names:
            namespace = name[: name.rfind(".") + 1]
            left = known.get(namespace)
            if left.__class__ is not int:
                left = self._inherited(namespace) if left is None else self._left_below(namespace)
                if not isinstance(left, int):
                    places.append(len(answers))
                    left = -1
            answers.append(left)
        for place, answer in zip(places, self._look_into([names[place] for place in places]), strict=True):
            answers[place] = answer
        return answers

    def find_below(self, namespace: str) -> int | None:
        """The first expression in all names at and below a namespace, if it is one; "" is the root, with all names."""
        if not namespace:
            return None if self._expressions else 0
        left = self._left_below(f"{namespace}.")
        if isinstance(left, list):
            left = self._left_below(f"{namespace}.")
        return left if isinstance(left, int) else None

    def searching(self, search: Search) -> FirstMatch:
        """One for the same expressions, which asks `search` where RE2 cannot answer."""
        return FirstMatch(self._expressions, search) if self._unread else self

    @property
    def remembered(self) -> int:
        """Of how many namespaces it is known what is left."""
        return len(self._left)

    def _left_below(self, namespace: str) -> _Left:
        """What is left below a namespace, which is given with its dot; "" is the root."""
        left = self._left.get(namespace)
        if left is None:
            left = self._inherited(namespace)
        elif isinstance(left, list):
            # It is asked about again, so there may be many names in it: now it pays to look into it.
            left = self._left[namespace] = self._decided(namespace, left)
        return left

    def _inherited(self, namespace: str) -> _Left:
        """What is left below its parent, without what is never found below the namespace itself."""
        if len(namespace) > _LONGEST:
            return self._narrowed(namespace, self._at_top(namespace))
        above = namespace[: namespace.rfind(".", 0, -1) + 1]
        candidates = self._left_below(above) if above else self._at_top(namespace)
        left = candidates if isinstance(candidates, int) else self._narrowed(namespace, candidates)
        if len(self._left) >= _MOST_NAMESPACES:
            self._left.clear()
        self._left[namespace] = left
        return left

    def _at_top(self, namespace: str) -> Sequence[int]:
        """The expressions with a prefix of several parts, whose first the namespace has."""
        return self._by_part.get(namespace.partition(".")[0], ())

    def _narrowed(self, namespace: str, candidates: Sequence[int]) -> _Left:
        """Without those that are never found below; the answer, if nothing is left."""
        expressions = self._expressions
        left = [index for index in candidates if _may_begin(expressions[index].prefix, namespace)]
        return left if left or self._general else len(expressions)

    def _decided(self, namespace: str, left: list[int]) -> _Left:
        """The answer, if the first that may be found below the namespace is always found there."""
        first = min((*self._general[:1], *left))
        is_open = first in self._open and self._expressions[first].is_for_re2(namespace)
        return first if is_open and self._automaton.first_in(namespace) == first else tuple(left)

    def _look_into(self, names: Sequence[str]) -> list[int]:
        """The answers where the names themselves must be looked at."""
        answers = [self._automaton.first_in(name) for name in names]
        if not self._unread:
            return answers
        waiting: dict[int, list[int]] = {}
        for place, name in enumerate(names):
            for index in self._unread_ascii if name.isascii() else self._unread:
                if name.startswith(self._expressions[index].prefix):
                    waiting.setdefault(index, []).append(place)
        if any(not name.isascii() for name in names):
            answers = [self._first_for(name) for name in names]
        for index in sorted(waiting):
            self._ask(index, [place for place in waiting[index] if index < answers[place]], names, answers)
        return answers

    def _first_for(self, name: str) -> int:
        """The first that RE2 finds and may answer for."""
        found = (n for n in self._automaton.all_in(name) if self._expressions[n].is_for_re2(name))
        return min(found, default=len(self._expressions))

    def _ask(self, index: int, places: Sequence[int], names: Sequence[str], answers: list[int]) -> None:
        """Have `re` look for one expression where nothing before it was found, and note where it is."""
        pattern = self._expressions[index].re
        if places and pattern is not None:
            for place, is_found in zip(places, self._search(pattern, [names[n] for n in places]), strict=True):
                if is_found:
                    answers[place] = index


class _Automaton:
    """All expressions that RE2 reads, as one."""

    __slots__ = ("_expressions", "_is_conditional", "_match", "_numbers")

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = expressions
        self._numbers = [n for n, one in enumerate(expressions) if one.engine is ExpressionEngine.RE2]
        self._is_conditional = any(expressions[n].conditions for n in self._numbers)
        together = _set_of([expressions[n].re2_text for n in self._numbers])
        self._match = together.Match if together is not None else None

    def first_in(self, name: str) -> int:
        """The first that RE2 finds in the name; the number of all where there is none."""
        if self._match is not None and not self._is_conditional and (places := self._match(encoded(name))):
            return self._numbers[min(places)] if len(places) > 1 else len(self._expressions)
        return min(self.all_in(name), default=len(self._expressions))

    def all_in(self, name: str) -> Iterable[int]:
        """All that RE2 finds in the name."""
        if self._match is not None and (places := self._match(text := encoded(name))):
            numbers = [self._numbers[place] for place in places if place < len(self._numbers)]
            return [n for n in numbers if self._expressions[n].meets_conditions(text)]
        return self._one_by_one(name)

    def _one_by_one(self, name: str) -> Iterable[int]:
        """The same where the automaton would be too large, or ran out of memory: not even the last was found."""
        text = encoded(name)
        return (n for n in self._numbers if self._expressions[n].found_by_re2(text))


def _set_of(texts: Sequence[Any]) -> Any:  # noqa: ANN401 - google-re2 has no types
    """RE2's set of these, before one that is found everywhere; None where it would be too large, or is not there."""
    if re2 is None or not texts:
        return None
    found = re2.Set.SearchSet(quiet())
    try:
        for text in (*texts, b""):
            found.Add(text)
        found.Compile()
    except re2.error:
        return None
    return found


def _may_begin(prefix: str, namespace: str) -> bool:
    """Whether a name at or below the namespace can begin with the prefix."""
    return prefix.startswith(namespace) or namespace.startswith(prefix)
