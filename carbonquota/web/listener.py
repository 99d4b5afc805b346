"""The connections of a server: so many at a time, none that stalls for long, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Protocol

from carbonquota.service.bounded_log import BoundedLog

_log = logging.getLogger(__name__)

_LOOK: Final = 1.0
"""Seconds between two looks at all connections."""
_BACKLOG: Final = 1024


@dataclass(slots=True)
class ConnectionStats:
    """What a server counts of its connections, and requests that were none by what was wrong with them."""

    faults: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    most_connections: int = 0


class Client(Protocol):
    """A connection as its listener sees it."""

    @property
    def idle_since(self) -> float | None:
        """Since when it has asked nothing; None while it is being answered, or is in the middle of something."""

    def is_stalled(self, now: float) -> bool:
        """Whether it has been in the middle of something for too long."""

    def end(self) -> None:
        """Ask nothing more; close when what was asked is answered."""

    def abort(self) -> None:
        """Close at once."""


class Listener:
    """Accepts for one server on the running event loop."""

    def __init__(
        self, name: str, make: Callable[[Listener], asyncio.Protocol], stats: ConnectionStats, most: int
    ) -> None:
        """`make` gives the protocol of a connection, which tells here when it comes and goes; `most` may be open."""
        self._name = name
        self._make = make
        self._stats = stats
        self._most = stats.most_connections = most
        self._notices = BoundedLog(_log, monotonic)
        self._clients: set[Client] = set()
        self._empty = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._next: asyncio.TimerHandle | None = None

    async def start(self, sockets: list[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Serve at these sockets, encrypted by `tls`."""
        loop = asyncio.get_running_loop()
        for one in sockets:
            server = await loop.create_server(lambda: self._make(self), sock=one, backlog=_BACKLOG, ssl=tls)
            self._servers.append(server)
        self._look()

    def came(self, client: Client) -> bool:
        """Note a new connection; False where there is no room for it, nor one that could go in its place."""
        if len(self._clients) >= self._most:
            waiting = [(one.idle_since, id(one), one) for one in self._clients if one.idle_since is not None]
            self._notices.warning("full", "%s: all %d connections are taken", self._name, self._most)
            if not waiting:
                self._stats.faults["refused"] += 1
                return False
            self._stats.faults["evicted"] += 1
            min(waiting)[2].abort()
        self._clients.add(client)
        self._empty.clear()
        self._stats.connections = len(self._clients)
        return True

    def went(self, client: Client) -> None:
        """Note that a connection is closed."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()
        self._stats.connections = len(self._clients)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for client in [one for one in self._clients if one.is_stalled(now)]:
            self._stats.faults["slow"] += 1
            client.abort()
        self._next = loop.call_later(_LOOK, self._look)

    async def stop(self, grace: float) -> None:
        """Accept no more, have all that was asked answered for up to `grace` seconds, and close."""
        if self._next is not None:
            self._next.cancel()
        for server in self._servers:
            server.close()
        for client in list(self._clients):
            client.end()
        if self._clients:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace)
        for client in list(self._clients):
            client.abort()
