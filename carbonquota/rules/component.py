"""One component of a pattern, compiled to the cheapest test that decides it.

Theory of operation. Alternatives are multiplied out, up to `MOST_SPELLINGS`. Spellings without a wildcard are a set
of literals. One with wildcards becomes a regular expression in which each `*` but the last takes the nearest fit of
what follows it, inside an atomic group: since what follows has a fixed length, the nearest fit is never worse than
a later one, so nothing needs to be tried again and the time is at most the name's length times the glob's. A glob
with more spellings is run as an automaton, slower but just as bounded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile
from typing import Final

from carbonquota.rules.automaton import Automaton
from carbonquota.rules.glob import ANY_CHARACTER, ANY_RUN, AnyRun, Characters, Choice, Token, Tokens

MOST_SPELLINGS: Final = 64
"""How many ways of multiplying out its alternatives a component may have and still become an expression."""

UNLIKELY: Final = "\ufffd"
"""Stands for what `*` matches in an example."""


class Component:
    """A compiled component; `tokens` in normal form are its identity.

    `spellings` are its alternatives multiplied out, None where that gives too many; `literals` is the set of all
    names it matches where that is finite and small, else None. `prefix` and `suffix` begin and end every name that it
    matches.
    """

    def __init__(self, tokens: Tokens) -> None:
        """Compile the tokens, as `parse_pattern` gives them."""
        self.tokens = tokens
        self.spellings = _spellings(tokens)
        self.literals = _literals(self.spellings)
        self.prefix, self.suffix = _ends(self.spellings or [])
        self.any_name = self.spellings is not None and (ANY_RUN,) in self.spellings
        self.matches: Callable[[str], bool] = self._compile()

    @cached_property
    def example(self) -> str:
        """A name it matches (or the empty string), as unlikely as can be to be matched by another component."""
        return "".join(_example_of(token) for token in self.tokens)

    @cached_property
    def is_simple(self) -> bool:
        """Whether it is text and `*` alone, with at least one of these, as most are."""
        has_runs = any(isinstance(token, AnyRun) for token in self.tokens)
        plain = all(
            isinstance(token, AnyRun) or (isinstance(token, str) and UNLIKELY not in token) for token in self.tokens
        )
        return has_runs and plain

    @cached_property
    def piece(self) -> str:
        """A piece, as long as can be, that stands in every name it matches; empty where none surely does."""
        if not self.spellings:
            return ""
        first, *others = map(_literal_parts, self.spellings)
        parts = ["\0".join(other) for other in others]
        common = [part for part in first if all(part in other for other in parts)]
        return max(self.prefix, self.suffix, *common, key=len)

    @cached_property
    def automaton(self) -> Automaton:
        """The component as an automaton, to compare it with another."""
        return Automaton(self.tokens)

    def _compile(self) -> Callable[[str], bool]:
        if self.any_name:
            return _always
        if self.literals is not None:
            return self.literals.__contains__
        if self.spellings is None:
            return self.automaton.matches
        expression = "|".join(map(_expression, self.spellings))
        fits = re.compile(f"(?:{expression})", re.DOTALL).match
        return lambda name: fits(name) is not None


def _example_of(token: Token) -> str:
    if isinstance(token, str):
        return token
    if isinstance(token, AnyRun):
        return UNLIKELY
    if isinstance(token, Choice):
        return "".join(map(_example_of, token.options[0]))
    candidates = chain(UNLIKELY, (chr(low) for low, _ in token.ranges), map(chr, range(sys.maxunicode)))
    return next(character for character in candidates if character in token)


def _always(_name: str) -> bool:
    return True


def _spellings(tokens: Tokens) -> list[Tokens] | None:
    """The tokens with each alternative multiplied out; None where that gives more than `MOST_SPELLINGS`."""
    spellings: list[list[Token]] = [[]]
    for token in tokens:
        if not isinstance(token, Choice):
            for spelling in spellings:
                spelling.append(token)
            continue
        options = [_spellings(option) for option in token.options]
        endings = [ending for option in options if option is not None for ending in option]
        if None in options or len(endings) * len(spellings) > MOST_SPELLINGS:
            return None
        spellings = [[*spelling, *ending] for spelling in spellings for ending in endings]
    return [tuple(spelling) for spelling in spellings]


def _literals(spellings: list[Tokens] | None) -> frozenset[str] | None:
    if spellings is None or not all(isinstance(token, str) for tokens in spellings for token in tokens):
        return None
    return frozenset("".join(map(str, tokens)) for tokens in spellings)


def _ends(spellings: list[Tokens]) -> tuple[str, str]:
    prefixes = [_literal_start(tokens) for tokens in spellings]
    suffixes = [_literal_start(tokens[::-1]) for tokens in spellings]
    return _common_start(prefixes), _common_start(suffixes)[::-1]


def _common_start(words: list[str]) -> str:
    """What all the words start with: what the first and the last of them in order have in common."""
    first, last = min(words, default=""), max(words, default="")
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(one for one, _ in same)


def _literal_start(tokens: Tokens) -> str:
    start = ""
    for token in tokens:
        if not isinstance(token, str):
            break
        start += token
    return start


def _literal_parts(tokens: Tokens) -> list[str]:
    """The texts between the wildcards of tokens without a choice."""
    return "".join(token if isinstance(token, str) else "\0" for token in tokens).split("\0")


def _expression(tokens: Tokens) -> str:
    """A regular expression that never tries a `*` twice, for tokens without a choice."""
    head, *runs = _between_runs(tokens)
    if not runs:
        return rf"{head}\Z"
    *middle, tail = runs
    return head + "".join(f"(?>.*?{fixed})" for fixed in middle if fixed) + rf".*{tail}\Z"


def _between_runs(tokens: Tokens) -> list[str]:
    """The expressions of the fixed-length parts that the `*` leave."""
    parts = [""]
    for token in tokens:
        if isinstance(token, AnyRun):
            parts.append("")
        else:
            parts[-1] += _character_expression(token)
    return parts


def _character_expression(token: Token) -> str:
    if token == ANY_CHARACTER:
        return "."
    if isinstance(token, Characters):
        ranges = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in token.ranges)
        return f"[{'^' if token.negated else ''}{ranges}]"
    return re.escape(str(token))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A whole section name, compiled: its components, none of them for the root."""

    text: str
    components: tuple[Component, ...]

    @property
    def depth(self) -> int:
        """How many components its namespaces have; 0 for the root."""
        return len(self.components)

    def matches(self, names: tuple[str, ...]) -> bool:
        """Whether the namespace of these names is one of the pattern's."""
        return len(names) == len(self.components) and all(
            component.matches(name) for component, name in zip(self.components, names, strict=True)
        )
