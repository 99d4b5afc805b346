"""The HTTP/2 side of the gRPC face: calls in any cuts, windows that fill, clients that break the protocol."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.web.grpc import frames
from carbonquota.web.grpc.connection import Http2Connection
from carbonquota.web.grpc.frames import FrameType, Http2Error, frame
from carbonquota.web.grpc.replies import GrpcStatus, failure, success
from carbonquota.web.grpc.streams import Bounds, Stream

HEAD = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/s/m"),
    (":authority", "limiter"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
BEGIN = frames.PREFACE + frames.settings_frame({})
END, ENDS_HEAD = frames.END_STREAM, frames.END_HEADERS


def head(number: int, encoder: Encoder | None = None, flags: int = ENDS_HEAD, more: str = "") -> bytes:
    fields = [*HEAD, ("x-request-id", more)] if more else HEAD
    return frame(FrameType.HEADERS, flags, number, (encoder or Encoder()).encode(fields))


def call(number: int, body: bytes = b"question", encoder: Encoder | None = None, more: str = "") -> bytes:
    return head(number, encoder, more=more) + frame(FrameType.DATA, END, number, body)


class Server:
    """A connection that answers each call at once with its own body, and what it sent as frames."""

    def __init__(self, answer: Callable[[bytes], bytes] = bytes) -> None:
        self.calls: list[tuple[int, bytes, bytes]] = []
        self.out = b""
        self.answer = answer
        self.connection = Http2Connection(self.on_call)
        self.connection.feed(BEGIN, 0.0)

    def on_call(self, number: int, stream: Stream) -> None:
        self.calls.append((number, stream.head.path, stream.body))
        self.connection.answer(number, *success(self.answer(stream.body)))

    def sent(self) -> Iterator[tuple[FrameType, int, int, bytes]]:
        """All frames that it has sent."""
        self.out += self.connection.take_output()
        at = 0
        while at < len(self.out):
            length, kind, flags, stream = frames.read_header(self.out, at)
            yield FrameType(kind), flags, stream, self.out[at + 9 : at + 9 + length]
            at += 9 + length

    def answers(self) -> dict[int, bytes]:
        """The data of each stream that was answered to its end."""
        data: dict[int, bytes] = {}
        done = set()
        for kind, flags, stream, payload in self.sent():
            if kind is FrameType.DATA:
                data[stream] = data.get(stream, b"") + payload
            if kind is FrameType.HEADERS and flags & END:
                done.add(stream)
        return {stream: body[5:] for stream, body in data.items() if stream in done}


@given(st.data())
def test_calls_cut_anywhere_are_the_same_calls(data: st.DataObject) -> None:
    encoder = Encoder()
    bodies = data.draw(st.lists(st.binary(max_size=60), min_size=1, max_size=6))
    ids = data.draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=len(bodies), max_size=len(bodies)))
    stream = b"".join(
        call(2 * n + 1, body, encoder, more) for n, (body, more) in enumerate(zip(bodies, ids, strict=True))
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    server = Server()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        server.connection.feed(stream[start:end], 0.0)
    assert [body for _, _, body in server.calls] == bodies
    assert {path for _, path, _ in server.calls} == {b"/s/m"}
    assert list(server.answers()) == [2 * n + 1 for n in range(len(bodies))]
    assert server.connection.streams == {}
    assert server.connection.middle_since is None


def test_a_head_in_pieces_with_padding_and_priority_is_read() -> None:
    block = Encoder().encode(HEAD)
    flags = frames.PADDED | frames.PRIORITY
    first = bytes([3]) + bytes(5) + block[:7] + bytes(3)
    server = Server()
    server.connection.feed(frame(FrameType.HEADERS, flags, 1, first), 0.0)
    server.connection.feed(frame(FrameType.CONTINUATION, 0, 1, block[7:9]), 0.0)
    server.connection.feed(frame(FrameType.CONTINUATION, ENDS_HEAD, 1, block[9:]), 0.0)
    server.connection.feed(frame(FrameType.DATA, END | frames.PADDED, 1, b"\x02q" + bytes(2)), 0.0)
    assert server.calls == [(1, b"/s/m", b"q")]


def test_an_answer_waits_for_room_and_goes_in_order() -> None:
    server = Server(lambda _: b"x" * 50_000)
    server.connection.feed(frames.settings_frame({frames.Setting.INITIAL_WINDOW_SIZE: 20_000}), 0.0)
    server.connection.feed(call(1), 1.0)
    assert server.answers() == {}
    assert server.connection.oldest_unfinished() == 1.0
    for _ in range(4):
        server.connection.feed(frames.window_update(1, 10_000), 0.0)
    assert server.connection.oldest_unfinished() is None
    server.connection.feed(call(3) + frames.window_update(3, 60_000), 0.0)
    assert list(server.answers()) == [1]
    server.connection.feed(frames.window_update(0, 100_000), 0.0)
    assert server.answers() == {1: b"x" * 50_000, 3: b"x" * 50_000}


def test_a_call_that_is_reset_is_not_answered() -> None:
    server = Server()
    server.connection.feed(head(1) + frames.reset(1, frames.ErrorCode.CANCEL), 0.0)
    assert server.connection.streams == {}
    later = Http2Connection(lambda *_: None)
    later.feed(BEGIN + call(1) + frames.reset(1, frames.ErrorCode.CANCEL), 0.0)
    assert list(later.streams) == [1]
    later.take_output()
    later.answer(1, *success(b""))
    assert later.take_output() == b""
    assert later.streams == {}


def test_no_more_streams_are_open_than_agreed_even_by_a_client_that_resets_them() -> None:
    asked = []
    connection = Http2Connection(lambda number, _: asked.append(number))
    connection.feed(BEGIN, 0.0)
    for n in range(Bounds().streams + 500):
        connection.feed(call(2 * n + 1) + frames.reset(2 * n + 1, frames.ErrorCode.CANCEL), 0.0)
    assert len(asked) == len(connection.streams) == Bounds().streams


def test_the_window_grows_again_as_calls_are_answered() -> None:
    server = Server(lambda _: b"")
    encoder = Encoder()
    for n in range(30):
        stream = 2 * n + 1
        pieces = [frame(FrameType.DATA, 0, stream, bytes(16_384))] * 15
        server.connection.feed(head(stream, encoder) + b"".join(pieces) + frame(FrameType.DATA, END, stream), 0.0)
    updates = (payload for kind, _, to, payload in server.sent() if kind is FrameType.WINDOW_UPDATE and to == 0)
    assert len(server.calls) == 30
    assert sum(struct.unpack(">I", payload)[0] for payload in updates) >= 29 * 15 * 16_384


def hostile() -> Iterator[tuple[str, bytes]]:
    yield "too much padding", frame(FrameType.DATA, frames.PADDED, 1, b"\xff")
    yield "a frame is longer than agreed", b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"
    yield "an even stream", head(2)
    yield "data before its head", frame(FrameType.DATA, 0, 1, b"x")
    yield "reset before its beginning", frames.reset(1, frames.ErrorCode.CANCEL)
    yield "no continuation", head(1, flags=0) + frame(FrameType.PING, 0, 0, bytes(8))
    yield "a continuation of nothing", frame(FrameType.CONTINUATION, ENDS_HEAD, 1)
    yield "an endless head", head(1, flags=0) + frame(FrameType.CONTINUATION, 0, 1, b"\x00" * 16_000) * 4
    yield "empty continuations", head(1, flags=0) + frame(FrameType.CONTINUATION, 0, 1) * 3000
    yield "rubbish for a head", frame(FrameType.HEADERS, ENDS_HEAD, 1, b"\xff\xff\xff\xff\xff\xff")
    yield "a cut setting", frame(FrameType.SETTINGS, 0, 0, b"123")
    yield "a huge window", frames.settings_frame({frames.Setting.INITIAL_WINDOW_SIZE: 2**31})
    yield "a window of nothing", frames.window_update(0, 0)
    yield "a window past its end", frames.window_update(0, 2**31 - 1)
    yield "a short ping", frame(FrameType.PING, 0, 0, b"1")
    yield "pings without end", frame(FrameType.PING, 0, 0, bytes(8)) * 3000
    yield "settings without end", frames.settings_frame({}) * 3000
    yield "unknown frames without end", b"\x00\x00\x00\x77\x00\x00\x00\x00\x00" * 3000
    yield (
        "resets without end",
        b"".join(head(2 * n + 1) + frames.reset(2 * n + 1, frames.ErrorCode.CANCEL) for n in range(3000)),
    )
    yield "empty data without end", head(1) + frame(FrameType.DATA, 0, 1) * 3000
    yield "a body in crumbs", head(1) + frame(FrameType.DATA, 0, 1, b"x") * 3000
    yield (
        "more than a call may have",
        head(1) + frame(FrameType.DATA, 0, 1, bytes(16_384)) * (Bounds().message // 16_384 + 2),
    )
    yield "a promise", frame(FrameType.PUSH_PROMISE, 0, 1, bytes(4))


@pytest.mark.parametrize(("name", "sent"), [pytest.param(name, sent, id=name) for name, sent in hostile()])
def test_a_client_that_breaks_the_protocol_is_cut_off(name: str, sent: bytes) -> None:
    server = Server()
    with pytest.raises(Http2Error) as fault:
        server.connection.feed(sent, 0.0)
    assert fault.value.why


def test_more_unfinished_data_than_room_is_refused() -> None:
    server = Server()
    sent = b"".join(head(n) + frame(FrameType.DATA, 0, n, bytes(16_384)) * 10 for n in range(1, 21, 2))
    with pytest.raises(Http2Error, match="more data than there is room for"):
        server.connection.feed(sent, 0.0)


def test_http_1_is_told_that_this_is_http_2() -> None:
    with pytest.raises(Http2Error, match="this is not HTTP/2"):
        Http2Connection(lambda *_: None).feed(b"GET / HTTP/1.1\r\n\r\n", 0.0)


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_bytes_end_in_calls_or_a_fault(parts: list[bytes]) -> None:
    server = Server()
    try:
        for part in parts:
            server.connection.feed(part, 0.0)
    except Http2Error as fault:
        server.connection.fault(fault)
    assert isinstance(server.connection.take_output(), bytes)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=20)), max_size=30)
)
def test_any_frames_end_in_calls_or_a_fault(sent: list[tuple[int, int, int, bytes]]) -> None:
    server = Server()
    try:
        for kind, flags, stream, payload in sent:
            server.connection.feed(struct.pack(">HBBBI", 0, len(payload), kind, flags, stream) + payload, 0.0)
    except Http2Error as fault:
        assert fault.why  # noqa: PT017 - most of them are


def test_a_drip_of_bytes_is_in_the_middle_of_something() -> None:
    server = Server()
    server.connection.feed(call(1)[:5], 1.0)
    server.connection.feed(call(1)[5:9], 2.0)
    assert server.connection.middle_since == 1.0
    server.connection.feed(call(1)[9:], 3.0)
    assert server.connection.middle_since is None


class StreamServer(Server):
    """A connection whose calls bear many messages, each taken as it comes; the answer is how many there were."""

    def __init__(self) -> None:
        self.calls = []
        self.taken: dict[int, list[bytes]] = {}
        self.out = b""
        self.connection = Http2Connection(self.on_call, Bounds(message=1_000, window=70_000, is_streaming=bool))
        self.connection.feed(BEGIN, 0.0)

    def on_call(self, number: int, stream: Stream) -> None:
        self.taken[number] = []
        stream.wake = lambda: self.take(number, stream)

    def take(self, number: int, stream: Stream) -> None:
        while stream.messages:
            message = stream.messages.popleft()
            self.taken[number].append(message)
            self.connection.took(number, len(message))
        if stream.is_whole:
            self.connection.answer(number, *success(b"%d" % len(self.taken[number])))


def prefixed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


@given(st.data())
def test_messages_of_a_call_cut_anywhere_are_the_same_messages(data: st.DataObject) -> None:
    messages = data.draw(st.lists(st.binary(max_size=300), max_size=8))
    body = b"".join(map(prefixed, messages))
    at = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[start:end] for start, end in zip([0, *at], [*at, len(body)], strict=True)]
    sent = head(1) + b"".join(frame(FrameType.DATA, 0, 1, piece) for piece in pieces) + frame(FrameType.DATA, END, 1)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    server = StreamServer()
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        server.connection.feed(sent[start:end], 0.0)
    assert server.taken == {1: messages}
    assert server.answers() == {1: b"%d" % len(messages)}
    assert server.connection.streams == {}


def test_the_window_of_a_call_with_many_messages_grows_as_they_are_taken() -> None:
    server = StreamServer()
    server.connection.feed(head(1), 0.0)
    for _ in range(500):
        server.connection.feed(frame(FrameType.DATA, 0, 1, prefixed(bytes(900))), 0.0)
    sent = list(server.sent())
    for stream in (0, 1):
        room = sum(frames.read_word(payload) for kind, _, to, payload in sent
                   if kind is FrameType.WINDOW_UPDATE and to == stream)  # fmt: skip
        assert room >= 500 * 905 - 70_000
    assert len(server.taken[1]) == 500
    # Between two messages it may rest; in the middle of one it may not.
    assert server.connection.oldest_unfinished() is None
    server.connection.feed(frame(FrameType.DATA, 0, 1, prefixed(bytes(900))[:70]), 3.0)
    assert server.connection.oldest_unfinished() is not None


@pytest.mark.parametrize("make", [Server, StreamServer], ids=["one", "many"])
def test_a_message_that_is_too_long_is_refused_by_its_prefix(make: Callable[[], Server]) -> None:
    server = make()
    begun = struct.pack(">BI", 0, 300_000) + bytes(100)
    server.connection.feed(head(1) + frame(FrameType.DATA, 0, 1, begun), 0.0)
    ended = [(kind, payload) for kind, _, stream, payload in server.sent() if stream == 1]
    assert [kind for kind, _ in ended] == [FrameType.HEADERS, FrameType.RST_STREAM]
    most = "1,000" if isinstance(server, StreamServer) else "262,144"
    assert f"a message of 300,000 bytes is too long: at most {most} are taken".encode() in ended[0][1]
    assert server.connection.streams == {}
    # What was on its way is passed over.
    server.connection.feed(frame(FrameType.DATA, END, 1, bytes(100)), 0.0)


def test_whoever_reads_messages_hears_that_the_call_was_given_up() -> None:
    server = StreamServer()
    woken = []
    server.connection.feed(head(1), 0.0)
    stream = server.connection.streams[1]
    stream.wake = lambda: woken.append(stream.is_reset)
    server.connection.feed(frames.reset(1, frames.ErrorCode.CANCEL), 0.0)
    assert woken == [True]
    assert server.connection.streams == {}


def test_a_long_complaint_is_sent_whole() -> None:
    why = "there is no customer called 'ä' " * 5
    block = failure(GrpcStatus.NOT_FOUND, why).head
    assert dict(Decoder().decode(block, raw=True))[b"grpc-message"] == quote(why, safe=" '").encode()
