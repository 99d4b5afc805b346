"""The input `[udp]`: plaintext over UDP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from socket import SOCK_DGRAM

from carbonquota.daemon.inputs.connections import ConnectionPool, sender_name
from carbonquota.daemon.inputs.declaration import Input, InputSettings, register
from carbonquota.daemon.intake import Intake
from carbonquota.ingest import without_long_lines
from carbonquota.service.values.address import Address


class Datagrams(asyncio.DatagramProtocol):
    """The datagrams of all senders; each has whole lines, of which the last may go without its end."""

    def __init__(self, intake: Intake, pool: ConnectionPool) -> None:
        """Nothing is open yet."""
        self._intake = intake
        self._pool = pool

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Pass the lines on."""
        self._pool.activity += 1
        if not data.endswith(b"\n"):
            data += b"\n"
        try:
            self._intake.put_datagram(without_long_lines(data, self._refuser(addr)))
        except Exception:  # noqa: BLE001 - the edge: no other sender is to notice
            self._intake.internal_error("receiver")

    def error_received(self, exc: Exception) -> None:
        """Nothing: what the system reports of one datagram says nothing about the next."""

    def _refuser(self, sender: object) -> Callable[[str, bytes], None]:
        """Counts what of this sender's is refused."""
        return lambda reason, sample: self._intake.malformed(reason, 1, sample, sender_name(sender))


UDP = register(
    Input(
        section="udp",
        title="plaintext over UDP",
        kind=SOCK_DGRAM,
        defaults=InputSettings(Address("", 2003)),
        protocol=lambda _, intake, pool: partial(Datagrams, intake, pool),
    )
)
