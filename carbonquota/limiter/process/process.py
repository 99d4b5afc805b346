"""The life of a limiter process: faces opened when all is ready, drained and closed at a signal.

Theory of operation. One event loop answers the faces; where counters are in this process, each request is decided on
it at once. The rules are read on another thread, and the administration has a thread and a loop of its own. At SIGTERM
the health checks of the faces fail first, for as long as `drain` says, so that who balances load goes elsewhere; then
no new connection is taken, what was asked is answered, and the process ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import signal
import socket
import time
from functools import partial
from typing import Final

from carbonquota.limiter.faces.http.protocol import HttpFace, HttpProtocol
from carbonquota.limiter.faces.http.replies import RequestBounds
from carbonquota.limiter.process.admin import make_admin
from carbonquota.limiter.process.parts import LimiterParts, own_version
from carbonquota.limiter.process.settings import LimiterSettings
from carbonquota.service.listening import ListenPlace, bound_address, open_sockets
from carbonquota.service.loop_tasks import LoopTasks
from carbonquota.service.process_end import EndSignals, raise_file_limit
from carbonquota.service.systemd import Systemd
from carbonquota.service.values.address import Address
from carbonquota.web.grpc.protocol import GrpcProtocol
from carbonquota.web.grpc.streams import Bounds
from carbonquota.web.listener import Listener
from carbonquota.web.make_access import make_access
from carbonquota.web.server import HttpServer, ServerOptions
from carbonquota.web.tls import LOOK, TlsFiles

try:
    from uvloop import new_event_loop
except ImportError:  # it is not to be had everywhere
    from asyncio import new_event_loop  # type: ignore[assignment]

_log = logging.getLogger(__name__)

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_GRACE: Final = 5.0
"""Seconds that what was asked has to be answered, once the limiter ends."""
_BEAT: Final = 0.25
_SWITCHES: Final = 1.0
"""Seconds between two looks at what other limiters deny and dim."""


def run(settings: LimiterSettings) -> int:
    """Serve until told to end; the exit code. QuotaError where it cannot start."""
    raise_file_limit()
    gc.enable()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(LimiterProcess(LimiterParts(settings)).run())
    # What stands outside of Python's memory goes before Python does.
    gc.unfreeze()
    gc.collect()
    _log.info("ended")
    return 0


class LimiterProcess:
    """One limiter, used on one event loop's thread."""

    def __init__(self, parts: LimiterParts) -> None:
        """Nothing is opened before `run`."""
        self._parts = parts
        self._settings = parts.settings
        self._tasks = LoopTasks()
        self._signals = EndSignals()
        self._ending = self._signals.ending
        self._systemd = Systemd(os.environ, time.monotonic)
        self._listeners: list[Listener] = []
        self._admin: HttpServer | None = None
        self._version = parts.rulebook.version()
        self._beat_due = 0.0
        self._next_beat: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Open, serve until a signal, and close."""
        _log.info("carbonquota limiter %s, Python %s", own_version(), platform.python_version())
        loop = asyncio.get_running_loop()
        self._signals.listen()
        loop.add_signal_handler(signal.SIGHUP, partial(self._reload_soon, "SIGHUP"))
        try:
            await self._open()
            await self._ending.wait()
            await self._drain()
        finally:
            await self._close()

    async def _open(self) -> None:
        settings = self._settings
        self._beat_due = asyncio.get_running_loop().time()
        self._beat()
        if settings.admin.enabled:
            tls = TlsFiles(settings.access)
            self._tasks.repeat("tls", lambda: LOOK, partial(asyncio.to_thread, tls.refresh))
            options = ServerOptions(setting="[admin] listen", program="limiter", tls=tls.context())
            access = make_access(settings.access)
            self._parts.tokens = access.file
            self._admin = HttpServer(make_admin(self._parts, access), settings.admin.listen, options=options)
            await self._admin.start()
            _log.info("listening for administration on %s", self._admin.address)
            if not settings.access.needs_tokens and settings.admin.listen.host not in _LOOPBACK:
                _log.warning(
                    "[admin] listens at %s, and nobody needs a token: whoever reaches it may deny clients and change "
                    "limits: set tokens-file in [access]",
                    settings.admin.listen,
                )
        await self._open_faces()
        if settings.limiter.watch_frequency:
            self._tasks.repeat("watch", lambda: settings.limiter.watch_frequency, self._watch)
        if self._parts.follower is not None:
            self._parts.follower.start()
        if (switches := self._parts.switches) is not None:
            # Who is denied is so from the first request on.
            await asyncio.to_thread(switches.step)
            self._tasks.repeat("switches", lambda: _SWITCHES, partial(asyncio.to_thread, switches.step))
        gc.collect()
        gc.freeze()
        self._parts.status.waits_for = ()
        self._systemd.ready()
        rules = len(self._parts.limiter.rules.rules())
        where = "in the store" if settings.store.url else "in this process"
        how = ", all of them as shadows: nobody is refused" if settings.limiter.shadow else ""
        _log.info("ready: %d %s in force, counted %s%s", rules, "limit" if rules == 1 else "limits", where, how)

    async def _open_faces(self) -> None:
        settings, parts = self._settings, self._parts
        if settings.grpc.enabled:
            listener = Listener(
                "gRPC",
                partial(GrpcProtocol, parts.calls, settings.limiter.client_timeout, Bounds()),
                parts.faces["grpc"],
                settings.grpc.max_connections,
            )
            await self._listen(listener, "gRPC", "[grpc] listen", settings.grpc.listen)
        if settings.http.enabled:
            bounds = RequestBounds(patience=settings.limiter.client_timeout)
            own = parts.handlers
            face = HttpFace(
                own.handle,
                own.wanted,
                parts.faces["http"],
                bounds,
                handle_again=own.handle_again,
                remember=own.remember,
            )
            listener = Listener("HTTP", partial(HttpProtocol, face), parts.faces["http"], settings.http.max_connections)
            await self._listen(listener, "HTTP", "[http] listen", settings.http.listen)

    async def _listen(self, listener: Listener, name: str, setting: str, address: Address) -> None:
        sockets = await open_sockets(ListenPlace(setting, address, socket.SOCK_STREAM))
        await listener.start(sockets)
        self._listeners.append(listener)
        _log.info("listening for %s on %s", name, Address(address.host, bound_address(sockets[0]).port))

    def _beat(self) -> None:
        """Note that the loop turns, and tell systemd."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._parts.status.turned(now - self._beat_due)
        self._beat_due = now + _BEAT
        self._systemd.alive()
        self._next_beat = loop.call_later(_BEAT, self._beat)

    async def _watch(self) -> None:
        """Reload where the files of rules have changed."""
        version = await asyncio.to_thread(self._parts.rulebook.version)
        if version != self._version:
            await self._reload("the files have changed")

    def _reload_soon(self, reason: str) -> None:
        self._tasks.run_once("reload", partial(self._reload, reason))

    async def _reload(self, reason: str) -> None:
        self._version = await asyncio.to_thread(self._parts.rulebook.version)
        await asyncio.to_thread(self._parts.rulebook.reload, reason)
        if reason == "SIGHUP":
            await asyncio.to_thread(self._parts.reload_keys)
            # What was found out by keys that are gone; on this thread, which finds out, so that none of it comes after.
            self._parts.handlers.known.clear()

    async def _drain(self) -> None:
        """Be found not ready for a while, and serve on."""
        self._parts.status.waits_for = ("the limiter is ending",)
        self._systemd.stopping()
        if self._settings.limiter.drain:
            _log.info("serving on for %g s, for load balancers to notice", self._settings.limiter.drain)
            await asyncio.sleep(self._settings.limiter.drain)

    async def _close(self) -> None:
        await asyncio.gather(*(listener.stop(_GRACE) for listener in self._listeners))
        await self._tasks.stop()
        if self._parts.follower is not None:
            self._parts.follower.stop()
        if self._admin is not None:
            await self._admin.stop(2.0)
        if self._next_beat is not None:
            self._next_beat.cancel()
        if self._parts.switches is not None:
            self._parts.switches.close()
        self._parts.limiter.close()
