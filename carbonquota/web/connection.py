"""One client of the HTTP side: its requests, one after the other, each answered by an ASGI application.

Theory of operation. A connection waits for a request, has the application answer it, and waits for the next. While it
waits it may be closed at any time to make room for another. A body that the application did not ask for is not read:
the connection closes behind the answer.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import h11
from starlette.types import ASGIApp, Message

from carbonquota.web.wire import Wire, response


class HttpConnection:
    """A client's connection, on the server's loop. `waiting_since` is None while a request is answered."""

    def __init__(self, application: ASGIApp, connecting: asyncio.Task[Wire | None]) -> None:
        """Answer by `application`; `connecting` gives the wire, which takes a while with TLS, or None."""
        self._application = application
        self._connecting = connecting
        self._wire: Wire | None = None
        self._is_ending = False
        self.waiting_since: float | None = asyncio.get_running_loop().time()

    async def serve(self) -> None:
        """Answer requests until the client is done, or too slow; leaves nothing open, and raises nothing."""
        try:
            wire = self._wire = await self._connecting
        except asyncio.CancelledError:
            wire = None
        if wire is None:
            self.waiting_since = None
            return
        try:
            while not self._is_ending and (request := await wire.next_request()) is not None:
                self.waiting_since = None
                await _Exchange(wire, request).run(self._application)
                if not wire.next_cycle():
                    break
                self.waiting_since = asyncio.get_running_loop().time()
        except (OSError, h11.ProtocolError):
            wire.abort()
        finally:
            self.waiting_since = None
            await wire.close()

    def end(self) -> None:
        """Take no more requests; one that is being answered is finished."""
        self._is_ending = True
        if self._wire is None:
            self.abort()
        elif self.waiting_since is not None:
            self._wire.hang_up()

    def abort(self) -> None:
        """Close at once."""
        if self._wire is not None:
            self._wire.abort()
        else:
            self._is_ending = True
            self._connecting.cancel()


class _Exchange:
    """One request and its answer, as ASGI has them."""

    def __init__(self, wire: Wire, request: h11.Request) -> None:
        self._wire = wire
        self._request = request
        self._is_read = False
        self._parts: list[h11.Event] = []
        self._ended = asyncio.Event()

    async def run(self, application: ASGIApp) -> None:
        """Have the application answer."""
        try:
            await application(self._scope(), self._receive, self._send)
        finally:
            self._ended.set()

    def _scope(self) -> dict[str, Any]:
        """What ASGI calls a request."""
        raw_path, _, query = self._request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": self._request.http_version.decode("ascii"),
            "method": self._request.method.decode("ascii"),
            "scheme": "https" if self._wire.is_encrypted else "http",
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(self._request.headers),
            "client": self._wire.name("peername"),
            "server": self._wire.name("sockname"),
        }

    async def _receive(self) -> Message:
        """The next part of the body; behind it, that the exchange is over."""
        if self._is_read:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        body, more = await self._wire.read_body()
        self._is_read = not more
        return {"type": "http.request", "body": body, "more_body": more}

    async def _send(self, message: Message) -> None:
        """A part of the answer; its head goes with the first part of its body."""
        if message["type"] == "http.response.start":
            headers = (*message.get("headers", ()), (b"date", formatdate(usegmt=True).encode()))
            self._parts.append(response(message["status"], headers))
            return
        if (body := message.get("body", b"")) and self._request.method != b"HEAD":
            self._parts.append(h11.Data(data=body))
        if not message.get("more_body", False):
            self._ended.set()
            self._parts.append(h11.EndOfMessage())
        parts, self._parts = self._parts, []
        if parts:
            await self._wire.write(*parts)
