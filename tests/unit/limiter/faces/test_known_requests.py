"""A request that is known again by its bytes or its fields is answered as if it had been read: each is charged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from carbonquota.limiter.faces.checker import FaceStats
from carbonquota.limiter.faces.http.handlers import Handlers
from carbonquota.limiter.faces.http.protocol import HttpFace, HttpProtocol
from carbonquota.limiter.identity.address import ClientAddress, read_networks
from carbonquota.limiter.identity.heads import RequestHeadReader
from carbonquota.limiter.identity.resolve import IdentityPolicy, IdentityResolver, Verify
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.web.listener import Listener

RULES = """
domain: gateway
descriptors:
  - key: client
    rate_limit: {unit: year, requests_per_unit: 5}
"""
ASK = b"GET /check HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\n%b\r\n"
PLAIN = ASK % b""


class Peer(asyncio.Transport):
    """Who asks, from an address of its own, over a connection of its own."""

    def __init__(self, handlers: Handlers, address: str = "127.0.0.1") -> None:
        super().__init__({"peername": (address, 1)})
        self.answers = b""
        self.is_closed = False
        face = HttpFace(
            handlers.handle,
            handlers.wanted,
            handlers.stats,
            handle_again=handlers.handle_again,
            remember=handlers.remember,
        )
        self.protocol = HttpProtocol(face, Listener("HTTP", lambda _: self.protocol, handlers.stats, 10))
        self.protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def ask(self, *pieces: bytes) -> list[int]:
        """Send these pieces, one read each; the statuses that come back."""
        self.answers = b""
        for piece in pieces:
            self.protocol.data_received(piece)
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", self.answers)]


def make(verify: Verify | None = None) -> Handlers:
    addresses = ClientAddress(read_networks(["127.0.0.1"]))
    identity = IdentityResolver(IdentityPolicy(descriptors=(("client",),)), addresses, verify=verify)
    return Handlers(Limiter(DomainRules.from_text(RULES, "d")), identity, RequestHeadReader(addresses), FaceStats())


def on_a_loop(test: Callable[[], None]) -> None:
    async def main() -> None:
        test()

    asyncio.run(main())


@pytest.mark.parametrize(
    "again",
    [
        [PLAIN],
        [ASK % b"X-Request-Id: 1\r\n"],
        [PLAIN[:40], PLAIN[40:]],
        [b"\r\n" + PLAIN],
        [b"HEAD" + PLAIN[3:]],
    ],
    ids=["the same", "a field that nobody looks at", "in pieces", "behind an empty line", "another method"],
)
def test_each_request_is_charged_however_it_comes(again: list[bytes]) -> None:
    def test() -> None:
        peer = Peer(make())
        assert [peer.ask(*again)[0] for _ in range(2)] == [200, 200]
        assert peer.ask(PLAIN + PLAIN) == [200, 200]
        assert [peer.ask(PLAIN)[0], peer.ask(*again)[0], peer.ask(PLAIN)[0]] == [200, 429, 429]
        assert peer.ask(PLAIN + PLAIN) == [429, 429]

    on_a_loop(test)


def test_the_same_bytes_from_elsewhere_are_another_client() -> None:
    def test() -> None:
        handlers = make()
        gateway, stranger = Peer(handlers), Peer(handlers, "203.0.113.9")
        assert [gateway.ask(PLAIN)[0] for _ in range(6)] == [200] * 5 + [429]
        assert [stranger.ask(PLAIN)[0] for _ in range(6)] == [200] * 5 + [429]

    on_a_loop(test)


def test_a_token_is_looked_at_each_time() -> None:
    def test() -> None:
        genuine = [{"sub": "ada"}] * 6
        peer = Peer(make(lambda _: genuine.pop() if genuine else None))
        bearing = ASK % b"Authorization: Bearer t\r\n"
        assert [peer.ask(bearing)[0] for _ in range(6)] == [200] * 5 + [429]
        # It has ended: from here on it is the address that counts.
        assert [peer.ask(bearing)[0] for _ in range(6)] == [200] * 5 + [429]

    on_a_loop(test)


def test_head_has_no_body_and_a_connection_that_shall_close_is_closed_also_when_asked_again() -> None:
    def test() -> None:
        handlers = make()
        peer = Peer(handlers)
        head = PLAIN.replace(b"GET", b"HEAD")
        assert [peer.ask(head)[0] for _ in range(7)] == [200] * 5 + [429] * 2
        assert peer.answers.endswith(b"\r\n\r\n")
        for _ in range(2):
            last = Peer(handlers)
            assert last.ask(ASK % b"Connection: close\r\n") == [429]
            assert last.is_closed

    on_a_loop(test)


def test_what_was_known_is_forgotten_when_keys_change() -> None:
    def test() -> None:
        handlers = make()
        peer = Peer(handlers)
        peer.ask(PLAIN)
        peer.ask(PLAIN)
        assert handlers.handle_again(PLAIN, "127.0.0.1") is not None
        handlers.known.clear()
        assert handlers.handle_again(PLAIN, "127.0.0.1") is None

    on_a_loop(test)
