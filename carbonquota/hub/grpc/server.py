"""The gRPC side as a server."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Final

from carbonquota.client.hub_calls import CALLS
from carbonquota.hub.grpc.callers import Callers
from carbonquota.hub.grpc.servicer import Servicer
from carbonquota.hub.service.hub import Hub
from carbonquota.service.listening import ListenPlace, bound_address, open_sockets
from carbonquota.service.values.address import Address
from carbonquota.web.grpc.protocol import GrpcProtocol
from carbonquota.web.grpc.streams import Bounds
from carbonquota.web.listener import Listener
from carbonquota.web.make_access import Access

_MOST_MESSAGE: Final = 16 * 1024 * 1024
_MOST: Final = 4096
"""Connections at a time."""
_TIMEOUT: Final = 30.0
"""Seconds that a client may take to send a message, or to take an answer."""

_STREAMING: Final = frozenset(call.path.encode() for call in CALLS.values() if call.is_stream)


class GrpcServer:
    """Serves a hub at an address, on the event loop that starts it."""

    def __init__(self, hub: Hub, access: Access, address: Address, tls: ssl.SSLContext | None = None) -> None:
        """Nothing is opened yet; with `tls` calls are encrypted."""
        self.calls = Servicer(hub, Callers(access))
        self._wanted = address
        self._tls = tls
        self._listener: Listener | None = None
        self.address = address
        """Where it listens, once it is started."""

    async def start(self) -> None:
        """Listen; QuotaError where that cannot be."""
        sockets = await open_sockets(ListenPlace("--grpc-listen", self._wanted, socket.SOCK_STREAM))
        bounds = Bounds(message=_MOST_MESSAGE, window=2 * _MOST_MESSAGE, is_streaming=_STREAMING.__contains__)
        make = partial(GrpcProtocol, self.calls, _TIMEOUT, bounds)
        self._listener = Listener("gRPC", make, self.calls.stats, _MOST)
        await self._listener.start(sockets, self._tls)
        self.address = Address(self._wanted.host, bound_address(sockets[0]).port)

    async def stop(self, grace: float) -> None:
        """Take no more calls, and end within `grace` seconds."""
        if self._listener is not None:
            await self._listener.stop(grace)
