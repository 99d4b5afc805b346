"""A daemon whose event loop stands while it holds the engine's lock: /health, the metric and systemd's watchdog say so.

Its program is the daemon with a clock of ours, which waits for as long as a file is there. The time after which the
daemon is failing is cut from 30 seconds to 2.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until

PROGRAM = """
import sys, threading, time
from pathlib import Path
from carbonquota.cli import run as command
from carbonquota.daemon import daemon, loop_watch

standing, configuration = sys.argv[1:]

def clock():
    while Path(standing).exists() and threading.current_thread() is threading.main_thread():
        time.sleep(0.02)
    return time.time()

loop_watch.FAILING = 2.0
daemon.run.__kwdefaults__["clock"] = clock
from carbonquota.cli import main
sys.argv = ["carbonquota", "run", "--config", configuration]
main()
"""


class Watched:
    """The daemon, the file that stops its loop, and what systemd would hear."""

    def __init__(self, daemon: Daemon, standing: Path, notified: socket.socket) -> None:
        self.daemon = daemon
        self._standing = standing
        self._notified = notified
        self._heard: list[str] = []

    def stand(self) -> None:
        """Have the loop stand as soon as it decides."""
        self._standing.touch()
        self.daemon.send(f"a.b 1 {int(time.time())}\n")

    def go_on(self) -> None:
        """Let it turn again."""
        self._standing.unlink()

    def heard(self) -> list[str]:
        """All that came to systemd's socket so far."""
        with suppress(BlockingIOError):
            while True:
                self._heard.append(self._notified.recv(1000).decode())
        return self._heard


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """One that runs, and is ended in every case."""
    daemon = Daemon(folder, state="enabled = false")
    standing = folder / "standing"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, daemon.log_path.open("wb") as log:
        notified.bind(str(folder / "notify"))
        notified.setblocking(False)
        daemon.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(standing), str(daemon.configuration)],
            stdout=log,
            stderr=log,
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "2000000"},
        )
        try:
            wait_until(lambda: "ready" in daemon.log and daemon.get("/ready")[0] == 200, lambda: daemon.log)
            yield Watched(daemon, standing, notified)
        finally:
            standing.unlink(missing_ok=True)
            daemon.kill()


def health(daemon: Daemon) -> tuple[int, dict[str, Any]]:
    """Status and document of /health."""
    status, body = daemon.get("/health")
    return status, json.loads(body)


@pytest.fixture(name="it")
def _it(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "d") as one:
        yield one


def test_health_fails_while_the_loop_stands_and_is_well_when_it_turns_again(it: Watched) -> None:
    assert health(it.daemon)[0] == 200
    it.stand()
    wait_until(lambda: health(it.daemon)[0] == 503, lambda: f"not failing: {health(it.daemon)}")
    for _ in range(5):
        # However many have asked before it, none of them being answered from the engine.
        begun = time.monotonic()
        status, document = health(it.daemon)
        assert (status, document["status"]) == (503, "failing")
        assert "the event loop has not turned for" in document["reasons"][0]
        assert document["reasons"][-1] == "the values are old: a part of the daemon does not answer"
        assert document["stats"]["start_time"] > 0
        if time.monotonic() - begun < 1:
            break
    else:
        raise AssertionError("/health never answered within a second")
    assert it.daemon.get("/ready")[0] == 200
    it.go_on()
    wait_until(lambda: health(it.daemon)[1]["status"] == "ok", lambda: f"still not well: {health(it.daemon)}")
    assert it.daemon.count("event_loop_stalls_total") >= 1
    assert it.daemon.count("event_loop_lag_seconds") < 20
    assert it.daemon.stop() == 0


def test_systemd_hears_that_it_is_ready_that_it_turns_and_that_it_stops(it: Watched) -> None:
    wait_until(lambda: it.heard().count("WATCHDOG=1") > 3, lambda: f"{it.heard()}")
    assert it.heard().count("READY=1") == 1
    it.stand()
    wait_until(lambda: health(it.daemon)[0] == 503, "not failing")
    before = len(it.heard())
    # Three times as long as it takes until it should be told again.
    time.sleep(1.5)
    assert len(it.heard()) == before
    it.go_on()
    wait_until(lambda: len(it.heard()) > before, "it is not told that it turns again")
    it.daemon.signal(signal.SIGTERM)
    wait_until(lambda: "STOPPING=1" in it.heard(), lambda: f"{it.heard()}")
    assert it.daemon.process is not None
    assert it.daemon.process.wait(20) == 0
