"""Where each key of a TOML text stands, which `tomllib` does not tell.

Theory of operation. The scan runs only over text that `tomllib` has accepted, so it trusts the grammar: it never
checks, it only has to know where a key, a string, a comment or a bracket ends. A path is the tuple of names from the
top, `("tcp", "listen")`; of a path that stands several times (`[[logging]]`) the first place is kept. Sections have
places too, and so has every table that dotted keys make by the way.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Path = tuple[str, ...]
"""The names that lead to a value, from the top of the file."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text, as offsets: from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key and its value stand; of a section both are its name in the header."""

    key: Span
    value: Span


_BLANK: Final = re.compile(r"(?:[ \t\n\r]|#[^\n]*)*")
_SPACES: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS: Final = (r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', r"'''.*?'{3,5}(?!')", r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'")
_STRING: Final = re.compile("|".join(_STRINGS), re.DOTALL)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_BETWEEN: Final = re.compile(r"""[^\[\]{}"'#]+|#[^\n]*""")


def find_places(text: str) -> dict[Path, Place]:
    """The place of every section and key in a valid TOML text."""
    places: dict[Path, Place] = {}
    for path, place in _Scanner(text).scan():
        for length in range(1, len(path)):
            places.setdefault(path[:length], Place(place.key, place.key))
        places.setdefault(path, place)
    return places


class _Scanner:
    """Goes over the text once, from the left."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def scan(self) -> Iterator[tuple[Path, Place]]:
        """Every header and entry, in file order."""
        section: Path = ()
        self._pass(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                section, span = self._header()
                yield section, Place(span, span)
            else:
                yield from self._entry(section)
            self._pass(_BLANK)

    def _pass(self, expression: re.Pattern[str]) -> Span:
        """Go past what the expression matches here."""
        start = self._at
        match = expression.match(self._text, start)
        self._at = match.end() if match else start
        return Span(start, self._at)

    def _pass_brackets(self, bracket: str) -> None:
        """Go past one or two brackets, which may have blanks behind them."""
        while self._text.startswith(bracket, self._at):
            self._at += 1
        self._pass(_SPACES)

    def _header(self) -> tuple[Path, Span]:
        """A `[section]` or `[[section]]`."""
        self._pass_brackets("[")
        path, span = self._key()
        self._pass_brackets("]")
        return path, span

    def _key(self) -> tuple[Path, Span]:
        """A key with all its dots, and the blanks behind it."""
        start, names = self._at, []
        while True:
            span = self._pass(_BARE)
            if span.start == span.end:
                span = self._pass(_STRING)
            name = self._text[span.start : span.end]
            names.append(tomllib.loads(f"k = {name}")["k"] if name[0] in "\"'" else name)
            self._pass(_SPACES)
            if not self._text.startswith(".", self._at):
                return tuple(names), Span(start, span.end)
            self._at += 1
            self._pass(_SPACES)

    def _entry(self, section: Path) -> Iterator[tuple[Path, Place]]:
        """A `key = value`; of an inline table also what stands in it."""
        names, key = self._key()
        self._at += 1  # the "="
        self._pass(_SPACES)
        start, path = self._at, section + names
        inner = list(self._inline_table(path)) if self._text[start] == "{" else []
        if not inner:
            self._pass_value()
        yield path, Place(key, Span(start, start + len(self._text[start : self._at].rstrip())))
        yield from inner

    def _inline_table(self, path: Path) -> Iterator[tuple[Path, Place]]:
        """The entries between `{` and `}`."""
        self._at += 1
        self._pass(_BLANK)
        while self._text[self._at] != "}":
            yield from self._entry(path)
            self._pass(_BLANK)
            self._at += self._text[self._at] == ","
            self._pass(_BLANK)
        self._at += 1

    def _pass_value(self) -> None:
        """Go past a value, without looking into it."""
        if self._text[self._at] in "\"'":
            self._pass(_STRING)
        elif self._text[self._at] in "[{":
            self._pass_nested()
        else:
            self._pass(_SCALAR)

    def _pass_nested(self) -> None:
        """Go past an array, or an empty inline table, with all that stands in it."""
        depth = 0
        while True:
            character = self._text[self._at]
            if character in "\"'":
                self._pass(_STRING)
            elif character in "[]{}":
                depth += 1 if character in "[{" else -1
                self._at += 1
            else:
                self._pass(_BETWEEN)
            if not depth:
                return
