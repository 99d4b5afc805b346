"""A connection of the HTTP face: requests taken apart by httptools, and answered in their order.

Theory of operation. A request whose answer is known at once is answered while its bytes are read, and all answers of
one read go out in one write. Where a store is asked first, the answer takes its place in a queue, so that pipelined
requests are answered in order; a client with too many of them is not read from until some are answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, cast

import httptools

from carbonquota.limiter.faces.checker import FaceStats
from carbonquota.limiter.faces.http.replies import Gathered, HttpRequest, Reply, RequestBounds, problem, written
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.web.listener import Listener

_log = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class HttpFace:
    """What all connections share: `wanted` are the fields that are gathered, in small letters."""

    handle: Handler
    wanted: frozenset[bytes]
    stats: FaceStats
    bounds: RequestBounds = field(default_factory=RequestBounds)
    notices: BoundedLog = field(default_factory=lambda: BoundedLog(_log, monotonic))
    handle_again: Callable[[bytes, str], Reply | Awaitable[Reply] | None] = lambda _data, _peer: None
    """The reply to a request that is known by its bytes and who asks; None where it has to be read."""
    remember: Callable[[bytes, HttpRequest], object] = lambda _data, _request: None
    """Is told of requests that came in one piece, and keep their connection."""


@dataclass(slots=True)
class _Slot:
    """The place of an answer: its bytes once they are known."""

    keep_alive: bool
    with_body: bool
    written: bytes = b""


class _TooMuchError(Exception):
    """A client sends more than it may; the status says what."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpProtocol(asyncio.Protocol):
    """One connection; also what the parser calls."""

    def __init__(self, face: HttpFace, listener: Listener) -> None:
        """Answer as `face` does."""
        self._face = face
        self._wanted = face.wanted
        self._most_head = face.bounds.head
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._coming: Gathered | None = None
        self._slots: deque[_Slot] = deque()
        self._read: list[HttpRequest] = []
        """The requests that the bytes in hand were the end of."""
        self._is_feeding = False
        self._is_closing = False
        self._is_paused = False
        self._unsent_since: float | None = None
        """Since when the client takes no answers."""
        self._since: float | None = self._loop.time()
        """When what is being waited for began to come; None where nothing is on its way."""
        self._idle: float = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where it comes from."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if isinstance(name, tuple) else ""
        if not self._listener.came(self):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """It is gone; answers to come find nobody."""
        self._transport = None
        self._slots.clear()
        self._listener.went(self)

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are whole with it."""
        if self._is_closing:
            return
        begins = self._coming is None
        if begins and not self._slots and self._answer_known(data):
            return
        self._is_feeding = True
        self._read.clear()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_closing = True
        except (httptools.HttpParserError, _TooMuchError) as error:
            self._refuse(error)
        finally:
            self._is_feeding = False
        self._flush()
        if begins and len(self._read) == 1 and self._coming is None and not self._is_closing:
            self._face.remember(data, self._read[0])

    def _answer_known(self, data: bytes) -> bool:
        """Answer a request that is known by its bytes, past the parser, which is between two of them."""
        slot = _Slot(keep_alive=True, with_body=True)
        try:
            reply = self._face.handle_again(data, self._peer)
        except Exception as error:  # noqa: BLE001 - the edge: a bug costs one request
            reply = self._bug(error)
        if reply is None:
            return False
        self._since = None
        self._slots.append(slot)
        self._fill_with(slot, reply)
        self._flush()
        return True

    def _refuse(self, error: Exception) -> None:
        """Answer what is no request, and read no further."""
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
        self._face.stats.faults["malformed"] += 1
        status = cause.status if isinstance(cause, _TooMuchError) else 400
        self._is_closing = True
        self._slots.append(_Slot(keep_alive=False, with_body=True, written=written(problem(status), keep_alive=False)))

    def on_message_begin(self) -> None:
        """The parser sees a request begin."""
        self._coming = Gathered()
        self._since = self._loop.time()

    def on_url(self, part: bytes) -> None:
        """The parser has a piece of its target."""
        if self._coming is not None:
            self._coming.target.append(part)
            self._coming.head_size += len(part)
            if self._coming.head_size > self._most_head:
                raise _TooMuchError(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser has a field."""
        coming = self._coming
        if coming is not None:
            coming.head_size += len(name) + len(value) + 4
            if coming.head_size > self._most_head:
                raise _TooMuchError(431)
            name = name.lower()
            if name in self._wanted:
                coming.fields.append((name, value))
                if name == b"expect":
                    coming.expects = value

    def on_headers_complete(self) -> None:
        """The parser has the whole head."""
        coming = self._coming
        if coming is None or self._transport is None:
            return
        if coming.expects.lower() == b"100-continue":
            self._transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        """The parser has a piece of the body."""
        if self._coming is not None:
            self._coming.body_size += len(part)
            if self._coming.body_size > self._face.bounds.body:
                raise _TooMuchError(413)
            self._coming.body.append(part)

    def on_message_complete(self) -> None:
        """The parser has a whole request: have it answered."""
        coming, self._coming = self._coming, None
        if coming is None or self._is_closing:
            return
        self._since = None
        method = self._parser.get_method().decode("latin-1")
        target = b"".join(coming.target).decode("latin-1")
        slot = _Slot(self._parser.should_keep_alive(), method != "HEAD")
        self._slots.append(slot)
        self._is_closing = not slot.keep_alive
        request = HttpRequest(method, target, tuple(coming.fields), self._peer, b"".join(coming.body))
        self._read.append(request)
        self._answer(slot, request)

    def _answer(self, slot: _Slot, request: HttpRequest) -> None:
        try:
            reply = self._face.handle(request)
        except Exception as error:  # noqa: BLE001 - the edge: a bug costs one request
            reply = self._bug(error)
        self._fill_with(slot, reply)

    def _fill_with(self, slot: _Slot, reply: Reply | Awaitable[Reply]) -> None:
        if isinstance(reply, Reply):
            self._fill(slot, reply)
        else:
            asyncio.ensure_future(reply).add_done_callback(lambda done: self._fill_later(slot, done))

    def _fill_later(self, slot: _Slot, done: asyncio.Future[Reply]) -> None:
        if done.cancelled():
            self._fill(slot, problem(503, "the limiter is ending"))
        elif (error := done.exception()) is not None:
            self._fill(slot, self._bug(error))
        else:
            self._fill(slot, done.result())
        if not self._is_feeding:
            self._flush()

    def _bug(self, error: BaseException) -> Reply:
        self._face.stats.faults["bug"] += 1
        self._face.notices.warning("bug", "an HTTP request failed by a bug: %r", error)
        return problem(500)

    def _fill(self, slot: _Slot, reply: Reply) -> None:
        slot.written = written(reply, keep_alive=slot.keep_alive, with_body=slot.with_body)

    def _flush(self) -> None:
        """Send what is answered, up to the first that is not."""
        out = []
        while self._slots and self._slots[0].written:
            out.append(self._slots.popleft().written)
        if self._transport is None:
            return
        if out:
            self._idle = self._loop.time()
            self._transport.write(b"".join(out))
        if self._is_closing and not self._slots:
            self._transport.close()
            return
        self._pause()

    def _pause(self) -> None:
        """Read on, or not: not from who has enough in hand, or takes no answers."""
        wanted = len(self._slots) >= self._face.bounds.pipelined or self._unsent_since is not None
        if self._transport is None or wanted == self._is_paused:
            return
        self._is_paused = wanted
        if wanted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The client takes no answers: read no more requests, and have patience only for a while."""
        self._unsent_since = self._loop.time()
        self._pause()

    def resume_writing(self) -> None:
        """It does again."""
        self._unsent_since = None
        self._pause()

    @property
    def idle_since(self) -> float | None:
        """Since when nothing was asked; None while something is."""
        return None if self._slots else self._idle

    def is_stalled(self, now: float) -> bool:
        """Whether a request takes too long to come, its answer to go, or the next to begin."""
        bounds = self._face.bounds
        if self._unsent_since is not None and now - self._unsent_since > bounds.patience:
            return True
        if self._since is not None:
            return now - self._since > bounds.patience
        return not self._slots and now - self._idle > bounds.idle

    def end(self) -> None:
        """Close when all that was asked is answered."""
        self._is_closing = True
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
