"""Loads on a limiter that cost little themselves: gRPC calls and HTTP checks, one by one with so many in flight."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final, cast

from envoy.service.ratelimit.v3 import rls_pb2
from grpc_load import IN_FLIGHT, PATIENCE, Tally, body, head

KEYS: Final = 1_000

HEAD: Final = head("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit")


def message(domain: str, key: str, value: str) -> bytes:
    """A question with gRPC's prefix."""
    asked = rls_pb2.RateLimitRequest(domain=domain, hits_addend=1)
    asked.descriptors.add().entries.add(key=key, value=value)
    return body(asked)


class HttpLoad(asyncio.Protocol):
    """Checks on one connection, one after the other."""

    def __init__(self, tally: Tally, requests: list[bytes], done: asyncio.Future[None]) -> None:
        """Send `requests` in turns."""
        self._tally = tally
        self._requests = requests
        self._done = done
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if self._tally.take(1) and self._transport is not None:
            self._transport.write(self._requests[self._tally.asked % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        """One more is answered: its answer is smaller than any read."""
        self._tally.answered += data.endswith(b"\r\n\r\n") or b"}" in data[-2:]
        if self._tally.answered >= self._tally.total and not self._done.done():
            self._done.set_result(None)
        self._ask()


def checks() -> list[bytes]:
    """Heads as a gateway sends them."""
    return [
        b"GET /check HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 198.51.%d.%d\r\nX-Forwarded-Method: GET\r\n"
        b"X-Forwarded-Uri: /api/things/%d\r\nX-Forwarded-Host: api.example.org\r\nUser-Agent: load\r\n"
        b"Accept: */*\r\n\r\n" % (n // 256, n % 256, n)
        for n in range(KEYS)
    ]


async def http_seconds(port: int, total: int) -> float:
    """The seconds that so many checks take over 64 connections."""
    loop = asyncio.get_running_loop()
    tally, done, requests = Tally(total), loop.create_future(), checks()
    opened = [
        await loop.create_connection(lambda: HttpLoad(tally, requests, done), "127.0.0.1", port)
        for _ in range(IN_FLIGHT)
    ]
    began = perf_counter()
    await asyncio.wait_for(done, PATIENCE)
    took = perf_counter() - began
    for transport, _ in opened:
        transport.close()
    return took
