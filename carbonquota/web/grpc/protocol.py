"""The sockets of a gRPC server: each read is fed to a connection, and what it answers goes out in one write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol, cast

from carbonquota.web.grpc.connection import Http2Connection
from carbonquota.web.grpc.frames import Http2Error
from carbonquota.web.grpc.replies import Parts
from carbonquota.web.grpc.streams import Bounds, Stream
from carbonquota.web.listener import ConnectionStats, Listener


class CallGoneError(Exception):
    """Whoever called has given up."""


class Call:
    """A call to answer."""

    __slots__ = ("_number", "_protocol", "stream")

    def __init__(self, protocol: GrpcProtocol, number: int, stream: Stream) -> None:
        """The call of a stream of a connection."""
        self._protocol = protocol
        self._number = number
        self.stream = stream

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of whoever calls."""
        return self._protocol.peer

    def answer(self, parts: Parts) -> None:
        """Answer it, once, from the event loop; if it was given up, nothing happens."""
        self._protocol.answer(self._number, parts)

    async def messages(self) -> AsyncIterator[bytes]:
        """Those of a call with many, as they come; CallGoneError where it was given up."""
        stream, more = self.stream, asyncio.Event()
        stream.wake = more.set
        while True:
            while stream.messages:
                message = stream.messages.popleft()
                self._protocol.took(self._number, len(message))
                yield message
            if stream.is_reset:
                raise CallGoneError
            if stream.is_whole:
                return
            more.clear()
            await more.wait()


class Calls(Protocol):
    """What a server does with calls."""

    @property
    def stats(self) -> ConnectionStats:
        """Where the connections are counted."""

    def answer(self, call: Call) -> Parts | None:
        """The answer to a call; None where `call.answer` is called with it later."""


class GrpcProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, calls: Calls, timeout: float, bounds: Bounds, listener: Listener) -> None:
        """Answer by `calls`. For a frame, a call, or taking its answer, a client may take `timeout` seconds."""
        self._timeout = timeout
        self._calls = calls
        self._listener = listener
        self._connection = Http2Connection(self._on_call, bounds)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.peer = ("", 0)
        self._is_feeding = False
        self._is_flushing_soon = False
        self._is_ending = False
        self._paused_since: float | None = None
        self._heard = self._loop.time()
        self._no_preface_since: float | None = self._heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with our settings."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else ("", 0)
        if not self._listener.came(self):
            self.abort()
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """It is gone, with what was asked."""
        self._transport = None
        self._connection.drop_all()
        self._listener.went(self)

    def data_received(self, data: bytes) -> None:
        """Answer all calls that are whole with it."""
        self._heard = self._loop.time()
        self._no_preface_since = None
        self._is_feeding = True
        try:
            self._connection.feed(data, self._heard)
        except Http2Error as fault:
            self._calls.stats.faults["protocol"] += 1
            self._connection.fault(fault)
            self._flush()
            if self._transport is not None:
                self._transport.close()
            return
        finally:
            self._is_feeding = False
        self._flush()

    def _on_call(self, number: int, stream: Stream) -> None:
        parts = self._calls.answer(Call(self, number, stream))
        if parts is not None:
            self._connection.answer(number, *parts)

    def answer(self, number: int, parts: Parts) -> None:
        """Answer the call of a stream."""
        self._connection.answer(number, *parts)
        if not self._is_feeding and not self._is_flushing_soon:
            # Calls that waited for the same thing are answered in the same turn of the loop.
            self._is_flushing_soon = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._is_flushing_soon = False
        self._flush()

    def took(self, number: int, size: int) -> None:
        """A message of a stream was taken."""
        self._connection.took(number, size)
        if not self._is_feeding:
            self._flush()

    def _flush(self) -> None:
        out = self._connection.take_output()
        if self._transport is None:
            return
        if out:
            self._transport.write(out)
        if self._is_ending and not self._connection.streams:
            self._transport.close()

    def pause_writing(self) -> None:
        """The client takes no answers: read no more calls."""
        self._paused_since = self._loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self._paused_since = None
        if self._transport is not None:
            self._transport.resume_reading()

    @property
    def idle_since(self) -> float | None:
        """Since when nothing was asked; None in the middle of something."""
        return None if self._connection.streams or self._connection.middle_since is not None else self._heard

    def is_stalled(self, now: float) -> bool:
        """Whether it takes too long for what it has begun."""
        connection = self._connection
        begun = (connection.oldest_unfinished(), connection.middle_since, self._paused_since, self._no_preface_since)
        return any(since is not None and now - since > self._timeout for since in begun)

    def end(self) -> None:
        """Take no more calls, and close when the last is answered."""
        self._is_ending = True
        self._connection.refuse_more()
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
