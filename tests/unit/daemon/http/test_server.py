"""The server: on a thread of its own, at the address it was given, and gone when it is told to go."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from starlette.types import ASGIApp

from carbonquota.daemon.http import HttpServer, make_app
from carbonquota.daemon.settings import Address
from carbonquota.errors import QuotaError
from tests.support.http import engine_with_names, serving, source_of


def app(**changes: object) -> ASGIApp:
    return make_app(source_of(engine_with_names(), **changes))


def get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def start(address: Address, application: ASGIApp | None = None) -> HttpServer:
    server = HttpServer(application or app(), address)
    asyncio.run(server.start())
    return server


def stop(server: HttpServer, patience: float = 5.0) -> float:
    begun = time.monotonic()
    asyncio.run(server.stop(patience))
    return time.monotonic() - begun


@contextmanager
def connected(server: HttpServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.address.port), timeout=10) as connection:
        yield connection


def test_it_serves_on_a_free_port_and_ends() -> None:
    server = start(Address("127.0.0.1", 0))
    host, port = server.address.host, server.address.port
    assert host == "127.0.0.1"
    assert port > 0
    assert get(f"http://127.0.0.1:{port}/ready") == (200, '{"ready":true}')
    stop(server)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    assert not [thread for thread in threading.enumerate() if thread.name == "http"]


def test_no_host_is_all_interfaces_of_both_families() -> None:
    server = start(Address("", 0))
    try:
        assert str(server.address) == f":{server.address.port}"
        assert get(f"http://127.0.0.1:{server.address.port}/ready")[0] == 200
        if socket.has_ipv6:
            assert get(f"http://[::1]:{server.address.port}/ready")[0] == 200
    finally:
        stop(server)


def test_an_address_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(QuotaError) as error:
            start(Address("127.0.0.1", port))
    assert str(error.value) == (
        f"[carbonserver] listen: cannot listen at 127.0.0.1:{port}: another program has the port: end it "
        "(`ss -lnp` names it), or choose another port"
    )


def test_stop_without_start_is_nothing() -> None:
    assert stop(HttpServer(app(), Address("127.0.0.1", 0))) < 1


def test_open_connections_do_not_hold_it_up() -> None:
    server = start(Address("127.0.0.1", 0))
    kept = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=10)
    kept.request("GET", "/ready")
    assert kept.getresponse().read() == b'{"ready":true}'
    with connected(server) as silent, connected(server) as half:
        half.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n")
        assert stop(server, 5.0) < 3
        assert silent.recv(1) == b""
        assert half.recv(1) == b""
    kept.close()


def test_a_connection_that_asks_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbonquota.daemon.http.server._IDLE", 0.1)
    with serving(app()) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as silent, suppress(ConnectionError):
            assert silent.recv(1) == b""


def test_a_request_that_has_begun_is_finished() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> tuple[str, bytes]:
        begun.set()
        assert go_on.wait(10)
        return "text/plain", b"done"

    server = start(Address("127.0.0.1", 0), app(metrics=slow))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(get, f"http://{server.address}/metrics")
        assert begun.wait(10)
        assert get(f"http://{server.address}/ready")[0] == 200, "a slow request holds up no other"
        stopped = pool.submit(stop, server, 10.0)
        go_on.set()
        assert answer.result(10) == (200, "done")
        assert stopped.result(10) < 10


def test_a_request_that_hangs_is_told_so_in_time(caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hangs() -> tuple[str, bytes]:
        begun.set()
        go_on.wait(20)
        return "text/plain", b"late"

    server = start(Address("127.0.0.1", 0), app(metrics=hangs))
    with connected(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(10)
        assert stop(server, 1.0) < 2
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"detail":"the daemon is ending"}')
        go_on.set()
    assert [message for message in caplog.messages if "Traceback" in message] == []
    assert not [thread for thread in threading.enumerate() if thread.name == "http"]


@pytest.mark.parametrize(
    "sent", [b"\x00" * 100, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, b"a.b 1 1700000000\n", b"POST / HTTP/9\r\n\r\n"]
)
def test_what_is_no_request_ends_its_connection_alone(sent: bytes) -> None:
    with serving(app()) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                assert b"200" not in connection.recv(65_536)
        assert get(f"{url}/ready")[0] == 200


def test_signals_stay_with_the_program() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with serving(app()):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
