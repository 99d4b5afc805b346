"""The one family of errors that this package expects, each with what a person needs to mend it.

Everything a user can get wrong ends in a `QuotaError`. Any other exception is a bug in the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


class QuotaError(Exception):
    """The base of every error that input, and not a bug, can cause."""


class MetricNameError(QuotaError, ValueError):
    """A metric name that no series can have: empty, not UTF-8, a control character, too long."""


class NoFileError(MetricNameError):
    """A metric name that the store which an engine decides for can have no file of."""


class InputError(QuotaError):
    """A source that cannot be read as what it was given for: missing, empty, binary."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file, at a place, with a remedy.

    `line` and `column` count from 1; `line` 0 means the file as a whole. `width` is how many characters
    the caret underlines, from `column` on. `text` is the line as it stands in the file.
    """

    source: str
    line: int
    column: int
    width: int
    text: str
    message: str
    suggestion: str = ""

    @property
    def place(self) -> str:
        """Where it is, as editors and terminals make it clickable: `file:line:column`."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def __str__(self) -> str:
        """The place and message, the line, a caret below the culprit, and the suggestion."""
        parts = [f"{self.place}: {self.message}"]
        if self.line:
            # A tab keeps its width in the caret line, so that the caret stands below its character.
            indent = "".join("\t" if c == "\t" else " " for c in self.text[: self.column - 1])
            parts += [f"    {self.text}", f"    {indent}{'^' * max(self.width, 1)}"]
        if self.suggestion:
            parts.append(f"  {self.suggestion}")
        return "\n".join(parts)


MOST_SHOWN: Final = 100
"""Problems that the text of an error has: a file of another kind may have one in each of a million lines."""


class ConfigError(QuotaError):
    """Every problem of one configuration file, in file order; as text, the first 100.

    `problems` is never empty. The first one's place is also at hand as `path`, `line` and `column`.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Take the problems in file order."""
        self.problems = tuple(problems)
        more = len(self.problems) - MOST_SHOWN
        lines = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        super().__init__("\n".join([*lines, f"and {more:,} more errors"] if more > 0 else lines))

    @property
    def path(self) -> str:
        """The file of the first problem."""
        return self.problems[0].source

    @property
    def line(self) -> int:
        """The line of the first problem, from 1."""
        return self.problems[0].line

    @property
    def column(self) -> int:
        """The column of the first problem, from 1."""
        return self.problems[0].column
