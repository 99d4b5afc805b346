"""The gRPC side as a server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from carbonquota.errors import QuotaError
from carbonquota.hub.grpc.callers import Callers
from carbonquota.hub.grpc.servicer import Servicer
from carbonquota.hub.service.hub import Hub
from carbonquota.service.values.address import Address
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.make_access import Access

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # Two servers on one port would share its calls without a word.
    ("grpc.so_reuseport", 0),
)
_MOST_CALLS: Final = 10_000


def _credentials(tls: AccessSettings) -> grpc.ServerCredentials:
    """The certificate and its key."""
    return grpc.ssl_server_credentials([(Path(tls.tls_key).read_bytes(), Path(tls.tls_certificate).read_bytes())])


class GrpcServer:
    """Serves a hub at an address, on the event loop that starts it."""

    def __init__(self, hub: Hub, access: Access, address: Address, tls: AccessSettings | None = None) -> None:
        """Nothing is opened yet; with a certificate in `tls` calls are encrypted."""
        self._servicer = Servicer(hub, Callers(access))
        self._wanted = address
        self._tls = tls
        self._server: grpc.aio.Server | None = None
        self.address = address
        """Where it listens, once it is started."""

    async def start(self) -> None:
        """Listen; QuotaError where that cannot be."""
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        server.add_generic_rpc_handlers((self._servicer.handlers(),))
        place = str(self._wanted) if self._wanted.host else f"[::]:{self._wanted.port}"
        try:
            if self._tls is not None and self._tls.tls_certificate:
                port = server.add_secure_port(place, _credentials(self._tls))
            else:
                port = server.add_insecure_port(place)
        except RuntimeError:
            raise QuotaError(
                f"--grpc-listen: cannot listen at {self._wanted}: another program has the port, or this machine has no "
                "such address: give another"
            ) from None
        await server.start()
        self._server, self.address = server, Address(self._wanted.host, port)

    async def stop(self, grace: float) -> None:
        """Take no more calls, and end within `grace` seconds."""
        if self._server is not None:
            await self._server.stop(grace)
