"""One client's HTTP/2 connection without its socket: bytes in, whole calls out; answers in, bytes out.

Theory of operation. A server of calls needs little of HTTP/2: heads, bodies, both sides' windows, and time for
what else a client may send. A stream is remembered from its head until its answer is out, and so many may be open
at a time; a client that resets them early does not have more. What the bodies of unfinished calls hold is bounded by
the connection's window, which grows again only when a call is whole. Frames that bring no call nearer (pings,
settings, resets) are counted against those that do, and a client that sends little else is told to calm down.

A call that bears many messages is told of when it begins. Its messages are given out as they are whole, and its window
grows as they are taken, so that a client never sends more ahead than the server has room for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from carbonquota.web.grpc import frames
from carbonquota.web.grpc.frames import ErrorCode, FrameType, Http2Error, Setting
from carbonquota.web.grpc.heads import MOST_HEAD, HeadReader
from carbonquota.web.grpc.replies import PREFIX, GrpcStatus, MessageError, failure
from carbonquota.web.grpc.streams import Bounds, Stream, too_long

_MOST_NOISE: Final = 2_000
"""Frames that bring no call nearer, beyond `_NOISE_PER_CALL` for each that came."""
_NOISE_PER_CALL: Final = 10
_SMALL: Final = 64
"""Bytes below which a piece of a body that is not the last is more frame than data."""


@dataclass(slots=True)
class _Block:
    """A head of which more is to come."""

    stream: int
    since: float
    ends_stream: bool
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Waiting:
    """An answer that its client has no room for yet."""

    stream: int
    body: memoryview
    tail: bytes


class Http2Connection:
    """The state of a connection. Not safe to use from two threads at once."""

    def __init__(self, on_call: Callable[[int, Stream], None], bounds: Bounds | None = None) -> None:
        """`on_call` is called with each whole call, while its bytes are fed, and may answer at once.

        With one that bears many messages it is called when that begins.
        """
        self._on_call = on_call
        self._bounds = bounds = bounds or Bounds()
        self._heads = HeadReader()
        self._rest = b""
        self._has_preface = False
        self._block: _Block | None = None
        self.streams: dict[int, Stream] = {}
        self._last = 0
        self._received = 0
        self._unfinished = 0
        self._send_window = frames.DEFAULT_WINDOW
        self._stream_window = frames.DEFAULT_WINDOW
        self._waiting: deque[_Waiting] = deque()
        self._noise = 0
        self.middle_since: float | None = None
        """Since when more bytes must come for a frame or head that has begun; None where nothing has."""
        settings = {
            Setting.MAX_CONCURRENT_STREAMS: bounds.streams,
            Setting.INITIAL_WINDOW_SIZE: bounds.message + PREFIX.size,
            Setting.MAX_HEADER_LIST_SIZE: MOST_HEAD,
        }
        first = frames.window_update(0, bounds.window - frames.DEFAULT_WINDOW)
        self._out: list[bytes] = [frames.settings_frame(settings), first]

    def oldest_unfinished(self) -> float | None:
        """When the oldest call began whose client has not sent all of it, or takes no answer; None without one."""
        waiting = {one.stream for one in self._waiting}
        begun = [one.since for number, one in self.streams.items() if one.is_waited_for() or number in waiting]
        return min(begun, default=None)

    def take_output(self) -> bytes:
        """What is to be sent since the last time."""
        out, self._out = self._out, []
        return b"".join(out)

    def feed(self, data: bytes, now: float) -> None:
        """Take in what came at `now`; Http2Error where the connection is to end."""
        data = self._rest + data if self._rest else data
        at = 0 if self._has_preface else self._preface(data)
        end, before = len(data), at
        while end - at >= frames.HEADER_SIZE and self._has_preface:
            length, kind, flags, stream = frames.read_header(data, at)
            if length > frames.MOST_FRAME:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a frame is longer than agreed")
            start = at + frames.HEADER_SIZE
            if end - start < length:
                break
            at = start + length
            self._take(kind, flags, stream, data[start:at], now)
        self._rest = data[at:]
        self._note_middle(now, has_moved=at > before)

    def _note_middle(self, now: float, *, has_moved: bool) -> None:
        if self._block is not None:
            self.middle_since = self._block.since
        elif not self._rest and self._has_preface:
            self.middle_since = None
        elif self.middle_since is None or has_moved:
            self.middle_since = now

    def answer(self, stream: int, head: bytes, body: bytes, tail: bytes) -> None:
        """Answer a call by the payloads of its head, message and trailer; where it is gone, nothing happens."""
        state = self.streams.get(stream)
        if state is None or state.is_reset:
            self.streams.pop(stream, None)
            return
        flags = frames.END_HEADERS if tail else frames.END_HEADERS | frames.END_STREAM
        self._out.append(frames.frame(FrameType.HEADERS, flags, stream, head))
        if not tail:
            self._close(stream)
        elif len(body) <= min(self._send_window, self._stream_window + state.window, frames.MOST_FRAME):
            self._send_window -= len(body)
            self._out.append(frames.frame(FrameType.DATA, 0, stream, body))
            self._end(stream, tail)
        else:
            self._waiting.append(_Waiting(stream, memoryview(body), tail))
            self._send_waiting()

    def refuse_more(self) -> None:
        """Tell the client to send no more calls here."""
        self._out.append(frames.goaway(self._last, ErrorCode.NO_ERROR))

    def fault(self, fault: Http2Error) -> None:
        """Tell the client why the connection ends."""
        self._out.append(frames.goaway(self._last, fault.code, fault.why))

    def _preface(self, data: bytes) -> int:
        if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2: ask for gRPC without TLS")
        self._has_preface = len(data) >= len(frames.PREFACE)
        return len(frames.PREFACE) if self._has_preface else 0

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        if self._block is not None and (kind != FrameType.CONTINUATION or stream != self._block.stream):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a head is not followed by the rest of it")
        if kind == FrameType.HEADERS:
            self._take_headers(flags, stream, payload, now)
        elif kind == FrameType.DATA:
            self._take_data(flags, stream, payload, now)
        elif kind == FrameType.CONTINUATION:
            self._take_continuation(flags, stream, payload, now)
        else:
            self._make_noise()
            self._take_other(kind, flags, stream, payload)

    def _make_noise(self) -> None:
        self._noise += 1
        if self._noise > _MOST_NOISE:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without a call")

    def _take_headers(self, flags: int, stream: int, payload: bytes, now: float) -> None:
        if not stream & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & (frames.PADDED | frames.PRIORITY):
            payload = frames.without_padding(payload, flags)
        ends = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._begin(stream, payload, now, ends=ends)
        else:
            self._block = _Block(stream, now, ends, [payload], len(payload))

    def _take_continuation(self, flags: int, stream: int, payload: bytes, now: float) -> None:
        block = self._block
        if block is None:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the rest of a head without its beginning")
        self._make_noise()
        block.parts.append(payload)
        block.size += len(payload)
        if block.size > MOST_HEAD:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a head is too long")
        if flags & frames.END_HEADERS:
            self._block = None
            self._begin(stream, b"".join(block.parts), now, ends=block.ends_stream)

    def _begin(self, number: int, block: bytes, now: float, *, ends: bool) -> None:
        """A stream's head, or its trailer."""
        head = self._heads.read(block)
        stream = self.streams.get(number)
        if number > self._last:
            self._last = number
            if len(self.streams) >= self._bounds.streams:
                self._make_noise()
                self._out.append(frames.reset(number, ErrorCode.REFUSED_STREAM))
                return
            stream = self.streams[number] = Stream(head, now)
            if self._bounds.is_streaming(head.path):
                stream.messages = deque()
                self._on_call(number, stream)
        elif stream is None or stream.is_whole:
            self._make_noise()
            return
        if ends:
            self._finish(number, stream)

    def _take_data(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if number > self._last or not number & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "data before its head")
        self._unfinished += len(payload)
        if self._unfinished > self._bounds.window:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than there is room for")
        if flags & frames.PADDED:
            size = len(payload)
            payload = frames.without_padding(payload, frames.PADDED)
            self._give_room(size - len(payload))
        stream = self.streams.get(number)
        if stream is None or stream.is_whole:
            self._make_noise()
            self._give_room(len(payload))
        else:
            self._add_data(number, stream, payload, now, ends=bool(flags & frames.END_STREAM))

    def _add_data(self, number: int, stream: Stream, payload: bytes, now: float, *, ends: bool) -> None:
        if len(payload) < _SMALL and not ends:
            self._make_noise()
        if stream.body:
            stream.more += payload
        else:
            stream.body = payload
        if len(stream.body) + len(stream.more) > self._bounds.message + PREFIX.size:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than a call may have")
        if stream.messages is not None:
            self._give_messages(number, stream, now)
        elif not ends and (length := stream.declared()) > self._bounds.message:
            # Its client would wait for room that never comes.
            parts = failure(GrpcStatus.RESOURCE_EXHAUSTED, too_long(length, self._bounds.message))
            self.answer(number, *parts)
            return
        if ends and number in self.streams:
            self._finish(number, stream)

    def _give_messages(self, number: int, stream: Stream, now: float) -> None:
        try:
            stream.split(self._bounds.message, now)
        except MessageError as error:
            self.answer(number, *failure(GrpcStatus.RESOURCE_EXHAUSTED, str(error)))
            stream.is_reset = True
        if stream.wake is not None:
            stream.wake()

    def took(self, number: int, size: int) -> None:
        """A message of `size` bytes was taken of a call with many: its client may send as much again."""
        stream = self.streams.get(number)
        if stream is not None:
            self._give_room(size + PREFIX.size)
            if not stream.is_whole:
                self._out.append(frames.window_update(number, size + PREFIX.size))

    def drop_all(self) -> None:
        """The connection is lost: whoever waits for messages is told."""
        for stream in self.streams.values():
            stream.is_reset = True
            if stream.wake is not None:
                stream.wake()

    def _finish(self, number: int, stream: Stream) -> None:
        """All of a call is there."""
        if stream.more:
            stream.body += bytes(stream.more)
        stream.is_whole = True
        self._noise = max(self._noise - _NOISE_PER_CALL, 0)
        if stream.messages is not None:
            if stream.wake is not None:
                stream.wake()
            return
        self._give_room(len(stream.body))
        if stream.is_reset:
            self.streams.pop(number, None)
            return
        self._on_call(number, stream)

    def _give_room(self, size: int) -> None:
        """So many bytes are no longer unfinished; the client is told of them now and then."""
        self._received += size
        if self._received >= self._bounds.window // 4:
            self._unfinished -= self._received
            self._out.append(frames.window_update(0, self._received))
            self._received = 0

    def _take_other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == FrameType.SETTINGS:
            self._take_settings(flags, payload)
        elif kind == FrameType.PING:
            if len(payload) != 8:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a PING of a wrong length")
            if not flags & frames.ACK:
                self._out.append(frames.frame(FrameType.PING, frames.ACK, 0, payload))
        elif kind == FrameType.WINDOW_UPDATE:
            self._take_window(stream, frames.read_word(payload) & frames.MOST_WINDOW)
        elif kind == FrameType.RST_STREAM:
            frames.read_word(payload)
            self._take_reset(stream)
        elif kind == FrameType.PUSH_PROMISE:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client promises nothing")

    def _take_reset(self, number: int) -> None:
        """A client gave a call up; one that is being decided keeps its place until it is."""
        if number > self._last:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the end of a stream before its beginning")
        stream = self.streams.get(number)
        if stream is None:
            return
        self._waiting = deque(one for one in self._waiting if one.stream != number)
        if not stream.is_whole or stream.messages is not None:
            self._give_room(stream.held())
            del self.streams[number]
        stream.is_reset = True
        if stream.wake is not None:
            stream.wake()

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for key, value in frames.read_settings(payload):
            if key == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MOST_WINDOW:
                    raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
                self._stream_window = value
        self._out.append(frames.frame(FrameType.SETTINGS, frames.ACK, 0))
        self._send_waiting()

    def _take_window(self, number: int, more: int) -> None:
        if not more:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        if number:
            stream = self.streams.get(number)
            if stream is not None:
                stream.window += more
        else:
            self._send_window += more
            if self._send_window > frames.MOST_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send of the answers that wait what there is room for."""
        left: deque[_Waiting] = deque()
        for one in self._waiting:
            state = self.streams[one.stream]
            while one.body:
                room = min(self._send_window, self._stream_window + state.window, frames.MOST_FRAME)
                if room <= 0:
                    break
                part, one.body = one.body[:room], one.body[room:]
                self._send_window -= len(part)
                state.window -= len(part)
                self._out.append(frames.frame(FrameType.DATA, 0, one.stream, bytes(part)))
            if one.body:
                left.append(one)
            else:
                self._end(one.stream, one.tail)
        self._waiting = left

    def _end(self, stream: int, tail: bytes) -> None:
        flags = frames.END_HEADERS | frames.END_STREAM
        self._out.append(frames.frame(FrameType.HEADERS, flags, stream, tail))
        self._close(stream)

    def _close(self, number: int) -> None:
        """A call is answered; one of which not all has come is not read any further."""
        stream = self.streams.pop(number)
        if not stream.is_whole or stream.messages:
            self._give_room(stream.held())
            self._out.append(frames.reset(number, ErrorCode.NO_ERROR))
