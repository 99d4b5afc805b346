"""A TOML file read: its values, and a `Problem` for whatever place in it one is to be shown."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from carbonquota.cluster.store_url import masked
from carbonquota.daemon.configuration.places import Path, Place, Span, find_places
from carbonquota.errors import ConfigError, Problem

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
class Document:
    """What the file holds: its top table, and where everything in it stands."""

    source: str
    text: str
    table: dict[str, Any]
    places: dict[Path, Place]

    def line_of(self, path: Path) -> int:
        """The line of a key or section, from 1; 0 where it is not in the file."""
        return self.text.count("\n", 0, self.places[path].key.start) + 1 if path in self.places else 0

    def key_problem(self, path: Path, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the key; of the file as a whole where the key is not in it."""
        return self._problem(self.places[path].key if path in self.places else None, message, suggestion)

    def value_problem(self, path: Path, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the value; of the file as a whole where it is not in it."""
        return self._problem(self.places[path].value if path in self.places else None, message, suggestion)

    def _problem(self, span: Span | None, message: str, suggestion: str) -> Problem:
        if span is None:
            return Problem(self.source, 0, 0, 0, "", message, suggestion)
        return _problem_at(self.source, self.text, span, message, suggestion)


def read_toml(text: str, source: str) -> Document:
    """Read the text of a file, called `source` in messages; ConfigError with the first error of syntax."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        message = "values are nested too deeply to be read"
        raise ConfigError([Problem(source, 0, 0, 0, "", message)]) from None
    except ValueError as error:  # also of a number with thousands of digits, which Python will not convert
        raise ConfigError([_syntax_problem(source, text, str(error))]) from None
    return Document(source, text, table, find_places(text))


def _syntax_problem(source: str, text: str, complaint: str) -> Problem:
    """The parser's message with its place in our form."""
    where = _WHERE.search(complaint)
    message = _WHERE.sub("", complaint)
    remedy = next((remedy for start, remedy in _REMEDIES if message.startswith(start)), "")
    if where is None:
        return Problem(source, 0, 0, 0, "", "this is not TOML: a number has thousands of digits")
    message = f"this is not TOML: {message[:1].lower()}{message[1:]}"
    return _problem_at(source, text, _place_of_error(text, where), message, remedy)


def _place_of_error(text: str, where: re.Match[str]) -> Span:
    """The character that the parser could not take; where it stopped behind a line, all of the line before."""
    if where[1] is None:
        offset = len(text.rstrip())
    else:
        starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        offset = starts[int(where[1]) - 1] + int(where[2]) - 1
    line = Span(text.rfind("\n", 0, offset) + 1, (text + "\n").index("\n", offset))
    rest = text[offset : line.end].rstrip()
    if rest:
        return Span(offset, offset + len(rest))
    before = text[line.start : offset]
    return Span(line.start + len(before) - len(before.lstrip()), offset)


def _problem_at(source: str, text: str, span: Span, message: str, suggestion: str) -> Problem:
    """A problem with its line; a span of several lines is underlined to the end of its first."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    number = bisect_right(starts, span.start)
    line = masked(text[starts[number - 1] :].split("\n", 1)[0])
    column = span.start - starts[number - 1] + 1
    width = min(span.end - span.start, len(line) - column + 1)
    return Problem(source, number, column, width, line, message, suggestion)
