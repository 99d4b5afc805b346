"""What the connections of all inputs have in common: they come, wait while the sink is full, are closed, and go.

Theory of operation. A connection knows the intake, and the pool of all connections: how many are open, and why some
were closed. A bug met in a sender's bytes costs this sender its connection at most.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import ClassVar, Final, cast

from carbonquota.daemon.intake import Intake
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.values.address import Address

_log = logging.getLogger(__name__)

REASONS: Final = {
    "too_many": "no more files may be open; raise the limit (LimitNOFILE in a systemd unit, `ulimit -n` in a shell)",
    "timeout": "it did not go on with what it had begun",
    "internal_error": "a bug met in its bytes",
}
"""Why connections of any input are closed, by the reason that health has."""


@dataclass(slots=True)
class ConnectionPool:
    """All open connections together.

    `most` may be open at once. `closed` counts the connections closed by the daemon by reason; `arrived` grows with
    each connection, `activity` with each read; `gone` is set when the last one goes.
    """

    most: int
    arrived: int = 0
    activity: int = 0
    members: set[Connection] = field(default_factory=set)
    closed: Counter[str] = field(default_factory=Counter)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    notices: BoundedLog = field(default_factory=lambda: BoundedLog(_log, monotonic))


class Connection(asyncio.Protocol, ABC):
    """What all connections do: come, wait while the sink is full, are closed where they cannot go on, and go."""

    receiver = ""
    """The section of its input, as health calls it."""
    reasons: ClassVar[Mapping[str, str]] = REASONS
    """Why such a connection is closed, by the reason that health has."""

    def __init__(self, intake: Intake, pool: ConnectionPool) -> None:
        """Not connected yet."""
        self.waiting_since = 0.0
        self._intake = intake
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._sender = ""

    @property
    @abstractmethod
    def unfinished(self) -> bool:
        """Whether the sender has begun something that it has not ended."""

    @abstractmethod
    def take(self, chunk: bytes) -> None:
        """Pass on what is whole with this chunk."""

    @abstractmethod
    def end(self) -> None:
        """No more will come: refuse what is unfinished."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many already."""
        self._pool.arrived += 1
        self._transport = cast("asyncio.Transport", transport)
        self._sender = sender_name(transport.get_extra_info("peername"))
        if len(self._pool.members) >= self._pool.most:
            self.abandon("too_many")
            return
        self._pool.members.add(self)
        # A little later, as uvloop forgets a pause that is asked for in here.
        asyncio.get_running_loop().call_soon(self._join)

    def _join(self) -> None:
        """Be paused with all others from now on, if it is still there."""
        if self in self._pool.members:
            self._intake.register(self)

    def data_received(self, chunk: bytes) -> None:
        """Take what came; a bug costs this connection."""
        self._pool.activity += 1
        try:
            self.take(chunk)
        except Exception:  # noqa: BLE001 - the edge: no other sender is to notice
            self._intake.internal_error("receiver")
            self.abandon("internal_error")
        if self.unfinished:
            self.waiting_since = asyncio.get_running_loop().time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost changes nothing
        """Refuse what is unfinished, and go."""
        self._pool.members.discard(self)
        if not self._pool.members:
            self._pool.gone.set()
        self._intake.unregister(self)
        self.end()

    def pause(self) -> None:
        """Read no more until there is room."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again; the time without reading does not count as the sender's."""
        if self._transport is not None and not self._transport.is_closing():
            self.waiting_since = asyncio.get_running_loop().time()
            self._transport.resume_reading()

    def close(self) -> None:
        """End it, without a fault of the sender's."""
        if self._transport is not None:
            self._transport.close()

    def abandon(self, reason: str) -> None:
        """End it at once, and count why."""
        if self._transport is not None and not self._transport.is_closing():
            self._pool.closed[reason] += 1
            self._pool.notices.warning(reason, "closed the connection of %s: %s", self._sender, self.reasons[reason])
            self._transport.abort()

    def refuse(self, reason: str, sample: bytes) -> None:
        """Count one thing that the assembler refused."""
        self._intake.malformed(reason, 1, sample, self._sender)


def sender_name(peer: object) -> str:
    """A sender's address as logs have it; empty where the system does not tell."""
    match peer:
        case (str(host), int(port), *_):
            return str(Address(host, port))
        case _:
            return ""
