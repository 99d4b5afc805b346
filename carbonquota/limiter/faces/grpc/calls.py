"""The calls of the service: what a whole call asks, and the bytes of its answer.

Beside Envoy's `ShouldRateLimit` there is gRPC's own health check, which load balancers ask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, perf_counter
from typing import Final

from carbonquota.limiter.faces.checker import Checker, FaceStats
from carbonquota.limiter.faces.grpc.messages import Messages
from carbonquota.limiter.model import Answer
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.web.grpc.protocol import Call
from carbonquota.web.grpc.replies import NOT_GRPC, GrpcStatus, MessageError, Parts, failure, message_of, success

_log = logging.getLogger(__name__)

SERVICE: Final = b"/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
HEALTH: Final = b"/grpc.health.v1.Health/Check"

_SERVING: Final = {True: b"\x08\x01", False: b"\x08\x02"}


@dataclass(slots=True)
class LimiterCalls:
    """Answers calls on the event loop's thread. `is_serving` is for the health check."""

    limiter: Checker
    messages: Messages
    stats: FaceStats
    is_serving: Callable[[], bool] = lambda: True
    notices: BoundedLog = field(default_factory=lambda: BoundedLog(_log, monotonic))

    def answer(self, call: Call) -> Parts | None:
        """The answer to a whole call; None where a store is asked first, and `call.answer` is called with it."""
        head = call.stream.head
        if not head.is_grpc:
            return NOT_GRPC
        try:
            message = message_of(call.stream.body, is_plain=head.is_plain)
            if head.path == SERVICE:
                return self._check(message, call.answer)
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
            answer = self.limiter.check_soon(question, partial(self._finish, began, later))
            if answer is None:
                self.stats.waiting += 1
                return None
        except Exception as error:  # noqa: BLE001 - the edge: a bug costs one call
            return self._bug(error)
        self.stats.note(answer, perf_counter() - began)
        return success(self.messages.write(answer))

    def _finish(self, began: float, later: Callable[[Parts], None], answer: Answer | Exception) -> None:
        self.stats.waiting -= 1
        if isinstance(answer, Exception):
            later(self._bug(answer))
            return
        self.stats.note(answer, perf_counter() - began)
        later(success(self.messages.write(answer)))

    def _bug(self, error: BaseException) -> Parts:
        self.stats.faults["bug"] += 1
        self.notices.warning("bug", "a gRPC call failed by a bug: %r", error)
        return failure(GrpcStatus.INTERNAL, "a bug; the limiter's log has more")
