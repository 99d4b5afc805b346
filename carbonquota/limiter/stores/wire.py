"""Commands that are put together here, sent over the client library's connections.

A call of the library packs, encodes and checks each part of a command anew, which takes as long as all the rest. The
library makes, logs in and mends the connections, with TLS or without, and `Replies` reads the answers. A connection
that was not used for a while is looked at before it is used again, as the server may have gone meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final

from valkey.connection import ConnectionPool
from valkey.exceptions import ConnectionError as AwayError
from valkey.exceptions import TimeoutError as SlowError

from carbonquota.limiter.stores.replies import Replies

_FRESH: Final = 1.0
"""Seconds for which a connection is taken to be as it was."""
_ROOM: Final = 65_536


def packed(parts: Sequence[bytes]) -> bytes:
    """A command in the protocol's form."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


class CommandWire:
    """Sends commands and reads their answers. Safe to use from any thread."""

    def __init__(self, pool: ConnectionPool, blob: int) -> None:
        """Take connections from a pool; they are kept, the last one used first. Most answers have `blob` bytes."""
        self._pool = pool
        self._blob = blob
        self._idle: list[tuple[Any, float]] = []

    def ask(self, commands: bytes, count: int = 1) -> list[Any]:
        """The answers to so many commands; an error of one is its answer, others are raised."""
        connection = self._take()
        try:
            connection.send_packed_command((commands,), check_health=False)
            answers = self._read(connection, count)
        except BaseException:
            # What is still to be read is nobody's.
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._idle.append((connection, time.monotonic()))
        return answers

    def _read(self, connection: Any, count: int) -> list[Any]:  # noqa: ANN401 - the library's own
        """So many answers."""
        own = connection._sock  # noqa: SLF001 - there is no other way to it
        replies = Replies(self._blob, connection._parser.parse_error)  # noqa: SLF001
        answers: list[Any] = []
        while len(answers) < count:
            try:
                data = own.recv(_ROOM)
            except TimeoutError:
                raise SlowError("no answer in time") from None
            if not data:
                raise AwayError("the server closed the connection")
            answers += replies.read(data)
        return answers

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._pool.release(self._idle.pop()[0])

    def _take(self) -> Any:  # noqa: ANN401 - the library's own
        try:
            connection, used = self._idle.pop()
        except IndexError:
            return self._pool.get_connection("FCALL")
        if time.monotonic() - used < _FRESH and connection.pid == os.getpid():
            return connection
        self._pool.release(connection)
        return self._pool.get_connection("FCALL")


def wire_of(client: object, blob: int) -> CommandWire | None:
    """The wire to one server, `blob` being the length of most answers; None where the library looks for the server."""
    pool = getattr(client, "connection_pool", None)
    return CommandWire(pool, blob) if type(pool) is ConnectionPool else None
