"""What is known of one call on its way, and how much of calls a connection may have."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from carbonquota.web.grpc.heads import CallHead
from carbonquota.web.grpc.replies import PREFIX, MessageError


def _nobody(_: bytes) -> bool:
    """No call is a stream of messages."""
    return False


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a connection may have: calls at a time, bytes of a message, and bytes of unfinished calls (more than that).

    `is_streaming` says of a path whether its calls bear messages one after the other.
    """

    streams: int = 1_000
    message: int = 262_144
    window: int = 1_048_576
    is_streaming: Callable[[bytes], bool] = _nobody


@dataclass(slots=True)
class Stream:
    """A call on its way: what came of it, and what its client has room for."""

    head: CallHead
    since: float
    body: bytes = b""
    more: bytearray = field(default_factory=bytearray)
    """What came of the body in later frames, until it is whole."""
    is_whole: bool = False
    is_reset: bool = False
    window: int = 0
    """Beyond what all streams begin with."""
    messages: deque[bytes] | None = None
    """Of a call with many: those that are whole and were not taken yet."""
    wake: Callable[[], None] | None = None
    """Called when there are more of them, and at the end of the call."""

    def declared(self) -> int:
        """The length of the message that has begun, by its prefix; 0 while that is not known."""
        if len(self.body) < PREFIX.size:
            self.body += bytes(self.more)
            self.more.clear()
        return int(PREFIX.unpack_from(self.body)[1]) if len(self.body) >= PREFIX.size else 0

    def held(self) -> int:
        """Bytes that came and are not given back to the connection's window yet."""
        waiting = sum(len(one) + PREFIX.size for one in self.messages or ())
        return len(self.body) + len(self.more) + waiting

    def split(self, most: int, now: float) -> None:
        """Take whole messages out of what came; MessageError where one is longer than `most`, or compressed."""
        if self.messages is None:
            return
        data, at = self.body + bytes(self.more), 0
        while len(data) - at >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(data, at)
            if compressed or not self.head.is_plain:
                raise MessageError("compressed messages are not read here: send them as identity")
            if length > most:
                raise MessageError(too_long(length, most))
            end = at + PREFIX.size + length
            if len(data) < end:
                break
            self.messages.append(data[at + PREFIX.size : end])
            self.since, at = now, end
        self.body = data[at:]
        self.more.clear()

    def is_waited_for(self) -> bool:
        """Whether its client has begun something, and has not sent all of it."""
        return not self.is_whole and (self.messages is None or bool(self.body))


def too_long(length: int, most: int) -> str:
    """What is said of a message that is too long."""
    return f"a message of {length:,} bytes is too long: at most {most:,} are taken"
