"""The input `[tcp]`: plaintext over TCP."""

from __future__ import annotations

from functools import partial
from socket import SOCK_STREAM

from carbonquota.daemon.inputs.connections import Connection, ConnectionPool
from carbonquota.daemon.inputs.declaration import Input, InputSettings, register
from carbonquota.daemon.intake import Intake
from carbonquota.ingest import LineAssembler
from carbonquota.service.values.address import Address


class TcpConnection(Connection):
    """A sender of lines."""

    receiver = "tcp"

    def __init__(self, intake: Intake, pool: ConnectionPool) -> None:
        """Not connected yet."""
        super().__init__(intake, pool)
        self._assembler = LineAssembler(self.refuse)

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun that has not ended."""
        return self._assembler.unfinished

    def take(self, chunk: bytes) -> None:
        """Pass on the lines that are whole."""
        self._intake.put(self._assembler.feed(chunk))

    def end(self) -> None:
        """Refuse a line without its end."""
        self._assembler.close()


TCP = register(
    Input(
        section="tcp",
        title="plaintext over TCP",
        kind=SOCK_STREAM,
        defaults=InputSettings(Address("", 2003)),
        protocol=lambda _, intake, pool: partial(TcpConnection, intake, pool),
    )
)
