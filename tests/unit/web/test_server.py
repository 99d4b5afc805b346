"""The server: on a thread of its own, at the address it was given, and gone when it is told to go."""

from __future__ import annotations

import asyncio
import http.client
import select
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from starlette.types import ASGIApp

from carbonquota.daemon.http import HttpServer, HttpTimeouts, make_app
from carbonquota.errors import QuotaError
from carbonquota.service.values.address import Address
from tests.support.http import engine_with_names, serving, source_of

LONG = 60.0
"""Seconds of timeouts of which no more than a half is needed, however busy the machine is."""


def app(**changes: object) -> ASGIApp:
    return make_app(source_of(engine_with_names(), **changes))


def get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def start(address: Address, application: ASGIApp | None = None, timeouts: HttpTimeouts | None = None) -> HttpServer:
    server = HttpServer(application or app(), address, timeouts=timeouts)
    asyncio.run(server.start())
    return server


def stop(server: HttpServer, timeouts: float = 5.0) -> float:
    begun = time.monotonic()
    asyncio.run(server.stop(timeouts))
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
    assert stop(HttpServer(app(), Address("127.0.0.1", 0)), LONG) < LONG / 2


def test_open_connections_do_not_hold_it_up() -> None:
    server = start(Address("127.0.0.1", 0))
    kept = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=10)
    kept.request("GET", "/ready")
    assert kept.getresponse().read() == b'{"ready":true}'
    with connected(server) as silent, connected(server) as half:
        half.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n")
        assert stop(server, LONG) < LONG / 2
        assert read_all(silent) == b""
        assert read_all(half) == b""
    kept.close()


QUICK = HttpTimeouts(idle=0.2, head=0.3, body=0.3, stall=0.5, answer=2.0, farewell=0.2)
HEAD = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def quick_server(application: ASGIApp | None = None) -> Iterator[HttpServer]:
    """A server that waits for nobody."""
    server = start(Address("127.0.0.1", 0), application, timeouts=QUICK)
    try:
        yield server
    finally:
        stop(server)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    got = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65_536):
            got += chunk
    return got


def test_a_connection_that_asks_nothing_is_closed() -> None:
    with quick_server() as server, connected(server) as silent:
        assert read_all(silent) == b""


@pytest.mark.parametrize("before", [0, 1, 3], ids=lambda count: f"after {count} whole requests")
def test_every_head_has_a_time_limit_however_it_trickles(before: int) -> None:
    with quick_server() as server, connected(server) as client:
        for _ in range(before):
            client.sendall(HEAD + b"\r\n")
            while not client.recv(65_536).endswith(b'{"ready":true}'):
                pass
        head, sent = HEAD * 10, 0
        with suppress(ConnectionError):
            for byte in head:
                client.sendall(bytes([byte]))
                sent += 1
                time.sleep(0.02)
        assert sent < len(head)
        assert b"408" in read_all(client)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with quick_server() as server, connected(server) as client:
        client.sendall(
            b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nX-Requested-With: x\r\nContent-Length: 9\r\n\r\nabc"
        )
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'{"ok":true,"text":"applied"}')


def test_requests_sent_at_once_are_answered_in_turn() -> None:
    with quick_server() as server, connected(server) as client:
        client.sendall((HEAD + b"\r\n") * 20 + HEAD + b"Connection: close\r\n\r\n")
        assert read_all(client).count(b'{"ready":true}') == 21


def test_health_and_readiness_are_answered_when_all_else_is_taken() -> None:
    go_on = threading.Event()

    def slow() -> list[bytes]:
        assert go_on.wait(20)
        return [b"done"]

    server = start(Address("127.0.0.1", 0), app(metrics=slow))
    with ExitStack() as stack:
        stack.callback(stop, server)
        stack.callback(go_on.set)
        clients = [stack.enter_context(connected(server)) for _ in range(150)]
        for client in clients:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        refused = b""
        while b"503" not in refused:
            readable, _, _ = select.select(clients, [], [], 10)
            assert readable, "a request past the bound is refused at once"
            refused = readable[0].recv(65_536)
            # One that was ended before it was read has nothing to say, and would be readable for ever.
            clients.remove(readable[0])
        assert b"requests are being answered already: ask again in a moment" in refused
        for path in ("/ready", "/health") * 3:
            assert get(f"http://{server.address}{path}")[0] == 200


def test_connections_that_stop_in_any_request_keep_nobody_out() -> None:
    server = start(Address("127.0.0.1", 0))
    with ExitStack() as stack:
        stack.callback(stop, server)
        for number in range(300):
            client = stack.enter_context(connected(server))
            client.sendall((HEAD + b"\r\n") * (number % 2) + HEAD)
            if number % 20 == 0:
                assert get(f"http://{server.address}/health")[0] == 200


def test_a_client_that_does_not_take_its_answer_is_given_up() -> None:
    page = b"x" * 50_000_000
    with quick_server(app(metrics=lambda: [page])) as server, connected(server) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1.5)
        assert len(read_all(client)) < len(page)


def test_a_request_that_has_begun_is_finished() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> list[bytes]:
        begun.set()
        assert go_on.wait(10)
        return [b"done"]

    server = start(Address("127.0.0.1", 0), app(metrics=slow))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(get, f"http://{server.address}/metrics")
        assert begun.wait(10)
        assert get(f"http://{server.address}/ready")[0] == 200, "a slow request holds up no other"
        stopped = pool.submit(stop, server, LONG)
        go_on.set()
        assert answer.result(LONG) == (200, "done")
        assert stopped.result(LONG) < LONG / 2


def test_a_request_that_hangs_is_told_so_in_time(caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hangs() -> list[bytes]:
        begun.set()
        go_on.wait(LONG)
        return [b"late"]

    server = start(Address("127.0.0.1", 0), app(metrics=hangs))
    with connected(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert begun.wait(10)
        assert stop(server, 1.0) < LONG / 2
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'"detail":"the daemon is ending"}')
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
