"""What systemd is told, as a socket of ours receives it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonquota.service.systemd import Systemd
from carbonquota.testing import ManualClock


@pytest.fixture(params=["file", "abstract"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that systemd would have, and what it would put into NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@carbonquota-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.setblocking(False)
        yield listening, name


def messages(listening: socket.socket) -> list[str]:
    """All that has come."""
    found: list[str] = []
    while True:
        try:
            found.append(listening.recv(1000).decode())
        except BlockingIOError:
            return found


def test_it_is_told_four_times_in_the_time_that_it_waits(told: tuple[socket.socket, str]) -> None:
    listening, name = told
    clock = ManualClock(0.0)
    systemd = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}, clock)
    systemd.ready()
    for _ in range(16):
        systemd.alive()
        clock.advance(0.5)
    systemd.stopping()
    assert messages(listening) == ["READY=1", *["WATCHDOG=1"] * 4, "STOPPING=1"]


@pytest.mark.parametrize(
    "more",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "often"}],
)
def test_without_a_watchdog_only_start_and_stop_are_told(told: tuple[socket.socket, str], more: dict[str, str]) -> None:
    listening, name = told
    systemd = Systemd({"NOTIFY_SOCKET": name, **more}, ManualClock(0.0))
    systemd.ready()
    systemd.alive()
    systemd.stopping()
    assert messages(listening) == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize("name", ["", "relative/path"])
def test_where_nobody_asks_nobody_is_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000"}, ManualClock(0.0))
    systemd.ready()
    systemd.alive()
    assert caplog.messages == []


def test_a_socket_that_is_gone_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}, ManualClock(0.0))
    with caplog.at_level(logging.WARNING):
        systemd.ready()
        systemd.stopping()
    assert caplog.messages == ["systemd cannot be told READY=1: NOTIFY_SOCKET: No such file or directory"]
