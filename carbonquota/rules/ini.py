"""The INI dialect of carbon's configuration files: text to sections of entries, each knowing its place.

Only full-line comments (`#` and `;`); sections may repeat and keep their order; an entry parts at its first
`=`; keys are lower-cased; a value is trimmed of blanks and then of quotes. What is wrong is gathered, never
raised, so that one run shows all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonquota.errors import Problem

_BYTE_ORDER_MARK: Final = "\ufeff"
_QUOTES: Final = "\"'"


@dataclass(frozen=True, slots=True)
class IniLine:
    """One line of a file: `number` counts from 1, `text` is without its line ending."""

    source: str
    number: int
    text: str

    def problem(self, column: int, width: int, message: str, suggestion: str = "") -> Problem:
        """A problem on this line, `column` counting from 1."""
        return Problem(self.source, self.number, column, width, self.text, message, suggestion)


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key = value`: the key as compared, the value as used, and the columns (from 1) where they stand.

    The value's column is where the value begins inside its quotes, or behind the `=` when it is empty.
    """

    line: IniLine
    key: str
    value: str
    key_column: int
    value_column: int

    def key_problem(self, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the key."""
        return self.line.problem(self.key_column, len(self.key), message, suggestion)

    def value_problem(self, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the value."""
        return self.line.problem(self.value_column, max(len(self.value), 1), message, suggestion)


@dataclass(frozen=True, slots=True)
class Section:
    """One `[name]` and its entries; `column` (from 1) is where the name begins.

    The name is None where the header is broken: its entries are still worth checking.
    """

    line: IniLine
    name: str | None
    column: int
    entries: tuple[Entry, ...]

    def name_problem(self, message: str, suggestion: str = "") -> Problem:
        """A problem whose caret underlines the section's name."""
        return self.line.problem(self.column, len(self.name or "["), message, suggestion)

    def get(self, key: str) -> Entry | None:
        """The entry that counts for the key, which is the last one, or None."""
        return next((entry for entry in reversed(self.entries) if entry.key == key), None)

    def entry(self, key: str) -> Entry:
        """The entry that counts for a key known to be there; KeyError if it is not."""
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds: its sections, and what is wrong with its lines."""

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...]


def read_document(text: str, source: str) -> Document:
    """Part the text into sections; a byte order mark and CRLF line endings are taken as they come."""
    reader = _SectionReader()
    for number, raw in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split("\n"), start=1):
        reader.read(IniLine(source, number, raw.removesuffix("\r")))
    reader.close_section()
    return Document(tuple(reader.sections), tuple(reader.problems))


class _SectionReader:
    """Gathers lines into sections."""

    __slots__ = ("_entries", "_header", "problems", "sections")

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.problems: list[Problem] = []
        self._header: tuple[IniLine, str | None, int] | None = None
        self._entries: list[Entry] = []

    def read(self, line: IniLine) -> None:
        """Take the next line."""
        content = line.text.strip()
        if not content or content[0] in "#;":
            return
        if content[0] == "[":
            self.close_section()
            self._header = self._read_header(line, content)
        else:
            self._read_entry(line, content)

    def close_section(self) -> None:
        """End the section that is open, if any."""
        if self._header is not None:
            line, name, column = self._header
            self.sections.append(Section(line, name, column, tuple(self._entries)))
        self._entries = []

    def _read_header(self, line: IniLine, content: str) -> tuple[IniLine, str | None, int]:
        column = len(line.text) - len(line.text.lstrip()) + 1
        if not content.endswith("]"):
            hint = 'end it with "]"; a comment stands on a line of its own'
            self.problems.append(line.problem(column, len(content), "this section header is not finished", hint))
            return line, None, column
        name = content[1:-1].strip()
        if not name:
            self.problems.append(line.problem(column, len(content), "this section has no name", 'the root is "[/]"'))
            return line, None, column
        return line, name, line.text.index(name, column) + 1

    def _read_entry(self, line: IniLine, content: str) -> None:
        column = len(line.text) - len(line.text.lstrip()) + 1
        written, equals, rest = line.text.partition("=")
        key = written.strip()
        if not equals:
            self.problems.append(line.problem(column, len(content), 'this line has no "="', _meant_entry(content)))
        elif not key:
            self.problems.append(line.problem(column, 1, 'there is no key before the "="', "name the key"))
        else:
            self._add_entry(_entry_of(line, key, column, rest))

    def _add_entry(self, entry: Entry) -> None:
        if self._header is None:
            hint = "put a section such as [*] above it"
            self.problems.append(entry.key_problem(f'"{entry.key}" stands outside of any section', hint))
        self._entries.append(entry)


def _meant_entry(content: str) -> str:
    for separator in (":", None):
        key, *value = content.split(separator, 1)
        if value and len(key.split()) == 1:
            return f'did you mean "{key.strip()} = {value[0].strip()}"?'
    return 'write it as "key = value"'


def _entry_of(line: IniLine, key: str, column: int, rest: str) -> Entry:
    value = rest.strip().strip(_QUOTES)
    behind_equals = len(line.text) - len(rest)
    offset = behind_equals + (rest.index(value) if value else 0)
    return Entry(line, key.lower(), value, column, offset + 1)
