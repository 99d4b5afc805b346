"""The calls of the service: what a whole call asks, and the bytes of its answer.

A gRPC call is a head, a message with a prefix of five bytes, and a trailer with a status (gRPC over HTTP/2). Beside
Envoy's `ShouldRateLimit` there is gRPC's own health check, which load balancers ask.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from time import monotonic, perf_counter
from typing import Final, NamedTuple
from urllib.parse import quote

from carbonquota.limiter.faces.checker import Checker, FaceStats
from carbonquota.limiter.faces.eager import begin
from carbonquota.limiter.faces.grpc.connection import Stream
from carbonquota.limiter.faces.grpc.messages import MessageError, Messages
from carbonquota.limiter.model import Answer
from carbonquota.service.bounded_log import BoundedLog

_log = logging.getLogger(__name__)

SERVICE: Final = b"/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
HEALTH: Final = b"/grpc.health.v1.Health/Check"

_PREFIX: Final = struct.Struct(">BI")
_HEAD: Final = b"\x88\x0f\x10\x10application/grpc"
"""HPACK for `:status: 200` and the content type; neither goes into the client's table."""
_STATUS: Final = b"\x00\x0bgrpc-status"
_MESSAGE: Final = b"\x00\x0cgrpc-message"
_OK: Final = _STATUS + b"\x010"
_NOT_GRPC: Final = b"\x08\x03415"
"""HPACK for `:status: 415`."""
_SERVING: Final = {True: b"\x08\x01", False: b"\x08\x02"}
_LONGEST_COMPLAINT: Final = 120


class GrpcStatus(IntEnum):
    """What became of a call that got no answer."""

    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


class Parts(NamedTuple):
    """The payloads of an answer: head, message, trailer; without a message the head is all."""

    head: bytes
    body: bytes = b""
    tail: bytes = b""


def success(message: bytes) -> Parts:
    """The answer that a message is."""
    return Parts(_HEAD, _PREFIX.pack(0, len(message)) + message, _OK)


def failure(status: GrpcStatus, why: str) -> Parts:
    """The answer of a call that failed."""
    text = quote(why[:_LONGEST_COMPLAINT], safe=" '(),.:;").encode()[:126]
    code = str(int(status)).encode()
    return Parts(_HEAD + _STATUS + bytes([len(code)]) + code + _MESSAGE + bytes([len(text)]) + text)


@dataclass(slots=True)
class Calls:
    """Answers calls on the event loop's thread. `is_serving` is for the health check."""

    limiter: Checker
    messages: Messages
    stats: FaceStats
    is_serving: Callable[[], bool] = lambda: True
    notices: BoundedLog = field(default_factory=lambda: BoundedLog(_log, monotonic))

    def answer(self, stream: Stream, later: Callable[[Parts], None]) -> Parts | None:
        """The answer to a whole call; None where a store is asked first, and `later` is called with it."""
        head = stream.head
        if not head.is_grpc:
            return Parts(_NOT_GRPC)
        try:
            message = _message_of(stream)
            if head.path == SERVICE:
                return self._check(message, later)
            if head.path == HEALTH:
                return success(_SERVING[self.is_serving()])
        except MessageError as error:
            self.stats.faults["malformed"] += 1
            return failure(GrpcStatus.INVALID_ARGUMENT, str(error))
        except NotImplementedError as error:
            return failure(GrpcStatus.UNIMPLEMENTED, str(error))
        return failure(GrpcStatus.UNIMPLEMENTED, "there is no such method here")

    def _check(self, raw: bytes, later: Callable[[Parts], None]) -> Parts | None:
        began = perf_counter()
        question = self.messages.read(raw)
        try:
            if self.limiter.is_local:
                answer = self.limiter.check(question)
            else:
                begun = begin(self.limiter.check_async(question))
                if not isinstance(begun, tuple):
                    self.stats.waiting += 1
                    task = asyncio.ensure_future(begun)
                    task.add_done_callback(lambda done: self._finish(done, began, later))
                    return None
                answer = begun[0]
        except Exception as error:  # noqa: BLE001 - the edge: a bug costs one call
            return self._bug(error)
        self.stats.note(answer, perf_counter() - began)
        return success(self.messages.write(answer))

    def _finish(self, done: asyncio.Future[Answer], began: float, later: Callable[[Parts], None]) -> None:
        self.stats.waiting -= 1
        if done.cancelled():
            later(failure(GrpcStatus.INTERNAL, "the limiter is ending"))
        elif (error := done.exception()) is not None:
            later(self._bug(error))
        else:
            self.stats.note(done.result(), perf_counter() - began)
            later(success(self.messages.write(done.result())))

    def _bug(self, error: BaseException) -> Parts:
        self.stats.faults["bug"] += 1
        self.notices.warning("bug", "a gRPC call failed by a bug: %r", error)
        return failure(GrpcStatus.INTERNAL, "a bug; the limiter's log has more")


def _message_of(stream: Stream) -> bytes:
    """The one message of a call; MessageError where it is cut, NotImplementedError where it is compressed."""
    body = stream.body
    if len(body) < _PREFIX.size:
        raise MessageError("the call has no whole message")
    compressed, length = _PREFIX.unpack_from(body)
    if compressed or not stream.head.is_plain:
        raise NotImplementedError("compressed messages are not read here: send them as identity")
    if len(body) != _PREFIX.size + length:
        raise MessageError("the call is not one whole message")
    return body[_PREFIX.size :]
