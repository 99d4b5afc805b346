"""HTTP on a thread and an event loop of its own, so that no request, however slow, ever holds up the traffic.

Theory of operation. The sockets are opened by whoever starts the server, on his loop, so that an address that is taken
is his error to tell. All else happens on the server's thread: uvicorn accepts and parses there, and the application's
endpoints run on its worker threads. Connections are bounded in number, and one that sends no request is closed, so that
nobody can use them up by doing nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from threading import Event, Thread
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from carbonquota.daemon.receivers.listening import Place, bound_address, open_sockets
from carbonquota.daemon.settings import Address
from carbonquota.errors import QuotaError

_log = logging.getLogger(__name__)

SETTING: Final = "[carbonserver] listen"
"""Where the address comes from."""

_CONNECTIONS: Final = 100
"""Past so many connections, requests are answered with 503."""
_HEADER: Final = 65_536
"""Bytes that a request's line and headers may have: 4,096 characters of a metric's name, escaped, fit."""
_IDLE: Final = 5
"""Seconds that a connection may be open without a request."""
_LAST_WORDS: Final = 0.2
"""Seconds that requests have to be answered with 503 after they were cancelled."""
_OPENING: Final = 10.0
"""Seconds that the thread has to begin."""


class HttpServer:
    """Serves an application at an address until it is stopped. It leaves signals alone and logs through `logging`."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        """Serve `app`; host "" is all interfaces, port 0 any free one."""
        self._wanted = address
        self._address = address
        self._server = _Server(_configuration(app))
        self._thread: Thread | None = None

    @property
    def address(self) -> Address:
        """Where it listens, once it is started; the host is as it was given."""
        return self._address

    async def start(self) -> None:
        """Open the sockets and serve; QuotaError says what to do where the address cannot be had."""
        sockets = await open_sockets(Place(SETTING, self._wanted, socket.SOCK_STREAM))
        self._address = Address(self._wanted.host, bound_address(sockets[0]).port)
        self._thread = Thread(target=self._serve, args=(sockets,), name="http", daemon=True)
        self._thread.start()
        if not await asyncio.to_thread(self._server.begun.wait, _OPENING) or not self._server.started:
            raise QuotaError(f"{SETTING}: cannot serve HTTP at {self._address}: the log tells why")

    def _serve(self, sockets: list[socket.socket]) -> None:
        """The thread."""
        try:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self._server.serve(sockets))
        except Exception:  # noqa: BLE001 - the edge of a thread
            _log.exception("HTTP has ended by a bug; the daemon goes on without it")
        finally:
            self._server.begun.set()
            for one in sockets:
                one.close()

    async def stop(self, patience: float) -> None:
        """Take no more requests, finish those that have begun, and end within `patience` seconds in any case."""
        if self._thread is None:
            return
        self._server.end(patience)
        await asyncio.to_thread(self._thread.join, patience)
        if self._thread.is_alive():
            _log.warning("HTTP: a request takes longer than %g seconds and is left alone", patience)
        self._thread = None


class _Server(uvicorn.Server):
    """A server that tells when it has begun, and closes what connections are left when it ends."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        self.begun.set()

    def end(self, patience: float) -> None:
        """Ask it, from any thread, to end; it takes a moment to see that, which is part of the patience."""
        self.config.timeout_graceful_shutdown = int(max(patience - 1, 0))
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish, and leave nothing open."""
        await super().shutdown(sockets)
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_LAST_WORDS)
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol):
                connection.transport.abort()


class _Connection(H11Protocol):
    """A connection that is closed if its first request does not come in time; uvicorn sees to the later ones."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(_IDLE, self._close_if_silent)

    def _close_if_silent(self) -> None:
        cycle: object = self.cycle
        if cycle is None and not self.transport.is_closing():
            self.transport.abort()


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE,
        h11_max_incomplete_event_size=_HEADER,
    )
