"""The gRPC server in this process: encrypted, with Python's own client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc

from carbonquota.client.hub import AsyncHubClient
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.grpc.server import GrpcServer
from carbonquota.hub.service.hub import Hub
from carbonquota.service.values.address import Address
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.make_access import make_access
from carbonquota.web.tls import TlsFiles
from tests.support.certificates import write_certificate
from tests.support.hub import ADMIN, open_hub, set_quota


async def asked(hub: Hub, files: TlsFiles, root: bytes) -> int:
    """What a client is granted over TLS."""
    server = GrpcServer(hub, make_access(AccessSettings()), Address("127.0.0.1", 0), files.context("h2"))
    await server.start()
    try:
        credentials = grpc.ssl_channel_credentials(root)
        async with AsyncHubClient(str(server.address), credentials=credentials) as client:
            assert hub.calls.connections == 0
            answer = await client.write_ok("acme", "ssd", 7)
            assert hub.calls.connections == 1
            return answer.granted
    finally:
        await server.stop(5.0)


def test_calls_are_encrypted_where_there_is_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    write_certificate(certificate, key)
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite")
    hub.providers.put(ADMIN, Provider("ssd"))
    set_quota(hub, "acme", bytes=1000)
    files = TlsFiles(AccessSettings(tls_certificate=str(certificate), tls_key=str(key)))
    assert asyncio.run(asked(hub, files, certificate.read_bytes())) == 7
    hub.close()
