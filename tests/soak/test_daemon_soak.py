"""A running daemon stands still, is told to reload, has connections held open, is fed rubbish, and stays exact."""

from __future__ import annotations

import pickle
import random
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.soak.lengths import length
from tests.support.daemon import Daemon, running, wait_until

LIMIT = 500
RULES = f"[/]\nmetrics = {LIMIT}\n"


@contextmanager
def load(daemon: Daemon) -> Iterator[None]:
    """Known and new metrics without end, at a steady pace."""
    ends = threading.Event()

    def send() -> None:
        number = 0
        with daemon.connect() as connection:
            while not ends.is_set():
                now = int(time.time())
                lines = [f"load.m{(number + one) % 2000} {one} {now}\n" for one in range(100)]
                connection.sendall("".join(lines).encode())
                number += 100
                time.sleep(0.01)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        ends.set()
        sender.join()


def assert_exact(daemon: Daemon) -> None:
    """It has taken as many metrics as it may, every point is accounted for, and it met no bug in itself."""
    wait_until(lambda: daemon.json("/api/namespaces/")["usage"]["metrics"] == LIMIT, lambda: daemon.log)
    daemon.settled(lambda counts: counts.accepted)
    wait_until(lambda: len(daemon.stored()) == LIMIT, lambda: daemon.log)
    assert daemon.count("internal_errors_total") == 0


def test_a_daemon_that_stood_still_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    with running(tmp_path, rules=RULES, interval=5) as daemon, load(daemon):
        daemon.signal(signal.SIGSTOP)
        time.sleep(length("STOP_SECONDS", 70))
        daemon.signal(signal.SIGCONT)
        assert_exact(daemon)


def test_reloads_without_end_change_nothing_under_load(tmp_path: Path) -> None:
    with running(tmp_path, rules=RULES) as daemon, load(daemon):
        for _ in range(length("HUPS", 10_149)):
            daemon.signal(signal.SIGHUP)
            time.sleep(0.002)
        assert_exact(daemon)
        assert daemon.count("reload_ok") == 1


def test_connections_that_say_nothing_are_in_nobodys_way(tmp_path: Path) -> None:
    wanted = length("CONNECTIONS", 5000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted + 500 > hard:
        pytest.skip(f"this system allows {hard} open files, and {wanted} connections need more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 500), hard))
    held: list[socket.socket] = []
    try:
        with running(tmp_path, rules=RULES) as daemon:
            held += [daemon.connect() for _ in range(wanted)]
            wait_until(lambda: daemon.count("connections") >= wanted, lambda: daemon.log)
            with load(daemon):
                assert_exact(daemon)
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Named:
    """Whose pickle names a function to be called."""

    def __init__(self, target: tuple[object, ...]) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, ...]:
        return self._target


def hostile() -> list[bytes]:
    """Messages that no honest sender sends: code, bombs, cuts, references, lies about lengths, in all protocols."""
    messages: list[bytes] = []
    point = [("load.p", (1, 1.0))]
    within: list[object] = []
    within.append(within)
    laughs: list[object] = ["ha"] * 10
    for _ in range(30):
        laughs = [laughs] * 10
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        messages += [
            pickle.dumps(Named((print, ("harm",))), protocol),
            pickle.dumps([Named((exec, ("raise SystemExit",)))], protocol),
            pickle.dumps(within, protocol),
            pickle.dumps(laughs, protocol),
            pickle.dumps(point, protocol)[:-1],
        ]
    return [
        *messages,
        b"",
        b"\x80",
        b"\x80\xff" + b"." * 10,
        b"(" * 100_000,
        b"]" + b"0" * 100_000,
        b"\x8e" + struct.pack("<Q", 2**62),
        b"X\xff\xff\xff\x7f",
        b"I" + b"9" * 500_000 + b"\n.",
        b"L" + b"9" * 500_000 + b"L\n.",
    ]


def test_hostile_pickles_without_end_do_nothing(tmp_path: Path) -> None:
    chance = random.Random(1)
    kinds = hostile()
    with running(tmp_path, rules=RULES) as daemon, load(daemon):
        before = _resident(daemon)
        for _ in range(length("PICKLES", 20_000)):
            message = chance.choice(kinds)
            with daemon.connect("pickle over TCP") as connection:
                connection.sendall(struct.pack("!I", len(message)) + message)
        assert_exact(daemon)
        assert _resident(daemon) < before + 100_000_000
        assert "harm" not in daemon.log.replace("'harm'", "")


def _resident(daemon: Daemon) -> int:
    """Bytes of memory that the daemon takes."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def test_rejected_names_without_end_take_no_memory(tmp_path: Path) -> None:
    with running(tmp_path, rules=RULES) as daemon, load(daemon):
        assert_exact(daemon)
        before, number = 0, 0
        whole = length("NAMES", 6_000_000)
        with daemon.connect() as connection:
            while number < whole:
                lines = [b"flood.n%d.m%d 1 1700000000\n" % (number + one, number + one) for one in range(1000)]
                connection.sendall(b"".join(lines))
                number += 1000
                if not before and number >= whole // 3:
                    before = _resident(daemon)
        wait_until(lambda: daemon.count("dropped_total") >= whole, lambda: daemon.log, patience=60)
        assert _resident(daemon) < before + 50_000_000
        assert_exact(daemon)
