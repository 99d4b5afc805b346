"""The tool behind `make run`: the real daemon, the metrics of this machine, a table, and an end that leaves nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.daemon import Daemon, wait_until

TOOL = Path(__file__).parents[2] / "tools" / "live_daemon.py"
PATIENCE = 60
RULES = "[servers.*.process]\nmetrics = 5\n\n[servers.*.cpu]\nmetrics = 1\ndropping-policy = none\n"
OVER = re.compile(
    r"^servers\.[\w-]+\.process +metrics +5 +5 +100\.0% +(?P<dropped>[\d,]+) +"
    r"\[servers\.\*\.process\] quotas\.conf:1$",
    re.MULTILINE,
)
WATCHED = re.compile(
    r"^servers\.[\w-]+\.cpu +metrics +1 +\d+ +[\d,]+\.\d% +- +\[servers\.\*\.cpu\] quotas\.conf:4 \(not enforced\)$",
    re.MULTILINE,
)
TOTALS = re.compile(r"data points: ([\d,]+) received, ([\d,]+) accepted, ([\d,]+) dropped, 0 malformed, ")
NO_SWITCH = """\
live_daemon: carbonquota.conf:10:11: enabled: this is true or false, not the number 1
    enabled = 1
              ^
  write true, without quotes
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# The first process of a session has the first terminal that it opens for its own, whose Ctrl-C it then gets.
ON_OWN_TERMINAL = "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.executable, sys.argv[1:])"


def program(*options: str) -> list[str]:
    return [sys.executable, str(TOOL), "--config", "carbonquota.conf", "--log", "log", *options]


def variables() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "FORCE_COLOR"}}
    return kept | {"TERM": "xterm-256color", "PYTHONWARNINGS": "error"}


def run_tool(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(*options), cwd=folder, env=variables(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The tool, until it ends; killed, and its daemon with it, if it does not."""
    process = subprocess.Popen(
        program(*options), cwd=folder, env=variables(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for left in processes(folder):
            left.kill()


def processes(folder: Path) -> list[psutil.Process]:
    """The processes that run in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder.resolve()):
                found.append(process)
    return found


def log(folder: Path) -> str:
    return (folder / "log").read_text()


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """A daemon's files; the tool starts it."""
    return Daemon(tmp_path, rules=RULES)


def test_a_few_rounds_show_who_is_over_a_quota_and_why(daemon: Daemon) -> None:
    done = run_tool(daemon.folder, "--rounds", "2", "--every", "0.2")
    assert (done.returncode, done.stderr) == (0, "")
    found = OVER.findall(done.stdout)
    assert len(found) == 2, done.stdout
    assert 0 < int(found[0].replace(",", "")) < int(found[1].replace(",", ""))
    assert WATCHED.search(done.stdout), done.stdout
    for counts in TOTALS.findall(done.stdout):
        received, accepted, dropped = (int(count.replace(",", "")) for count in counts)
        assert received == accepted + dropped
    assert re.search(r"^Rules: quotas\.conf  Log: log\nPage: http://127\.0\.0\.1:\d+/ ", done.stdout, re.MULTILINE)
    assert log(daemon.folder).endswith("INFO ended\n")
    assert processes(daemon.folder) == []


def test_points_of_ones_own_are_sent_as_it_says_and_a_signal_ends_both(daemon: Daemon) -> None:
    with started(daemon.folder) as process:
        printed = read_table(process)
        command = re.search(r"^  (bash -c .*team\.a\.test.*)$", printed, re.MULTILINE)
        assert command, printed
        subprocess.run(["/bin/sh", "-c", command[1]], timeout=PATIENCE, check=True)
        wait_until(lambda: daemon.get("/api/namespaces/team.a")[0] == 200, "it did not arrive")
        assert daemon.json("/api/namespaces/team.a")["usage"]["metrics"] == 1
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, rest, errors) == (0, "", "")
    assert "SIGTERM: ending" in log(daemon.folder)
    assert log(daemon.folder).endswith("INFO ended\n")
    assert processes(daemon.folder) == []


def read_table(process: subprocess.Popen[str]) -> str:
    """What is printed up to and with the first table."""
    assert process.stdout is not None
    printed = ""
    while not WATCHED.search(printed) or not OVER.search(printed):
        line = process.stdout.readline()
        assert line, f"it ended: {printed}"
        printed += line
    return printed


def test_control_c_on_a_terminal_ends_both(daemon: Daemon) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", ON_OWN_TERMINAL, *program("--every", "0.2")],
        cwd=daemon.folder,
        env=variables(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        printed = read_until(ours, b"line 4, not enforced")
        os.write(ours, b"\x03")
        printed += read_until(ours, None)
        assert process.wait(PATIENCE) == 0
        assert processes(daemon.folder) == []
    finally:
        process.kill()
        process.wait()
        for left in processes(daemon.folder):
            left.kill()
        os.close(ours)
    assert log(daemon.folder).endswith("INFO ended\n")
    text = ESCAPE.sub("", printed.decode())
    assert "Traceback" not in text
    assert re.search(r"process +metrics +5 +5 +100\.0% +[\d,]+ +line 1 \[servers\.\*\.process\]", text)
    assert log(daemon.folder).endswith("INFO ended\n")
    assert processes(daemon.folder) == []


def read_until(terminal: int, end: bytes | None) -> bytes:
    """What comes from a terminal up to something, or until its other side is closed."""
    printed = b""
    while end is None or end not in printed:
        assert select.select([terminal], [], [], PATIENCE)[0], printed.decode()
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            # Linux says so when the other side of a terminal is closed.
            chunk = b""
        if not chunk:
            assert end is None, printed.decode()
            return printed
        printed += chunk
    return printed


def test_a_daemon_that_cannot_start_is_told_with_the_end_of_its_log(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = daemon.folder / "carbonquota.conf"
        path.write_text(
            path.read_text().replace('[tcp]\nlisten = "127.0.0.1:0"', f'[tcp]\nlisten = "127.0.0.1:{port}"')
        )
        done = run_tool(daemon.folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"[tcp] listen: cannot listen at 127.0.0.1:{port}: another program has the port" in done.stderr
    assert done.stderr.endswith("live_daemon: the daemon ended by itself, with exit code 1; its log is log\n"), (
        done.stderr
    )
    assert processes(daemon.folder) == []


def test_a_daemon_that_ends_meanwhile_ends_it_too(daemon: Daemon) -> None:
    with started(daemon.folder) as process:
        read_table(process)
        (child,) = psutil.Process(process.pid).children()
        child.kill()
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.endswith("live_daemon: the daemon was ended by SIGKILL; its log is log\n"), errors


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[tcp]\n",
            "[tcp]\nenabled = false\n",
            "live_daemon: carbonquota.conf: [tcp] is off, and this needs it: set its `enabled = true`\n",
        ),
        (
            "[carbonserver]\n",
            "[carbonserver]\nenabled = false\n",
            "live_daemon: carbonquota.conf: [carbonserver] is off, and this needs it: set its `enabled = true`\n",
        ),
        (
            "[tcp]\n",
            "[tcp]\nenabled = 1\n",
            NO_SWITCH,
        ),
    ],
)
def test_a_configuration_that_does_not_do_is_told_at_once(daemon: Daemon, old: str, new: str, message: str) -> None:
    path = daemon.folder / "carbonquota.conf"
    path.write_text(path.read_text().replace(old, new))
    done = run_tool(daemon.folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert not (daemon.folder / "log").exists()
