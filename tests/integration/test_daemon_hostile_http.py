"""No HTTP request may stop data points, and no crowd of connections takes what the rest of the daemon needs."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running, wait_until

RULES = "[team.*]\nmetrics = 1000\nthroughput = 1_000_000\n"
HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


def trickle(connection: socket.socket, sent: bytes) -> None:
    """Send it byte by byte, until the other side has enough."""
    with suppress(OSError):
        for byte in sent:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)


def at_once(connection: socket.socket, sent: bytes) -> None:
    """Send all, and read nothing."""
    with suppress(OSError):
        connection.settimeout(1)
        connection.sendall(sent)


ATTACKS: dict[str, tuple[Callable[[socket.socket, bytes], None], bytes]] = {
    "slow heads": (trickle, HEAD + b"X-Slow: " + b"a" * 1000),
    "slow bodies": (
        trickle,
        b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + b"a" * 999,
    ),
    "half requests after whole ones": (at_once, HEAD + b"\r\n" + HEAD),
    "huge heads": (at_once, HEAD + b"X: " + b"a" * 1_000_000),
    "pipelines that are not read": (at_once, (HEAD + b"\r\n") * 500),
    "silence": (at_once, b""),
    "rubbish": (at_once, b"\x16\x03\x01" + bytes(range(256)) * 100),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("hostile") / "daemon", rules=RULES) as daemon:
        yield daemon


@contextmanager
def under_attack(daemon: Daemon, attack: str, count: int) -> Iterator[None]:
    """So many clients that do one bad thing."""
    act, sent = ATTACKS[attack]
    with ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect("HTTP")) for _ in range(count)]
        threads = [threading.Thread(target=act, args=(client, sent), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        yield
    for thread in threads:
        thread.join(20)


@pytest.mark.parametrize("attack", ATTACKS)
def test_points_flow_and_health_is_told_whatever_clients_of_http_do(daemon: Daemon, attack: str) -> None:
    now = int(time.time())
    before = daemon.counts().accepted
    with under_attack(daemon, attack, 100):
        for turn in range(10):
            daemon.send(f"team.a.m{turn} {turn} {now}\n" * 1000)
            assert daemon.get("/health")[0] == 200
            assert daemon.get("/ready")[0] == 200
    counts = daemon.settled(lambda counts: counts.accepted - before >= 10_000)
    assert counts.dropped == counts.malformed == 0


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000, reason="too few files may be open here")
def test_a_crowd_of_connections_leaves_descriptors_to_health_store_and_state(tmp_path: Path) -> None:
    now = int(time.time())
    state = 'snapshot-frequency = "1s"'
    with (
        running(tmp_path / "daemon", rules=RULES, open_files=256, state=state) as daemon,
        ExitStack() as stack,
    ):
        for what in ("HTTP", "plaintext over TCP", "pickle over TCP") * 100:
            with suppress(OSError):
                stack.enter_context(daemon.connect(what))
        for number in range(20):
            with suppress(OSError):
                daemon.send(f"team.b.m{number} 1 {now}\n")
            with daemon.connect("plaintext over UDP", socket.SOCK_DGRAM) as datagrams:
                datagrams.send(f"team.c.m{number} 1 {now}\n".encode())
        assert daemon.get("/health")[0] == 200
        wait_until(
            lambda: {f"team.c.m{number}" for number in range(20)} <= daemon.stored(),
            lambda: f"not stored: {daemon.log}",
        )
        started = daemon.count("snapshot_time")
        wait_until(lambda: daemon.count("snapshot_time") > started, "no snapshot any more")
        assert daemon.count("state_errors_total") == 0
        assert daemon.count("sink_errors_total") == 0
        assert daemon.log.count("\n") < 200
