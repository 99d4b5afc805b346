"""A TOML file read: its values, where each key of them stands, and a `Problem` for whatever place one is to be shown.

Theory of operation. `tomllib` reads the values, and does not tell where they stand; a scan of the text does. It runs
only over text that `tomllib` has accepted, so it trusts the grammar: it never checks, it only has to know where a key,
a string, a comment or a bracket ends. A path is the tuple of names from the top, `("tcp", "listen")`; of a path that
stands several times (`[[logging]]`) the first place is kept. Sections have places too, and so has every table that
dotted keys make by the way.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from carbonquota.errors import ConfigError, Problem
from carbonquota.service.values.masking import masked

Path = tuple[str, ...]
"""The names that lead to a value, from the top of the file."""


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A piece of the text, as offsets: from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key and its value stand; of a section both are its name in the header."""

    key: TextSpan
    value: TextSpan


_BLANK: Final = re.compile(r"(?:[ \t\n\r]|#[^\n]*)*")
_SPACES: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS: Final = (r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', r"'''.*?'{3,5}(?!')", r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'")
_STRING: Final = re.compile("|".join(_STRINGS), re.DOTALL)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_BETWEEN: Final = re.compile(r"""[^\[\]{}"'#]+|#[^\n]*""")
_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_REMEDIES: Final = (
    ("Cannot overwrite", "this key stands twice: keep one of the two"),
    ("Cannot declare", "this section stands twice: put their keys together"),
    ("Cannot mutate", "this section stands twice: put their keys together"),
    ("Invalid value", 'text stands in quotes, as in listen = ":2003"; other values are 1, 0.5, true and false'),
    ("Expected '='", 'write it as key = "value"'),
    ("Invalid initial character", 'a key is made of letters, digits, "-" and "_"'),
    ("Expected newline", "a value ends its line; text stands in quotes"),
    ("Unterminated string", "end it with a quote"),
    ("Illegal character", "end the text with a quote, in the same line"),
    ("Expected ']' at the end", 'write the header of a section as "[tcp]"'),
    ("Unclosed array", 'end it with "]"'),
    ("Unclosed inline", 'end it with "}", in the same line'),
)
"""How the parser's messages begin, each with what mends it."""


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """What the file holds: its top table, and where everything in it stands."""

    source: str
    text: str
    table: dict[str, Any]
    places: dict[Path, KeyPlace]

    def line_of(self, path: Path) -> int:
        """The line of a key or section, from 1; 0 where it is not in the file."""
        return self.text.count("\n", 0, self.places[path].key.start) + 1 if path in self.places else 0

    def key_problem(self, path: Path, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the key; of the file as a whole where the key is not in it."""
        return self._problem(self.places[path].key if path in self.places else None, message, suggestion)

    def value_problem(self, path: Path, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the value; of the file as a whole where it is not in it."""
        return self._problem(self.places[path].value if path in self.places else None, message, suggestion)

    def _problem(self, span: TextSpan | None, message: str, suggestion: str) -> Problem:
        if span is None:
            return Problem(self.source, 0, 0, 0, "", message, suggestion)
        return _problem_at(self.source, self.text, span, message, suggestion)


def read_toml(text: str, source: str) -> TomlDocument:
    """Read the text of a file, called `source` in messages; ConfigError with the first error of syntax."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        message = "values are nested too deeply to be read"
        raise ConfigError([Problem(source, 0, 0, 0, "", message)]) from None
    except ValueError as error:  # also of a number with thousands of digits, which Python will not convert
        raise ConfigError([_syntax_problem(source, text, str(error))]) from None
    return TomlDocument(source, text, table, find_places(text))


def _syntax_problem(source: str, text: str, complaint: str) -> Problem:
    """The parser's message with its place in our form."""
    where = _WHERE.search(complaint)
    message = _WHERE.sub("", complaint)
    remedy = next((remedy for start, remedy in _REMEDIES if message.startswith(start)), "")
    if where is None:
        return Problem(source, 0, 0, 0, "", "this is not TOML: a number has thousands of digits")
    message = f"this is not TOML: {message[:1].lower()}{message[1:]}"
    return _problem_at(source, text, _place_of_error(text, where), message, remedy)


def _place_of_error(text: str, where: re.Match[str]) -> TextSpan:
    """The character that the parser could not take; where it stopped behind a line, all of the line before."""
    if where[1] is None:
        offset = len(text.rstrip())
    else:
        starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        offset = starts[int(where[1]) - 1] + int(where[2]) - 1
    line = TextSpan(text.rfind("\n", 0, offset) + 1, (text + "\n").index("\n", offset))
    rest = text[offset : line.end].rstrip()
    if rest:
        return TextSpan(offset, offset + len(rest))
    before = text[line.start : offset]
    return TextSpan(line.start + len(before) - len(before.lstrip()), offset)


def _problem_at(source: str, text: str, span: TextSpan, message: str, suggestion: str) -> Problem:
    """A problem with its line; a span of several lines is underlined to the end of its first."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    number = bisect_right(starts, span.start)
    line = masked(text[starts[number - 1] :].split("\n", 1)[0])
    column = span.start - starts[number - 1] + 1
    width = min(span.end - span.start, len(line) - column + 1)
    return Problem(source, number, column, width, line, message, suggestion)


def find_places(text: str) -> dict[Path, KeyPlace]:
    """The place of every section and key in a valid TOML text."""
    places: dict[Path, KeyPlace] = {}
    for path, place in _Scanner(text).scan():
        for length in range(1, len(path)):
            places.setdefault(path[:length], KeyPlace(place.key, place.key))
        places.setdefault(path, place)
    return places


class _Scanner:
    """Goes over the text once, from the left."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def scan(self) -> Iterator[tuple[Path, KeyPlace]]:
        """Every header and entry, in file order."""
        section: Path = ()
        self._pass(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                section, span = self._header()
                yield section, KeyPlace(span, span)
            else:
                yield from self._entry(section)
            self._pass(_BLANK)

    def _pass(self, expression: re.Pattern[str]) -> TextSpan:
        """Go past what the expression matches here."""
        start = self._at
        match = expression.match(self._text, start)
        self._at = match.end() if match else start
        return TextSpan(start, self._at)

    def _pass_brackets(self, bracket: str) -> None:
        """Go past one or two brackets, which may have blanks behind them."""
        while self._text.startswith(bracket, self._at):
            self._at += 1
        self._pass(_SPACES)

    def _header(self) -> tuple[Path, TextSpan]:
        """A `[section]` or `[[section]]`."""
        self._pass_brackets("[")
        path, span = self._key()
        self._pass_brackets("]")
        return path, span

    def _key(self) -> tuple[Path, TextSpan]:
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
                return tuple(names), TextSpan(start, span.end)
            self._at += 1
            self._pass(_SPACES)

    def _entry(self, section: Path) -> Iterator[tuple[Path, KeyPlace]]:
        """A `key = value`; of an inline table also what stands in it."""
        names, key = self._key()
        self._at += 1  # the "="
        self._pass(_SPACES)
        start, path = self._at, section + names
        inner = list(self._inline_table(path)) if self._text[start] == "{" else []
        if not inner:
            self._pass_value()
        yield path, KeyPlace(key, TextSpan(start, start + len(self._text[start : self._at].rstrip())))
        yield from inner

    def _inline_table(self, path: Path) -> Iterator[tuple[Path, KeyPlace]]:
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
