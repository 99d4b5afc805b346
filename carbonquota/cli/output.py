"""What a command prints: text and tables for people, or one JSON document for programs.

On a terminal a table has colours and is fitted to the window. Anywhere else it is plain text at full width: columns
two spaces apart, nothing cut, nothing wrapped, so that `grep`, `awk` and a diff can live on it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import click
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from carbonquota.errors import Problem
from carbonquota.model import MAXIMUM

_FOLDED: Final = 16
"""Characters in a line of a cell that is broken; with fewer it could not be read any more."""

_WIDEST: Final = 10_000
"""More characters than any window has in a line."""

Json = dict[str, object]
"""A JSON document, or an object within one."""


class Tone(Enum):
    """How pressing a row of a table is, and its colour on a terminal."""

    PLAIN = ""
    WARNING = "yellow"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row of a table, one a column."""

    cells: tuple[str, ...]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and what its cells are.

    Numbers stand on the right (`numeric`); long cells may be broken in a window that is too narrow (`folds`).
    """

    heading: str
    numeric: bool = False
    folds: bool = False


@dataclass(slots=True)
class TextTable:
    """Rows under headings, each row as wide as there are columns."""

    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)

    def add(self, *cells: str, tone: Tone = Tone.PLAIN) -> None:
        """Put a row at the end."""
        self.rows.append(Row(cells, tone))


class Output:
    """Where a command writes: stdout for its result, stderr for notes about it."""

    def __init__(self, *, as_json: bool, no_color: bool) -> None:
        """Text unless `as_json`; colours only on a terminal, without `no_color` and without NO_COLOR."""
        self.as_json = as_json
        self._colours = not no_color and not os.environ.get("NO_COLOR")
        self._result = self._console(stderr=False)
        self._notes = self._console(stderr=True)

    def _console(self, *, stderr: bool) -> Console:
        """A console on one of the two; rich's own guesses about terminals and colours are not asked."""
        stream = sys.stderr if stderr else sys.stdout
        return Console(
            file=stream,
            stderr=stderr,
            force_terminal=stream.isatty(),
            no_color=not self._colours,
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property
    def progress_console(self) -> Console | None:
        """Where a progress bar may be drawn: stderr, if it is a terminal."""
        return self._notes if self._notes.is_terminal and not self._notes.is_dumb_terminal else None

    def line(self, text: str = "", *, tone: Tone = Tone.PLAIN) -> None:
        """Print a line of the result, however long; nothing where JSON is wanted."""
        if not self.as_json:
            click.echo(self._painted(self._result, text, tone))

    def note(self, text: str) -> None:
        """Print a line beside the result, on stderr."""
        click.echo(self._painted(self._notes, f"carbonquota: {text}", Tone.WARNING), err=True)

    def document(self, document: Json) -> None:
        """Print the JSON document, where one is wanted."""
        if self.as_json:
            click.echo(json.dumps(document, indent=2))

    def table(self, table: TextTable) -> None:
        """Print a table; nothing where JSON is wanted."""
        if self.as_json:
            return
        if self._result.is_terminal:
            self._print_fitted(_rich(table))
        else:
            click.echo("\n".join(_plain(table)))

    def _print_fitted(self, table: RichTable) -> None:
        """Print a table as wide as the window, or as wide as it can still be read, if that is more."""
        narrowest = self._result.measure(table, options=self._result.options.update(max_width=_WIDEST)).minimum
        self._result.print(table, width=max(narrowest, self._result.width), soft_wrap=True)

    def _painted(self, console: Console, text: str, tone: Tone) -> str:
        """The text in the colour of its tone, where the console has colours."""
        coloured = tone.value and self._colours and console.color_system
        return click.style(text, fg=tone.value) if coloured else text


def _rich(table: TextTable) -> RichTable:
    """The table for a terminal."""
    result = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column, width in zip(table.columns, _widths(table), strict=True):
        justify: JustifyMethod = "right" if column.numeric else "left"
        least = min(width, _FOLDED) if column.folds else width
        result.add_column(column.heading, justify=justify, min_width=least, overflow="fold")
    for row in table.rows:
        result.add_row(*(Text(cell) for cell in row.cells), style=row.tone.value or None)
    return result


def _lines(table: TextTable) -> list[tuple[str, ...]]:
    """The headings, and then the cells of each row."""
    return [tuple(column.heading for column in table.columns), *(row.cells for row in table.rows)]


def _widths(table: TextTable) -> list[int]:
    """The characters of the longest cell of each column."""
    return [max(map(len, cells)) for cells in zip(*_lines(table), strict=True)]


def _plain(table: TextTable) -> Iterable[str]:
    """The table's lines for anything but a terminal."""
    widths = _widths(table)
    for line in _lines(table):
        cells = [
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def number(amount: int) -> str:
    """An amount as people read it, `1,234,567` or `max`: the way it may stand in the rules file, too."""
    return "max" if amount == MAXIMUM else f"{amount:,}"


def plural(amount: int, noun: str) -> str:
    """An amount of things: `1 metric`, `2,000 metrics`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def problem_document(problem: Problem) -> Json:
    """One problem of a file in JSON, without the file."""
    return {
        "line": problem.line,
        "column": problem.column,
        "width": problem.width,
        "text": problem.text,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }
