"""The glob of one section name: its grammar, and the flaws it can have.

Grammar, a component being what stands between two dots:

    pattern   = "/" | component *( "." component )
    component = 1*( "*" | "?" | class | choice | character )
    class     = "[" [ "^" ] 1*( character [ "-" character ] ) "]"
    choice    = "{" option *( "," option ) "}"
    option    = *( "*" | "?" | class | choice | character )

`*` is any run of characters, the empty one too, and `**` is the same; `?` is one character. Nothing ever
matches a dot. A `-` first or last in a class is itself, as are `*`, `?`, `{` and `,` inside of one. A comma
outside of `{}` is itself. There is no escape character.

Refused rather than guessed at: a class that starts with `!` (negation in a shell, a plain `!` in go-carbon), a
stray `]` or `}`, and a slash anywhere but in `/`, the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from unicodedata import category

from carbonquota.model import ROOT

DEEPEST_NESTING: Final = 16
"""How deep alternatives may nest: far more than a person reads, and too little to exhaust a stack."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong in a pattern: from `offset` (from 0) on, `width` characters."""

    offset: int
    width: int
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class AnyRun:
    """`*`: any run of characters."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of (or, `negated`, none of) the inclusive `ranges` of code points."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False

    def __contains__(self, character: str) -> bool:
        """Whether the character is one of these."""
        code = ord(character)
        return any(low <= code <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class Choice:
    """`{...}`: any one of the options."""

    options: tuple[Tokens, ...]


Token = str | AnyRun | Characters | Choice
"""A plain character is a string of length one."""

Tokens = tuple[Token, ...]

ANY_RUN: Final = AnyRun()
ANY_CHARACTER: Final = Characters((), negated=True)

_WILDCARDS: Final[dict[str, Token]] = {"*": ANY_RUN, "?": ANY_CHARACTER}


class _FlawedError(Exception):
    """Leaves the parsing of one component at its first flaw; never leaves this module."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw


def parse_pattern(pattern: str) -> tuple[tuple[Tokens, ...], tuple[Flaw, ...]]:
    """The pattern's components (none for the root) and its flaws, at most one a component, in order."""
    if pattern == ROOT:
        return (), ()
    components: list[Tokens] = []
    flaws: list[Flaw] = []
    offset = 0
    while offset <= len(pattern):
        end = _end_of_component(pattern, offset)
        try:
            components.append(_Parser(pattern, offset, end).component())
        except _FlawedError as stop:
            flaws.append(stop.flaw)
        offset = end + 1
    return tuple(components), tuple(flaws)


def _end_of_component(pattern: str, start: int) -> int:
    """Where the dot stands that ends the component, dots inside a closed `[]` or `{}` not counted.

    Such a dot is a flaw of its own, and a better one to show than an unclosed bracket.
    """
    closers: list[str] = []
    for offset in range(start, len(pattern)):
        character = pattern[offset]
        if character == "." and not closers:
            return offset
        if closers and character == closers[-1]:
            closers.pop()
        elif character in "[{" and closers[-1:] != ["]"]:
            closers.append("]" if character == "[" else "}")
    if closers:
        dot = pattern.find(".", start)
        return dot if dot >= 0 else len(pattern)
    return len(pattern)


