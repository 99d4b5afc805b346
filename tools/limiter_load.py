"""Loads on a limiter that cost little themselves: gRPC calls and HTTP checks, one by one with so many in flight."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from time import perf_counter
from typing import Final, cast

from envoy.service.ratelimit.v3 import rls_pb2

from carbonquota.limiter.faces.grpc import frames
from carbonquota.limiter.faces.grpc.frames import FrameType

IN_FLIGHT: Final = 64
KEYS: Final = 1_000
PATIENCE: Final = 60.0


def literal(name: bytes, value: bytes) -> bytes:
    """A field of HPACK that goes into no table, so that each call's head is the same bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEAD: Final = (
    b"\x83\x86"
    + literal(b":path", b"/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit")
    + literal(b":authority", b"127.0.0.1")
    + literal(b"content-type", b"application/grpc")
    + literal(b"te", b"trailers")
)


def message(domain: str, key: str, value: str) -> bytes:
    """A question with gRPC's prefix."""
    asked = rls_pb2.RateLimitRequest(domain=domain, hits_addend=1)
    asked.descriptors.add().entries.add(key=key, value=value)
    raw = bytes(asked.SerializeToString())
    return struct.pack(">BI", 0, len(raw)) + raw


@dataclass(slots=True)
class Tally:
    """How many requests are to be made, were made, and were answered."""

    total: int
    asked: int = 0
    answered: int = 0

    def take(self, most: int) -> int:
        """How many may be asked now."""
        taken = min(most, self.total - self.asked)
        self.asked += taken
        return taken


class GrpcLoad(asyncio.Protocol):
    """Calls on one connection."""

    def __init__(self, tally: Tally, bodies: list[bytes], in_flight: int, done: asyncio.Future[None]) -> None:
        """Ask `bodies` in turns."""
        self._tally = tally
        self._bodies = bodies
        self._in_flight = in_flight
        self._done = done
        self._stream = 1
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the server all the room there can be, and begin."""
        self._transport = cast("asyncio.Transport", transport)
        settings = frames.settings_frame({frames.Setting.INITIAL_WINDOW_SIZE: frames.MOST_WINDOW})
        room = frames.window_update(0, frames.MOST_WINDOW - frames.DEFAULT_WINDOW)
        self._transport.write(frames.PREFACE + settings + room)
        self._ask(self._in_flight)

    def _ask(self, most: int) -> None:
        parts = []
        for _ in range(self._tally.take(most)):
            body = self._bodies[self._stream // 2 % len(self._bodies)]
            parts.append(frames.frame(FrameType.HEADERS, frames.END_HEADERS, self._stream, HEAD))
            parts.append(frames.frame(FrameType.DATA, frames.END_STREAM, self._stream, body))
            self._stream += 2
        if parts and self._transport is not None:
            self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        """Count ends of streams, and ask as many anew."""
        data = self._rest + data
        at, ended = 0, 0
        while len(data) - at >= frames.HEADER_SIZE:
            length, kind, flags, _ = frames.read_header(data, at)
            if len(data) - at < frames.HEADER_SIZE + length:
                break
            if kind in {FrameType.HEADERS, FrameType.DATA} and flags & frames.END_STREAM:
                ended += 1
            elif kind in {FrameType.SETTINGS, FrameType.PING} and not flags & frames.ACK and self._transport:
                payload = data[at + 9 : at + 9 + length] if kind == FrameType.PING else b""
                self._transport.write(frames.frame(FrameType(kind), frames.ACK, 0, payload))
            at += frames.HEADER_SIZE + length
        self._rest = data[at:]
        self._tally.answered += ended
        if self._tally.answered >= self._tally.total and not self._done.done():
            self._done.set_result(None)
        self._ask(ended)


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


async def grpc_seconds(port: int, total: int, bodies: list[bytes], connections: int = 1) -> float:
    """The seconds that so many calls take, with 64 in flight over so many connections."""
    loop = asyncio.get_running_loop()
    tally, done = Tally(total), loop.create_future()
    began = perf_counter()
    each = IN_FLIGHT // connections
    opened = [
        await loop.create_connection(lambda: GrpcLoad(tally, bodies, each, done), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.wait_for(done, PATIENCE)
    took = perf_counter() - began
    for transport, _ in opened:
        transport.close()
    return took


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
