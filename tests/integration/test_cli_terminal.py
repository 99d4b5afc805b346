"""The command line on a terminal, a real one in the kernel's eyes: colours, tables fitted to it, a progress bar."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "carbonquota.cli"]
PATIENCE = 60
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[3[0-9]m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.conf").write_text("[*]\nmetrics = 2\n")
    (tmp_path / "names.txt").write_bytes(b"a.x\na.y\na.z\n")
    return tmp_path


def on_terminal(
    folder: Path, arguments: str, *, columns: int = 100, both: bool = True, environment: Mapping[str, str] | None = None
) -> str:
    """What a terminal of that width gets from stderr, and from stdout if `both`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = clean(os.environ) | {"TERM": "xterm-256color"} | dict(environment or {})
    process = subprocess.Popen(
        [*PROGRAM, *arguments.split()],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=theirs if both else subprocess.DEVNULL,
        stderr=theirs,
        env=variables,
    )
    os.close(theirs)
    printed = b""
    try:
        while chunk := os.read(ours, 65536):
            printed += chunk
    except OSError:
        # Linux says so when the other side of a terminal is closed.
        pass
    process.wait(PATIENCE)
    os.close(ours)
    return printed.decode().replace("\r\n", "\n")


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what tells programs how to print."""
    said = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    return {name: value for name, value in environment.items() if name not in said}


def test_a_terminal_gets_colours(folder: Path) -> None:
    printed = on_terminal(folder, "dry-run --rules rules.conf names.txt")
    assert "\x1b[31ma " in printed
    assert "\x1b[31m3 points of 3 metrics in 1 namespace: 1 would be rejected." in printed


@pytest.mark.parametrize(
    ("arguments", "environment"), [("--no-color ", {}), ("", {"NO_COLOR": "1"}), ("", {"TERM": "dumb"})]
)
def test_colours_can_be_done_without(folder: Path, arguments: str, environment: dict[str, str]) -> None:
    printed = on_terminal(folder, f"dry-run {arguments}--rules rules.conf names.txt", environment=environment)
    assert "3 points of 3 metrics" in printed
    assert not COLOUR.search(printed)


def test_an_empty_no_color_says_nothing(folder: Path) -> None:
    assert COLOUR.search(on_terminal(folder, "dry-run --rules rules.conf names.txt", environment={"NO_COLOR": ""}))


@pytest.mark.parametrize("both", [True, False])
def test_progress_is_drawn_and_wiped_away(folder: Path, both: bool) -> None:
    (folder / "many.txt").write_bytes(b"".join(b"a.b%d\n" % number for number in range(100_000)))
    printed = on_terminal(folder, "usage many.txt", both=both)
    assert re.search(r"many\.txt [━╸╺]+ +\d+% ", ESCAPE.sub("", printed))
    last_bar = printed.rindex("━")
    assert "\x1b[2K" in printed[last_bar:]
    assert "\x1b[?25h" in printed[last_bar:]


def test_json_has_progress_too_but_on_stderr_only(folder: Path) -> None:
    printed = on_terminal(folder, "usage --json names.txt", both=False)
    assert "━" in printed
    assert "metrics" not in printed


def test_a_table_is_fitted_to_the_window(folder: Path) -> None:
    (folder / "names.txt").write_text("".join(f"{'long' * 10}.metric{number}\n" for number in range(3)))
    printed = ESCAPE.sub("", on_terminal(folder, "dry-run --rules rules.conf names.txt", columns=100))
    table = printed[: printed.index("3 points of")]
    assert max(map(len, table.splitlines())) <= 100
    assert "longlonglonglong" in table


def test_a_window_too_narrow_for_a_table_breaks_no_numbers(folder: Path) -> None:
    printed = ESCAPE.sub("", on_terminal(folder, "dry-run --rules rules.conf names.txt", columns=40))
    assert re.search(r"^a +metrics +2 +3 +150\.0% +1 +1 +\[\*\]", printed, re.MULTILINE)
