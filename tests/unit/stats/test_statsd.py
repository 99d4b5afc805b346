"""StatsD over real sockets on this machine: whole packets, clean names, and failures that are counted, never raised."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from carbonquota.model import MAXIMUM
from carbonquota.stats.statsd import PACKET_SIZE, StatsDEmitter

PATIENCE = 60.0


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def emitter(server: socket.socket) -> Iterator[StatsDEmitter]:
    made = StatsDEmitter("127.0.0.1", server.getsockname()[1], "quotas")
    yield made
    made.close()


def packets(server: socket.socket, lines: int) -> list[str]:
    """The packets that hold so many lines together."""
    found: list[str] = []
    while sum(len(packet.split("\n")) for packet in found) < lines:
        found.append(server.recv(65536).decode())
    return found


def test_values_are_gauges_in_one_packet(server: socket.socket, emitter: StatsDEmitter) -> None:
    emitter.emit({"usage.metrics.a": 3, "quota.metrics.a": MAXIMUM, "seconds": 0.5, "time": 60.0}.items())
    assert packets(server, 4) == [
        "quotas.usage.metrics.a:3|g\nquotas.quota.metrics.a:9223372036854775807|g\nquotas.seconds:0.5|g\nquotas.time:60|g"
    ]
    assert emitter.errors == 0


def test_many_values_go_in_full_packets_of_a_safe_size(server: socket.socket, emitter: StatsDEmitter) -> None:
    values = {f"usage.metrics.team-{number}": number for number in range(300)}
    emitter.emit(values.items())
    got = packets(server, 300)
    assert "\n".join(got).split("\n") == [f"quotas.{name}:{value}|g" for name, value in values.items()]
    assert max(map(len, got)) <= PACKET_SIZE
    assert min(map(len, got[:-1])) > PACKET_SIZE - 50


@pytest.mark.parametrize(
    ("name", "sent"),
    [("a:b", "a_b"), ("a|b@c#d", "a_b_c_d"), ("a b\nc", "a_b_c"), ("größe", "gr__e"), ("a-b.c{d}", "a-b.c{d}")],
)
def test_a_name_holds_nothing_that_statsd_takes_for_its_own(
    server: socket.socket, emitter: StatsDEmitter, name: str, sent: str
) -> None:
    emitter.emit([(name, 1)])
    assert packets(server, 1) == [f"quotas.{sent}:1|g"]


def test_what_is_not_finite_is_left_out(server: socket.socket, emitter: StatsDEmitter) -> None:
    emitter.emit({"a": float("nan"), "b": float("inf"), "c": 1}.items())
    assert packets(server, 1) == ["quotas.c:1|g"]


def test_without_a_prefix_names_stand_alone(server: socket.socket) -> None:
    emitter = StatsDEmitter("127.0.0.1", server.getsockname()[1])
    emitter.emit({"a": 1}.items())
    assert packets(server, 1) == ["a:1|g"]
    emitter.close()


def test_after_a_close_another_socket_is_opened(server: socket.socket, emitter: StatsDEmitter) -> None:
    emitter.close()
    emitter.emit({"a": 1}.items())
    assert packets(server, 1) == ["quotas.a:1|g"]


def test_nobody_listening_is_no_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    emitter = StatsDEmitter("127.0.0.1", port)
    for _ in range(3):
        emitter.emit({"a": 1}.items())
    emitter.close()
    assert emitter.errors == 0


# "a..b" is no host name at all, which the resolver tells in another way than a name without an address.
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
def test_a_host_that_has_no_address_is_counted_at_each_try_and_logged_once(
    host: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def offline(name: str, *rest: object) -> object:
        if name == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with caplog.at_level(logging.WARNING):
        emitter = StatsDEmitter(host, 8125)
        emitter.emit({"a": 1}.items())
        emitter.emit({"a": 1}.items())
    assert emitter.errors == 3
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"stats cannot be sent to StatsD at {host}:8125: ")


def test_a_host_is_resolved_anew_after_a_failure(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def nowhere(*_: object) -> object:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    emitter = StatsDEmitter("localhost", server.getsockname()[1])
    assert emitter.errors == 1
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    emitter.emit({"a": 1}.items())
    assert packets(server, 1) == ["a:1|g"]
    assert emitter.errors == 1
    emitter.close()


def test_after_a_packet_that_cannot_be_sent_the_host_is_resolved_anew(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, resolved = socket.getaddrinfo, []

    def noted(*asked: object) -> object:
        resolved.append(asked[0])
        return resolve(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    emitter = StatsDEmitter("127.0.0.1", server.getsockname()[1])
    # No datagram takes a name of this length.
    emitter.emit({"x" * 70_000: 1, "b": 1}.items())
    assert (emitter.errors, len(resolved)) == (1, 1)
    emitter.emit({"c": 1}.items())
    emitter.emit({"d": 1}.items())
    assert packets(server, 2) == ["c:1|g", "d:1|g"]
    assert (emitter.errors, len(resolved)) == (1, 2)
    emitter.close()


def test_ipv6_is_taken_where_there_is_nothing_else() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        listener.settimeout(PATIENCE)
        emitter = StatsDEmitter("::1", listener.getsockname()[1])
        emitter.emit({"a": 1}.items())
        assert packets(listener, 1) == ["a:1|g"]
        emitter.close()
