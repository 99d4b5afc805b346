"""A connection of the HTTP face: answers in order, whoever is asked first; and patience with slow clients that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from carbonquota.limiter.faces.checker import FaceStats
from carbonquota.limiter.faces.http.protocol import HttpFace, HttpProtocol
from carbonquota.limiter.faces.http.replies import HttpRequest, Reply, RequestBounds
from carbonquota.web.listener import Listener


class Transport(asyncio.Transport):
    """Keeps what is written, and notes whether anything is read."""

    def __init__(self) -> None:
        super().__init__({"peername": ("198.51.100.1", 1)})
        self.written = b""
        self.is_read = True
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


class Bench:
    """A connection whose requests wait until they are told to be answered."""

    def __init__(self, pipelined: int = 4) -> None:
        self.asked: list[asyncio.Future[Reply]] = []
        stats = FaceStats()
        face = HttpFace(self.handle, frozenset(), stats, RequestBounds(pipelined=pipelined, patience=5.0))
        self.transport = Transport()
        self.protocol = HttpProtocol(face, Listener("HTTP", lambda _: self.protocol, stats, 10))
        self.protocol.connection_made(self.transport)

    def handle(self, request: HttpRequest) -> Awaitable[Reply]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]

    def send(self, *paths: str, end: str = "\r\n") -> None:
        self.protocol.data_received("".join(f"GET /{path} HTTP/1.1\r\nHost: x\r\n{end}" for path in paths).encode())

    async def answer(self, *numbers: int) -> None:
        for number in numbers:
            self.asked[number].set_result(Reply(200, [("x-number", str(number))]))
        await asyncio.sleep(0.01)

    def reads(self) -> bool:
        """Whether it reads on."""
        return self.transport.is_read

    @property
    def answered(self) -> list[int]:
        return [int(part.split(b"\r\n")[0]) for part in self.transport.written.split(b"x-number: ")[1:]]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_pipelined_requests_are_answered_in_their_order_and_only_so_many_are_taken() -> None:
    async def test() -> None:
        bench = Bench()
        bench.send("a", "b", "c", "d")
        assert not bench.reads()
        await bench.answer(2, 1)
        assert bench.answered == []
        await bench.answer(0)
        assert bench.answered == [0, 1, 2]
        assert bench.reads()
        await bench.answer(3)
        assert bench.answered == [0, 1, 2, 3]

    run(test)


def test_a_client_that_takes_no_answers_is_not_read_from_and_cut_off_in_the_end() -> None:
    async def test() -> None:
        bench = Bench()
        bench.send("a", "b", "c", "d")
        bench.protocol.pause_writing()
        await bench.answer(0, 1, 2, 3)
        assert not bench.reads()
        now = asyncio.get_running_loop().time()
        assert not bench.protocol.is_stalled(now + 4.0)
        assert bench.protocol.is_stalled(now + 6.0)
        bench.protocol.resume_writing()
        assert bench.reads()
        assert not bench.protocol.is_stalled(now + 6.0)

    run(test)


def test_a_request_that_does_not_end_is_cut_off_and_one_that_waits_for_its_answer_is_not() -> None:
    async def test() -> None:
        bench = Bench()
        now = asyncio.get_running_loop().time()
        bench.send("a", end="")
        assert bench.protocol.is_stalled(now + 6.0)
        bench.protocol.data_received(b"\r\n")
        assert not bench.protocol.is_stalled(now + 600.0)
        await bench.answer(0)
        assert not bench.protocol.is_stalled(now + 60.0)
        assert bench.protocol.is_stalled(now + 600.0)

    run(test)


def test_an_upgrade_is_answered_as_any_request_and_the_connection_closed() -> None:
    async def test() -> None:
        bench = Bench()
        bench.send("a", end="Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await bench.answer(0)
        assert bench.answered == [0]
        assert bench.transport.is_closed

    run(test)


def test_a_bug_costs_one_request() -> None:
    async def test() -> None:
        bench = Bench()
        bench.send("a", "b")
        bench.asked[0].set_exception(ZeroDivisionError())
        await bench.answer(1)
        assert bench.transport.written.startswith(b"HTTP/1.1 500 ")
        assert bench.answered == [1]

    run(test)
