"""Envoy's messages (envoy.service.ratelimit.v3) read into our values, and answers written as theirs."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Any, Final

from envoy.service.ratelimit.v3 import rls_pb2
from google.protobuf.message import DecodeError

from carbonquota.limiter.faces.headers import HeaderStyle, answer_headers
from carbonquota.limiter.model import UNLIMITED, Answer, Descriptor, Limit, Request, Unit
from carbonquota.web.grpc.replies import MessageError

_UNITS: Final = {
    Unit.SECOND: 1,
    Unit.MINUTE: 2,
    Unit.HOUR: 3,
    Unit.DAY: 4,
    Unit.MONTH: 5,
    Unit.YEAR: 6,
    Unit.WEEK: 7,
}
_UNITS_BY_NUMBER: Final = {number: unit for unit, number in _UNITS.items()}

_MOST_REMEMBERED: Final = 8_192
_LONGEST_REMEMBERED: Final = 512
MOST_DESCRIPTORS: Final = 256


class Messages:
    """Reads questions and writes answers. A question of the same bytes is read once while it is remembered."""

    def __init__(self, style: HeaderStyle | None = None) -> None:
        self._style = style or HeaderStyle()
        self._known: OrderedDict[bytes, Request] = OrderedDict()

    def read(self, raw: bytes) -> Request:
        """The question of a message; MessageError says what is wrong with it."""
        known = self._known.get(raw)
        if known is not None:
            return known
        try:
            question = read_request(rls_pb2.RateLimitRequest.FromString(raw))
        except (DecodeError, UnicodeDecodeError):
            raise MessageError("the message is no RateLimitRequest") from None
        if len(raw) <= _LONGEST_REMEMBERED:
            self._known[bytes(raw)] = question
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return question

    def write(self, answer: Answer) -> bytes:
        """The message of an answer."""
        return bytes(write_answer(answer, self._style).SerializeToString())


def read_request(message: Any) -> Request:  # noqa: ANN401 - the messages come without types
    """The question of a RateLimitRequest; MessageError where it asks nothing."""
    if not message.domain:
        raise MessageError("the domain must not be empty")
    if not message.descriptors:
        raise MessageError("the list of descriptors must not be empty")
    if len(message.descriptors) > MOST_DESCRIPTORS:
        raise MessageError(f"there are more than {MOST_DESCRIPTORS} descriptors")
    descriptors = tuple(_read_descriptor(one) for one in message.descriptors)
    return Request(message.domain, descriptors, message.hits_addend or 1)


def _read_descriptor(message: Any) -> Descriptor:  # noqa: ANN401
    entries = tuple((entry.key, entry.value) for entry in message.entries)
    if not entries:
        raise MessageError("a descriptor has no entries")
    hits = message.hits_addend.value if message.HasField("hits_addend") else None
    if not message.HasField("limit"):
        return Descriptor(entries, hits)
    unit = _UNITS_BY_NUMBER.get(message.limit.unit)
    if unit is None:
        raise MessageError("a descriptor's own limit has no unit that there is")
    return Descriptor(entries, hits, Limit(message.limit.requests_per_unit, unit))


def write_answer(answer: Answer, style: HeaderStyle) -> Any:  # noqa: ANN401
    """The RateLimitResponse of an answer."""
    message = rls_pb2.RateLimitResponse(overall_code=answer.code.value)
    for status in answer.statuses:
        written = message.statuses.add(code=status.code.value)
        limit = status.limit
        if limit is None:
            continue
        current = written.current_limit
        current.requests_per_unit = min(limit.requests, UNLIMITED)
        current.unit = _UNITS[limit.unit]
        if limit.name:
            current.name = limit.name
        written.limit_remaining = min(max(status.remaining, 0), UNLIMITED)
        written.duration_until_reset.seconds = ceil(status.reset)
    for key, value in answer_headers(answer, style):
        message.response_headers_to_add.add(key=key, value=value)
    return message
