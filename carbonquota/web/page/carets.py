"""A line of a file with a caret below what is wrong with it."""

from __future__ import annotations

from typing import Final

from carbonquota.errors import Problem

_WIDEST: Final = 400
"""Characters of a line that are shown around the place."""


def caret(problem: Problem) -> str:
    """The line with its number, and the caret below; of a very long line, the part around the place."""
    start = max(problem.column - 1 - _WIDEST // 2, 0)
    text = problem.text[start : start + _WIDEST]
    before = text[: problem.column - 1 - start]
    # A tab keeps its width in the caret line, so that the caret stands below its character.
    indent = "".join("\t" if character == "\t" else " " for character in before)
    width = min(max(problem.width, 1), max(len(text) - len(before), 1))
    number = f"{problem.line:>5} "
    return (
        f"{number}\N{BOX DRAWINGS LIGHT VERTICAL} {text}\n{'':5} \N{BOX DRAWINGS LIGHT VERTICAL} {indent}{'^' * width}"
    )
