"""The examples of a Markdown document, ready to be run.

A ```console block holds commands behind `$ ` (continued behind `> `), each followed by what it prints, stdout and
stderr together. In what is printed, a line `...` stands for any lines, and `...` within a line for any text. HTML
comments right before a block steer it; readers do not see them:

    <!-- doc-test: all -->          once in a document: its console blocks run unless they say `skip`
    <!-- doc-test: run -->          the block runs: a console block, or a python block, which must not raise
    <!-- doc-test: skip -->         it does not
    <!-- doc-test: file NAME -->    the block, whatever its language, is written to NAME for later blocks
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- doc-test: (?P<directive>[^\n]*?) -->\n+)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_RUN_ALL = "<!-- doc-test: all -->"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the line it stands at, its language, its text, and what its comment says, if anything."""

    line: int
    language: str
    text: str
    directive: str

    @property
    def file(self) -> str | None:
        """The file that the block is the content of."""
        return self.directive.removeprefix("file ") if self.directive.startswith("file ") else None


@dataclass(frozen=True, slots=True)
class Example:
    """A command and what it prints."""

    line: int
    command: str
    printed: str

    def matches(self, output: str) -> bool:
        """Whether the output is what the document says."""
        return re.fullmatch("".join(map(_line_pattern, self.printed.splitlines())), output) is not None


def _line_pattern(line: str) -> str:
    """The regular expression for one line of output."""
    if line == "...":
        return r"(?:[^\n]*\n)*?"
    return re.escape(line).replace(r"\.\.\.", r"[^\n]*") + r"\n"


def blocks(document: Path) -> list[Block]:
    """The blocks of a document that are to be run or written, in order."""
    text = document.read_text()
    run_all = _RUN_ALL in text
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text"))
        block = Block(line, match["language"], match["text"], match["directive"] or "")
        wanted = block.directive == "run" or (run_all and block.language == "console" and block.directive != "skip")
        if block.file or wanted:
            found.append(block)
    return found


def examples(block: Block) -> Iterator[Example]:
    """The commands of a console block."""
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        assert lines[at].startswith("$ "), f"line {block.line + at + 1}: a command begins with `$ `, not {lines[at]!r}"
        first, command = at, lines[at][2:]
        at += 1
        while at < len(lines) and lines[at].startswith("> "):
            command += "\n" + lines[at][2:]
            at += 1
        printed = []
        while at < len(lines) and not lines[at].startswith("$ "):
            printed.append(lines[at])
            at += 1
        yield Example(block.line + first + 1, command, "\n".join(printed))
