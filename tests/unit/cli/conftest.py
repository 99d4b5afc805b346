"""The command line in this process, run in an empty folder: paths are short, and texts the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from carbonquota.cli import command_line

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


RULES = """\
[/]
metrics = 5
namespaces = 3

[team.*]
metrics = 2
throughput = 3

[team.b]
metrics = 1
dropping-policy = none
throughput =
"""
NAMES = "team.a.x\nteam.a.y\nteam.a.z\nteam.b.p\nteam.b.q\nother.m\n"


@pytest.fixture
def files(folder: Path) -> Path:
    """`rules.conf` and `names.txt`: a small case of every kind, small enough to work out by hand."""
    (folder / "rules.conf").write_text(RULES)
    (folder / "names.txt").write_text(NAMES)
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    def invoke(*arguments: str, stdin: bytes | str = b"") -> Result:
        result = CliRunner().invoke(command_line, arguments, input=stdin, prog_name="carbonquota")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke
