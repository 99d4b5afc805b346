"""The command line as a process: pipes, signals, exit codes, and no traceback however it ends."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from carbonquota.kernel import KERNEL

PROGRAM = [sys.executable, "-m", "carbonquota.cli"]
PATIENCE = 60
RULES = "[*]\nmetrics = 2\n"
MANY = b"".join(b"team%d.metric\n" % number for number in range(20_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.conf").write_text(RULES)
    (tmp_path / "names.txt").write_bytes(b"a.x\na.y\na.z\n")
    (tmp_path / "many.txt").write_bytes(MANY)
    return tmp_path


def run(folder: Path, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env=os.environ | environment,
    )


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    variables = os.environ | environment
    return subprocess.Popen([*PROGRAM, *arguments], cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, env=variables)


def test_the_version_names_kernel_and_python(folder: Path) -> None:
    done = run(folder, "--version")
    pattern = rf"carbonquota \d+\.\d+\.\d+\S* \(kernel {KERNEL}, Python {re.escape(platform.python_version())}\)\n"
    assert re.fullmatch(pattern, done.stdout.decode())


@pytest.mark.parametrize("command", [[], ["check"], ["explain"], ["dry-run"], ["usage"]])
def test_help_tells_of_every_command(folder: Path, command: list[str]) -> None:
    done = run(folder, *command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: carbonquota ")
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "rules.conf"], 0),
        (["check", "names.txt"], 1),
        (["explain", "--rules", "rules.conf", "a.b", "--expect", "rejected"], 1),
        (["dry-run", "--rules", "rules.conf", "names.txt"], 0),
        (["dry-run", "--rules", "rules.conf", "names.txt", "--fail-on-drop"], 2),
        (["dry-run", "--rules", "rules.conf", "nowhere"], 1),
        (["dry-run", "names.txt"], 2),
        (["usage", "names.txt"], 0),
        (["nonsense"], 2),
        (["usage", "--nonsense"], 2),
        (["usage", "names.txt", "--depth", "-1"], 2),
    ],
)
def test_exit_codes(folder: Path, arguments: list[str], code: int) -> None:
    done = run(folder, *arguments)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules.conf", "--index", "-"],
        ["explain", "--rules", "rules.conf", "--index", "-", "a.b"],
        ["dry-run", "--rules", "rules.conf", "-"],
        ["dry-run", "--rules", "rules.conf", "--against", "rules.conf", "-"],
        ["usage", "-"],
    ],
)
def test_json_is_one_document_on_stdout_and_all_else_is_on_stderr(folder: Path, arguments: list[str]) -> None:
    done = run(folder, *arguments, "--json", stdin=b"a.x 1 1700000000\nb.c\nmalformed line\n")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), dict)
    assert done.stderr.startswith(b"carbonquota: 1 malformed line left out, such as\n")


def test_a_pipe_gets_plain_text_at_full_width(folder: Path) -> None:
    name = "a" * 150 + ".b" * 50
    done = run(folder, "usage", "-", "--depth", "99", stdin=f"{name}\n".encode(), COLUMNS="80", FORCE_COLOR="1")
    lines = done.stdout.decode().splitlines()
    assert "a" * 150 in lines[2]
    assert len(lines) == 1 + 1 + 50
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout + done.stderr
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_ends_it_quietly(folder: Path, unbuffered: str) -> None:
    process = start(folder, "usage", "many.txt", PYTHONUNBUFFERED=unbuffered)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline().startswith(b"namespace ")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(PATIENCE)) == (b"", 141)
    process.stdin.close()
    process.stderr.close()


@pytest.mark.parametrize(
    "arguments", ["usage names.txt", "usage --json names.txt", "--help", "--version", "check --help"]
)
def test_a_reader_that_was_never_there_is_no_trouble_either(folder: Path, arguments: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PROGRAM, *arguments.split()], cwd=folder, stdout=writer, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode in {1, 141}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", ["usage names.txt", "dry-run --rules rules.conf --json names.txt", "--help"])
def test_a_full_disk_is_one_line(folder: Path, arguments: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments.split()],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    message = b"carbonquota: cannot write the output: no space left on device\n"
    assert (done.stderr, done.returncode) == (message, 1)


@pytest.mark.parametrize(
    ("redirection", "message"),
    [("<&-", "carbonquota: standard input: it is closed\n"), (">&-", ""), ("2>&-", "")],
)
def test_closed_streams_are_no_trouble(folder: Path, redirection: str, message: str) -> None:
    source = "-" if redirection == "<&-" else "names.txt"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m carbonquota.cli usage {source} {redirection}', sys.executable],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stderr.decode(), done.returncode) == (message, 1 if message else 0)


@pytest.mark.parametrize("arguments", ["usage -", "dry-run --rules rules.conf -", "check rules.conf --index -"])
def test_ctrl_c_ends_it_quietly(folder: Path, arguments: str) -> None:
    process = start(folder, *arguments.split())
    assert process.stdin
    # More than a pipe holds: when all of it is written, the process is reading it, and waits for more.
    process.stdin.write(MANY * 4)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == (b"", b"", 130)


def test_a_name_that_the_encoding_lacks_is_printed_as_an_escape(folder: Path) -> None:
    done = run(folder, "usage", "-", stdin="größe.λ.x\n".encode(), PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "  größe ".encode("latin-1") in done.stdout
    assert b"    \\u03bb " in done.stdout


def test_paths_that_are_not_utf8_are_no_trouble(folder: Path) -> None:
    tree = folder / os.fsdecode(b"tr\xffee")
    tree.mkdir()
    (tree / os.fsdecode(b"b\xfed.wsp")).touch()
    done = run(folder, "usage", tree.name)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "carbonquota: tr\ufffdee: no Whisper file in it can be read: tr\ufffdee/b\ufffdd.wsp: empty\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["serve", "--database", "postgresql://nobody@127.0.0.1:1/none"],
            "carbonquota: the database cannot be used (connection failed: ",
        ),
        (["limit", "--config", "none.toml"], "carbonquota: none.toml: there is no such file"),
        (["rules", "list", "--url", "http://127.0.0.1:1"], "carbonquota: http://127.0.0.1:1: it cannot be reached: "),
    ],
    ids=["serve", "limit", "rules"],
)
def test_what_a_service_cannot_begin_with_is_one_line(folder: Path, arguments: list[str], told: str) -> None:
    done = run(folder, *arguments)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(told)
    assert (done.returncode, done.stdout) == (1, b"")
    assert {path.name for path in folder.iterdir()} == {"rules.conf", "names.txt", "many.txt"}
