"""HTTP on a thread and an event loop of its own, so that no request, however slow, ever holds up the traffic.

Theory of operation. The sockets are opened by whoever starts the server, on its loop, so that an address that is taken
is an error for it to tell. All else happens on the server's thread: connections are accepted one at a time, and each
is a task. They are bounded in number by the limit of open files, of which they leave most to senders, the state, the
spool and the store. Where there are as many as may be, the one that has waited longest without a whole request goes,
so that nobody keeps others out by doing nothing; where all are being answered, or no more files may be open, accepting
pauses.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic
from typing import Final

from starlette.types import ASGIApp

from carbonquota.errors import QuotaError
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.listening import ListenPlace, bound_address, open_sockets
from carbonquota.service.values.address import Address
from carbonquota.web.connection import HttpConnection
from carbonquota.web.reserve import Reserve
from carbonquota.web.wire import HttpTimeouts, Wire

_log = logging.getLogger(__name__)

_LEAST: Final = 8
_HEAD: Final = 65_536
"""Bytes that a request's line and headers may have: 4,096 characters of a metric's name, escaped, fit."""
_PAUSE: Final = 0.1
"""Seconds until it is tried again to accept, where no more connections can be."""
_LAST_WORDS: Final = 0.2
"""Seconds that requests have to be answered with 503 after they were cancelled."""
_OPENING: Final = 10.0
"""Seconds that the thread has to begin."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a program serves: `setting` is where its address comes from, `program` what the log calls it.

    `tls` encrypts. `most` connections are taken at a time, where a `share`-th of the files that may be open is as many.
    `prepare` is called beside the first requests, for what shall not be made by one of them.
    """

    setting: str = "[carbonserver] listen"
    program: str = "daemon"
    tls: ssl.SSLContext | None = None
    most: int = 128
    share: int = 8
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    prepare: Callable[[], None] | None = None


@dataclass(slots=True)
class _Run:
    """What there is while the server runs: its loop, and the connections with their tasks."""

    loop: asyncio.AbstractEventLoop
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    timeouts: float = 0.0
    clients: dict[asyncio.Task[None], HttpConnection] = field(default_factory=dict)

    def longest_waiting(self) -> asyncio.Task[None] | None:
        """Whose connection has waited longest for a request; None where all are being answered."""
        waiting = [(client.waiting_since, task) for task, client in self.clients.items()]
        found = [(since, task) for since, task in waiting if since is not None]
        return min(found, key=lambda one: one[0])[1] if found else None

    async def finish(self) -> None:
        """Let requests end in time, tell the others that they were cancelled, and leave nothing open."""
        for client in list(self.clients.values()):
            client.end()
        if tasks := list(self.clients):
            await asyncio.wait(tasks, timeout=self.timeouts)
        for task in (left := list(self.clients)):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_LAST_WORDS)
        for client in list(self.clients.values()):
            client.abort()


class HttpServer:
    """Serves an application at an address until it is stopped. It leaves signals alone and logs through `logging`."""

    def __init__(
        self,
        app: ASGIApp,
        address: Address,
        *,
        timeouts: HttpTimeouts | None = None,
        options: ServerOptions | None = None,
    ) -> None:
        """Serve `app`; host "" is all interfaces, port 0 any free one. `timeouts` is for clients."""
        self._options = options or ServerOptions()
        self._most = _most_connections(self._options)
        self._application = Reserve(app, max(self._most * 3 // 4, 1))
        self._wanted = address
        self._address = address
        self._timeouts = timeouts or HttpTimeouts()
        self._notices = BoundedLog(_log, monotonic)
        self._begun = Event()
        self._run: _Run | None = None
        self._thread: Thread | None = None

    @property
    def address(self) -> Address:
        """Where it listens, once it is started; the host is as it was given."""
        return self._address

    async def start(self) -> None:
        """Open the sockets and serve; QuotaError says what to do where the address cannot be had."""
        sockets = await open_sockets(ListenPlace(self._options.setting, self._wanted, socket.SOCK_STREAM))
        self._address = Address(self._wanted.host, bound_address(sockets[0]).port)
        self._thread = Thread(target=self._serve, args=(sockets,), name="http", daemon=True)
        self._thread.start()
        if not await asyncio.to_thread(self._begun.wait, _OPENING) or self._run is None:
            raise QuotaError(f"{self._options.setting}: cannot serve HTTP at {self._address}: the log tells why")

    async def stop(self, timeouts: float) -> None:
        """Take no more requests, finish those that have begun, and end within `timeouts` seconds in any case."""
        if self._thread is None:
            return
        if (run := self._run) is not None:
            run.timeouts = max(timeouts - 1, 0)
            with suppress(RuntimeError):
                run.loop.call_soon_threadsafe(run.ending.set)
        await asyncio.to_thread(self._thread.join, timeouts)
        if self._thread.is_alive():
            _log.warning("HTTP: a request takes longer than %g seconds and is left alone", timeouts)
        self._thread = None

    def _serve(self, sockets: list[socket.socket]) -> None:
        """The thread."""
        try:
            with asyncio.Runner(loop_factory=self._options.new_loop) as runner:
                runner.run(self._live(sockets))
        except Exception:  # noqa: BLE001 - the edge of a thread
            _log.exception("HTTP has ended by a bug; the %s goes on without it", self._options.program)
        finally:
            self._begun.set()
            for one in sockets:
                one.close()

    async def _live(self, sockets: list[socket.socket]) -> None:
        """Accept until it is to end, then finish."""
        run = self._run = _Run(asyncio.get_running_loop())
        accepting = [asyncio.create_task(self._accept(run, one)) for one in sockets]
        ending = asyncio.create_task(run.ending.wait())
        self._begun.set()
        if self._options.prepare is not None:
            preparing = run.loop.run_in_executor(None, self._options.prepare)
            preparing.add_done_callback(_note_failure)
        ended, _ = await asyncio.wait((*accepting, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in (*accepting, ending):
            task.cancel()
        await asyncio.gather(*accepting, ending, return_exceptions=True)
        for one in sockets:
            one.close()
        await run.finish()
        for task in ended:
            task.result()

    async def _accept(self, run: _Run, listener: socket.socket) -> None:
        """Accept one connection after the other."""
        while True:
            if len(run.clients) >= self._most and run.longest_waiting() is None:
                self._notices.warning("full", "HTTP: all %d connections are being answered; others wait", self._most)
                await asyncio.sleep(_PAUSE)
                continue
            try:
                accepted, _ = await run.loop.sock_accept(listener)
                await self._begin(run, accepted)
            except ConnectionError:
                continue
            except OSError as error:
                reason = error.strerror or str(error)
                self._notices.warning("accept", "HTTP: no connection can be accepted (%s): trying again", reason)
                await asyncio.sleep(_PAUSE)

    async def _begin(self, run: _Run, accepted: socket.socket) -> None:
        """Serve a client, in the place of the one that has waited longest where there are too many."""
        if len(run.clients) >= self._most and (oldest := run.longest_waiting()) is not None:
            run.clients.pop(oldest).abort()
        connecting = run.loop.create_task(self._connect(run.loop, accepted))
        connecting.add_done_callback(lambda done: accepted.close() if done.cancelled() else None)
        client = HttpConnection(self._application, connecting)
        task = asyncio.create_task(client.serve())
        run.clients[task] = client
        task.add_done_callback(lambda done: run.clients.pop(done, None))
        # A handshake may take its client's time; without one this is a turn or two of the loop.
        await asyncio.wait((connecting,), timeout=0 if self._options.tls else None)

    async def _connect(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> Wire | None:
        """What speaks HTTP with a client; None where it does not get that far, such as one that speaks no TLS."""
        tls = self._options.tls
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=tls, ssl_handshake_timeout=self._timeouts.head if tls else None
            )
        except OSError:
            accepted.close()
            return None
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return Wire(reader, writer, self._timeouts, _HEAD)


def _most_connections(options: ServerOptions) -> int:
    """How many connections the limit of open files allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    allowed = options.most if limit == resource.RLIM_INFINITY else limit // options.share
    return min(max(allowed, _LEAST), options.most)


def _note_failure(preparing: asyncio.Future[None]) -> None:
    """What was not prepared is made by the first request, which tells what is wrong."""
    if not preparing.cancelled() and (error := preparing.exception()) is not None:
        _log.debug("pages were not prepared: %s", error)
