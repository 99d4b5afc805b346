"""The examples of the documentation, run as a reader would paste them: each prints what the document says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.examples import Block, Example, blocks, examples

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.exists()]
RUNNABLE = [path for path in DOCUMENTS if blocks(path)]


def environment() -> dict[str, str]:
    """Ours, with the console script of this Python first, and nothing that changes what is printed."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run_python(block: Block, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"line {block.line}: {done.stderr}"


def run_console(block: Block, folder: Path) -> None:
    code = 0
    for example in examples(block):
        done = subprocess.run(
            ["/bin/sh", "-c", f"(exit {code}); {example.command}"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        code = done.returncode
        assert example.matches(done.stdout), f"line {example.line}: $ {example.command}\n{done.stdout}"


@pytest.mark.parametrize("document", RUNNABLE, ids=lambda path: path.name)
def test_the_examples_of_a_document_print_what_it_says(document: Path, tmp_path: Path) -> None:
    for block in blocks(document):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.language == "python":
            run_python(block, tmp_path)
        else:
            run_console(block, tmp_path)


def test_the_command_line_is_documented_by_examples() -> None:
    commands = [
        example.command
        for block in blocks(ROOT / "docs" / "command-line.md")
        if not block.file
        for example in examples(block)
    ]
    for name in ("check", "explain", "dry-run", "usage", "--version"):
        assert any(f"carbonquota {name}" in command for command in commands), name


@pytest.mark.parametrize(
    ("printed", "output", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a", "a\nb\n", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...", "a\n", True),
        ("version ... here", "version 3.11 here\n", True),
        ("version ... here", "version 3\n11 here\n", False),
        ("a.b", "axb\n", False),
        ("", "", True),
        ("", "a\n", False),
    ],
)
def test_examples_are_compared_in_full(printed: str, output: str, same: bool) -> None:
    assert Example(1, "true", printed).matches(output) is same


def test_comments_choose_the_blocks(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    quoted = "```console\n$ true\n```\n"
    document.write_text(
        f"{quoted}\n<!-- doc-test: run -->\n{quoted}<!-- doc-test: file x.conf -->\n\n```ini\n[a]\n```\n"
    )
    assert [(block.line, block.language, block.file) for block in blocks(document)] == [
        (6, "console", None),
        (11, "ini", "x.conf"),
    ]
    document.write_text(f"<!-- doc-test: all -->\n{quoted}\n<!-- doc-test: skip -->\n{quoted}")
    assert [block.line for block in blocks(document)] == [2]
