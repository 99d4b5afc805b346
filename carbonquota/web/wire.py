"""The bytes of one HTTP connection: what h11 makes of them, and how long the client may take for each part.

h11 knows the protocol and does no I/O. asyncio's streams do the I/O, and hold back who writes faster than the other
side reads, so no more than a part of an answer waits here for a client that is slow.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from carbonquota.web.problems import PROBLEM, problem_members

_CHUNK: Final = 65_536
"""Bytes that are read at once, and that may wait to be sent."""
_STATUSES: Final = frozenset(HTTPStatus)


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """How long, in seconds, a client may take: to begin a request, to finish its head, to go on with its body.

    `stall` is for the next part of an answer to be taken, `answer` for all of it. For `farewell` seconds what still
    comes is read behind an error, since closing at once would take the answer back.
    """

    idle: float = 5.0
    head: float = 5.0
    body: float = 5.0
    stall: float = 10.0
    answer: float = 60.0
    farewell: float = 0.5


def response(status: int, headers: Iterable[tuple[bytes, bytes]]) -> h11.Response:
    """The head of an answer."""
    reason = HTTPStatus(status).phrase if status in _STATUSES else ""
    return h11.Response(status_code=status, headers=list(headers), reason=reason.encode())


class Wire:
    """A client's connection as requests and answers."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeouts: HttpTimeouts, most_head: int
    ) -> None:
        """A request's line and headers may have `most_head` bytes."""
        self._reader = reader
        self._writer = writer
        self._timeouts = timeouts
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=most_head)
        self._answer_by = float("inf")
        writer.transport.set_write_buffer_limits(high=_CHUNK)

    async def next_request(self) -> h11.Request | None:
        """The next request, None where the client is done with us, or was refused an answer to what it sent."""
        begun = False
        try:
            async with asyncio.timeout(self._timeouts.idle) as limit:
                while (event := self._protocol.next_event()) is h11.NEED_DATA:
                    chunk = await self._reader.read(_CHUNK)
                    if chunk and not begun:
                        begun = True
                        limit.reschedule(asyncio.get_running_loop().time() + self._timeouts.head)
                    self._protocol.receive_data(chunk)
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, f"this is no HTTP request: {error}")
            return None
        except TimeoutError:
            if begun:
                await self._refuse(408, f"the head of a request must come within {self._timeouts.head:g} seconds")
            return None
        return event if isinstance(event, h11.Request) else None

    def next_cycle(self) -> bool:
        """Be ready for another request; False where one was not read or answered to its end, or none may follow."""
        protocol = self._protocol
        with suppress(h11.RemoteProtocolError):
            while protocol.their_state is h11.SEND_BODY and protocol.next_event() is not h11.NEED_DATA:
                pass
        if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
            return False
        protocol.start_next_cycle()
        self._answer_by = float("inf")
        return True

    async def read_body(self) -> tuple[bytes, bool]:
        """The next part of a request's body, and whether there is more; OSError where it does not come."""
        if self._protocol.they_are_waiting_for_100_continue:
            await self.write(h11.InformationalResponse(status_code=100, headers=[]))
        try:
            async with asyncio.timeout(self._timeouts.body):
                while (event := self._protocol.next_event()) is h11.NEED_DATA:
                    self._protocol.receive_data(await self._reader.read(_CHUNK))
        except h11.RemoteProtocolError as error:
            raise ConnectionResetError(str(error)) from error
        return (bytes(event.data), True) if isinstance(event, h11.Data) else (b"", False)

    async def write(self, *events: h11.Event) -> None:
        """Send parts of an answer, and wait until most of what was sent is taken; OSError where it is not in time."""
        loop = asyncio.get_running_loop()
        if self.is_closing:
            raise ConnectionResetError("the client is gone")
        if isinstance(events[0], h11.Response):
            self._answer_by = loop.time() + self._timeouts.answer
        data = b"".join(self._protocol.send(event) or b"" for event in events)
        if data:
            self._writer.write(data)
            async with asyncio.timeout_at(min(loop.time() + self._timeouts.stall, self._answer_by)):
                await self._writer.drain()

    async def _refuse(self, status: int, detail: str) -> None:
        """Answer what is no request, and be done with the client."""
        body = json.dumps(problem_members(status, detail)).encode()
        headers = [
            (b"content-type", PROBLEM.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        with suppress(OSError):
            await self.write(response(status, headers), h11.Data(data=body), h11.EndOfMessage())
            self._writer.write_eof()
            async with asyncio.timeout(self._timeouts.farewell):
                while await self._reader.read(_CHUNK):
                    pass

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self._writer.get_extra_info("ssl_object") is not None

    def hang_up(self) -> None:
        """Begin to close."""
        self._writer.close()

    async def close(self) -> None:
        """Close, once what was sent is taken."""
        self.hang_up()
        with suppress(OSError):
            async with asyncio.timeout(self._timeouts.stall):
                await self._writer.wait_closed()
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._writer.transport.is_closing()

    def name(self, which: str) -> tuple[str, int] | None:
        """The `peername` or `sockname` of the connection."""
        match self._writer.get_extra_info(which):
            case (str(host), int(port), *_):
                return host, port
            case _:
                return None