class _Parser:
    """Recursive descent over `text[start:end]`, one component."""

    __slots__ = ("_at", "_end", "_start", "_text")

    def __init__(self, text: str, start: int, end: int) -> None:
        self._text = text
        self._start = start
        self._at = start
        self._end = end

    def component(self) -> Tokens:
        """The tokens of the whole component."""
        if self._start == self._end:
            self._refuse_empty()
        self._refuse_foreign()
        tokens = self._tokens(depth=0)
        if self._at < self._end:
            self._refuse(self._at, 1, 'this "}" closes nothing', 'take it out, or open it with "{"')
        return tokens

    def _tokens(self, depth: int) -> Tokens:
        tokens: list[Token] = []
        while self._at < self._end:
            character = self._text[self._at]
            if character == "}" or (character == "," and depth):
                break
            token = self._token(character, depth)
            if not (token == ANY_RUN and tokens[-1:] == [ANY_RUN]):
                tokens.append(token)
        return tuple(tokens)

    def _token(self, character: str, depth: int) -> Token:
        if character == "[":
            return self._class()
        if character == "{":
            return self._choice(depth + 1)
        if character == "]":
            self._refuse(self._at, 1, 'this "]" closes nothing', 'take it out, or open it with "["')
        self._at += 1
        return _WILDCARDS.get(character, character)

    def _choice(self, depth: int) -> Choice:
        start = self._at
        if depth > DEEPEST_NESTING:
            self._refuse(start, 1, f"alternatives are nested deeper than {DEEPEST_NESTING}")
        options: list[Tokens] = []
        while self._at < self._end and self._text[self._at] != "}":
            self._at += 1
            options.append(self._tokens(depth))
        if self._at >= self._end:
            self._refuse(start, 1, 'this "{" is never closed', 'close it with "}" before the next dot')
        self._at += 1
        if options == [()]:
            self._refuse(start, 2, "there is nothing to choose from between the braces")
        return Choice(tuple(options))

    def _class(self) -> Characters:
        start = self._at
        close = self._text.find("]", start, self._end)
        if close < 0:
            self._refuse(start, 1, 'this "[" is never closed', 'close it with "]" before the next dot')
        negated = self._text[start + 1] == "^"
        inside = self._text[start + 1 + negated : close]
        if not inside:
            self._refuse(start, close + 1 - start, "this class holds no character")
        if inside[0] == "!" and not negated:
            self._refuse_exclamation(start, close)
        self._at = close + 1
        return Characters(self._ranges(start + 1 + negated, inside), negated)

    def _ranges(self, start: int, inside: str) -> tuple[tuple[int, int], ...]:
        ranges: list[tuple[int, int]] = []
        at = 0
        while at < len(inside):
            ranged = inside[at + 1 : at + 2] == "-" and at + 2 < len(inside)
            low, high = inside[at], inside[at + 2] if ranged else inside[at]
            if low > high:
                message = f'the range "{low}-{high}" runs backwards'
                self._refuse(start + at, 3, message, f'did you mean "{high}-{low}"?')
            ranges.append((ord(low), ord(high)))
            at += 3 if ranged else 1
        return tuple(ranges)

    def _refuse_empty(self) -> None:
        offset = min(self._start, len(self._text) - 1)
        if offset > 0 and self._start >= len(self._text):
            self._refuse(offset, 1, "the pattern ends with a dot", "take the dot out")
        if self._start == 0:
            self._refuse(0, 1, "the pattern starts with a dot", "take the dot out")
        self._refuse(offset - 1, 2, "there is nothing between the two dots", "take one dot out")

    def _refuse_foreign(self) -> None:
        """Refuse what stands in no component, before any syntax is looked at."""
        for offset in range(self._start, self._end):
            character = self._text[offset]
            if character == ".":
                self._refuse(offset, 1, "a dot inside brackets: a glob never crosses a dot", _ONE_SECTION_EACH)
            if character == "/":
                whole = self._text.strip("/").replace("/", ".")
                hint = f'did you mean "{whole}"?' if whole else 'the root is "/"'
                self._refuse(offset, 1, 'components are parted by dots; a slash alone, "/", is the root', hint)
            if category(character) in _NEVER_IN_NAMES:
                self._refuse(offset, 1, f"a control character (U+{ord(character):04X}), which no name holds")

    def _refuse_exclamation(self, start: int, close: int) -> None:
        meant = f"[^{self._text[start + 2 : close]}]"
        hint = f'did you mean "{meant}"?' if meant != "[^]" else 'write "^" to negate'
        self._refuse(start + 1, 1, 'a class is negated by "^"; for a plain "!" put it last', hint)

    def _refuse(self, offset: int, width: int, message: str, suggestion: str = "") -> None:
        raise _FlawedError(Flaw(offset, width, message, suggestion))


_ONE_SECTION_EACH: Final = "write a section for each alternative"
_NEVER_IN_NAMES: Final = ("Cc", "Cs")
