"""The gRPC face's sockets: each read is fed to a connection, and what it answers goes out in one write."""

from __future__ import annotations

import asyncio
from typing import cast

from carbonquota.limiter.faces.grpc.calls import Calls, Parts
from carbonquota.limiter.faces.grpc.connection import Http2Connection, Stream
from carbonquota.limiter.faces.grpc.frames import Http2Error
from carbonquota.limiter.faces.listener import Listener


class GrpcProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, calls: Calls, patience: float, listener: Listener) -> None:
        """Answer by `calls`. For a frame, a call, or taking its answer, a client may take `patience` seconds."""
        self._patience = patience
        self._calls = calls
        self._listener = listener
        self._connection = Http2Connection(self._on_call)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_feeding = False
        self._is_ending = False
        self._paused_since: float | None = None
        self._heard = self._loop.time()
        self._no_preface_since: float | None = self._heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with our settings."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._listener.came(self):
            self.abort()
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """It is gone, with what was asked."""
        self._transport = None
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
        parts = self._calls.answer(stream, lambda parts: self._answer_later(number, parts))
        if parts is not None:
            self._connection.answer(number, *parts)

    def _answer_later(self, number: int, parts: Parts) -> None:
        self._connection.answer(number, *parts)
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
        return any(since is not None and now - since > self._patience for since in begun)

    def end(self) -> None:
        """Take no more calls, and close when the last is answered."""
        self._is_ending = True
        self._connection.refuse_more()
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
