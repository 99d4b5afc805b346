"""A load of gRPC calls that costs little itself: one by one, with so many in flight, over some connections."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from time import perf_counter
from typing import Final, cast

from google.protobuf.message import Message

from carbonquota.web.grpc import frames
from carbonquota.web.grpc.frames import FrameType

IN_FLIGHT: Final = 64
PATIENCE: Final = 60.0


def literal(name: bytes, value: bytes) -> bytes:
    """A field of HPACK that goes into no table, so that each call's head is the same bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path: str) -> bytes:
    """The head of a call."""
    return (
        b"\x83\x86"
        + literal(b":path", path.encode())
        + literal(b":authority", b"127.0.0.1")
        + literal(b"content-type", b"application/grpc")
        + literal(b"te", b"trailers")
    )


def body(message: Message) -> bytes:
    """A message with gRPC's prefix."""
    raw = message.SerializeToString()
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

    def __init__(
        self, tally: Tally, bodies: list[bytes], in_flight: int, done: asyncio.Future[None], head: bytes
    ) -> None:
        """Ask `bodies` in turns, each behind the head of its call."""
        self._head = head
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
            parts.append(frames.frame(FrameType.HEADERS, frames.END_HEADERS, self._stream, self._head))
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


async def grpc_seconds(port: int, total: int, bodies: list[bytes], head: bytes, connections: int = 1) -> float:
    """The seconds that so many calls take, with 64 in flight over so many connections."""
    loop = asyncio.get_running_loop()
    tally, done = Tally(total), loop.create_future()
    began = perf_counter()
    each = IN_FLIGHT // connections
    opened = [
        await loop.create_connection(lambda: GrpcLoad(tally, bodies, each, done, head), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.wait_for(done, PATIENCE)
    took = perf_counter() - began
    for transport, _ in opened:
        transport.close()
    return took
