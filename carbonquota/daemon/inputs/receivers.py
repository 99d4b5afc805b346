"""All receivers as one: they open together, watch over their connections, and close so that little is cut off."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from asyncio import AbstractServer
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from carbonquota.daemon.inputs.connections import ConnectionPool
from carbonquota.daemon.inputs.declaration import Input, InputSettings, registered
from carbonquota.daemon.intake import Intake
from carbonquota.service.health import HealthSample
from carbonquota.service.listening import BACKLOG, ListenPlace, bound_address, open_sockets
from carbonquota.service.values.address import Address

_log = logging.getLogger(__name__)

_OTHER_FILES: Final = 256
"""Files that the rest of the daemon may need: connections leave room for as many."""

_ACCEPTED_AT_ONCE: Final = 16
"""Connections accepted in one turn of the loop. asyncio takes the backlog for that, and where no more files may be open
logs as many errors a second."""

_TURNS_TO_ACCEPT: Final = 4
"""Turns of the loop from a connection that waits to its being served."""

_QUIET: Final = 0.05
"""Seconds without a byte from any sender after which what they had sent is taken to have been read."""


@dataclass(frozen=True, slots=True)
class InputTimeouts:
    """How long, in seconds, a sender may take to go on with what it has begun, and how often that is looked at."""

    unfinished: float = 120.0
    look: float = 10.0


class Receivers:
    """The listeners of all inputs, with their connections.

    Used on the event loop's thread; `health` from any.
    """

    def __init__(
        self, settings: Mapping[str, InputSettings], intake: Intake, timeouts: InputTimeouts | None = None
    ) -> None:
        """Open nothing yet; `settings` are those of the inputs by section."""
        self._settings = settings
        self._intake = intake
        self._timeouts = timeouts or InputTimeouts()
        self._pool = ConnectionPool(_most_connections())
        self._servers: list[AbstractServer] = []
        self._datagrams: list[asyncio.BaseTransport] = []
        self._addresses: dict[str, list[Address]] = {}
        self._watch: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> dict[str, list[Address]]:
        """What the receivers that run, `tcp`, `udp` and `pickle`, are bound to."""
        return self._addresses

    async def start(self) -> None:
        """Open all enabled listeners; QuotaError, with none left open, where one cannot be."""
        # Read here as well: the limit may have been raised since.
        self._pool.most = _most_connections()
        try:
            await self._start_all()
        except BaseException:
            await self.close(grace=0)
            raise
        self._watch_over_connections()

    async def stop_listening(self) -> None:
        """Take no new connections; those that wait to be accepted still are, and datagrams go on being read."""
        if self._servers:
            await self._accept_who_waits()
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    async def close(self, grace: float = 1.0) -> None:
        """Read what senders have sent already, for at most `grace` seconds, then close everything."""
        await self.stop_listening()
        await self._read_out(grace)
        if self._watch is not None:
            self._watch.cancel()
        for transport in self._datagrams:
            transport.close()
        self._datagrams.clear()
        self._pool.most = 0
        self._pool.gone.clear()
        members = list(self._pool.members)
        for connection in members:
            connection.close()
        if members:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pool.gone.wait(), 1)
        # Transports close their sockets one turn of the loop later.
        await asyncio.sleep(0)

    def health(self) -> Iterator[HealthSample]:
        """Open connections by receiver, and closed ones by reason. From any thread."""
        open_ones = Counter(connection.receiver for connection in self._pool.members.copy())
        for section, one in registered().items():
            if one.kind is socket.SOCK_STREAM:
                yield HealthSample("connections", open_ones[section], section)
        for reason, count in self._pool.closed.copy().items():
            yield HealthSample("closed_connections", count, reason)

    async def _start_all(self) -> None:
        """Open all enabled listeners."""
        for section, one in registered().items():
            if self._settings[section].enabled:
                await self._start_one(one, self._settings[section])

    async def _start_one(self, one: Input[Any], settings: InputSettings) -> None:
        """Take connections, or datagrams, at an input's address."""
        sockets = await open_sockets(ListenPlace(f"[{one.section}] listen", settings.listen, one.kind))
        make = one.protocol(settings, self._intake, self._pool)
        loop = asyncio.get_running_loop()
        for opened in sockets:
            if one.kind is socket.SOCK_STREAM:
                self._servers.append(await loop.create_server(make, sock=opened, backlog=_ACCEPTED_AT_ONCE))
                opened.listen(BACKLOG)
            else:
                transport, _ = await loop.create_datagram_endpoint(make, sock=opened)
                self._datagrams.append(transport)
        self._addresses[one.section] = [bound_address(opened) for opened in sockets]
        for address in self._addresses[one.section]:
            _log.info("listening for %s on %s", one.title, address)

    async def _accept_who_waits(self) -> None:
        """Let the loop accept the connections that wait, which the system resets when their listener closes."""
        for _ in range(BACKLOG // _ACCEPTED_AT_ONCE):
            seen = self._pool.arrived
            for _ in range(_TURNS_TO_ACCEPT):
                await asyncio.sleep(0)
            if self._pool.arrived == seen:
                return

    async def _read_out(self, grace: float) -> None:
        """Wait until no sender has anything more to say, at most `grace` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while (left := end - loop.time()) > 0:
            seen = self._pool.activity
            await asyncio.sleep(min(_QUIET, left))
            if self._pool.activity == seen and not self._intake.paused:
                return

    def _watch_over_connections(self) -> None:
        """Close the connections whose senders have begun something and hang; look again later."""
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self._timeouts.look, self._watch_over_connections)
        if self._intake.paused:
            return
        latest = loop.time() - self._timeouts.unfinished
        for connection in list(self._pool.members):
            if connection.unfinished and connection.waiting_since <= latest:
                connection.abandon("timeout")


def _most_connections() -> int:
    """How many connections the limit of open files allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(limit - _OTHER_FILES, limit // 2) if limit != resource.RLIM_INFINITY else 1_000_000
