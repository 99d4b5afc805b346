"""One sender's connection, or the datagrams of all: bytes to whole lines, and those to the intake.

Theory of operation. A connection knows its assembler and the intake, and a few numbers about all connections: how many
are open, why some were closed, how much unfinished messages hold together. A bug met in a sender's bytes costs this
sender its connection at most.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, cast

from carbonquota.daemon.intake import Intake
from carbonquota.daemon.settings import Address
from carbonquota.ingest import LineAssembler, PickleAssembler, Pickled, read_pickle, without_long_lines
from carbonquota.service.bounded_log import BoundedLog

_log = logging.getLogger(__name__)

_REASONS: Final = {
    "too_many": "no more files may be open; raise the limit (LimitNOFILE in a systemd unit, `ulimit -n` in a shell)",
    "length": "it announced a message of 0 bytes or more than [pickle] max-message-size, or sent no pickles",
    "memory": "unfinished pickles hold too much memory together",
    "timeout": "it did not go on with what it had begun",
    "internal_error": "a bug met in its bytes",
}
"""Why connections are closed, by the reason that health has."""


@dataclass(slots=True)
class Crowd:
    """All open connections together.

    `most` may be open at once, whose unfinished messages may hold `most_held` bytes. `closed` counts the connections
    closed by the daemon by reason; `arrived` grows with each connection, `activity` with each read; `gone` is set when
    the last one goes.
    """

    most: int
    most_held: int
    held: int = 0
    arrived: int = 0
    activity: int = 0
    members: set[Connection] = field(default_factory=set)
    closed: Counter[str] = field(default_factory=Counter)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    notices: BoundedLog = field(default_factory=lambda: BoundedLog(_log, monotonic))


class Connection(asyncio.Protocol, ABC):
    """What all connections do: come, wait while the sink is full, are closed where they cannot go on, and go."""

    receiver = ""
    """The name of the receiver, as health calls it."""

    def __init__(self, intake: Intake, crowd: Crowd) -> None:
        """Not connected yet."""
        self.waiting_since = 0.0
        self._intake = intake
        self._crowd = crowd
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
        self._crowd.arrived += 1
        self._transport = cast("asyncio.Transport", transport)
        self._sender = sender_name(transport.get_extra_info("peername"))
        if len(self._crowd.members) >= self._crowd.most:
            self.abandon("too_many")
            return
        self._crowd.members.add(self)
        # A little later, as uvloop forgets a pause that is asked for in here.
        asyncio.get_running_loop().call_soon(self._join)

    def _join(self) -> None:
        """Be paused with all others from now on, if it is still there."""
        if self in self._crowd.members:
            self._intake.register(self)

    def data_received(self, chunk: bytes) -> None:
        """Take what came; a bug costs this connection."""
        self._crowd.activity += 1
        try:
            self.take(chunk)
        except Exception:  # noqa: BLE001 - the edge: no other sender is to notice
            self._intake.internal_error("receiver")
            self.abandon("internal_error")
        if self.unfinished:
            self.waiting_since = asyncio.get_running_loop().time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost changes nothing
        """Refuse what is unfinished, and go."""
        self._crowd.members.discard(self)
        if not self._crowd.members:
            self._crowd.gone.set()
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
            self._crowd.closed[reason] += 1
            self._crowd.notices.warning(reason, "closed the connection of %s: %s", self._sender, _REASONS[reason])
            self._transport.abort()

    def refuse(self, reason: str, sample: bytes) -> None:
        """Count one thing that the assembler refused."""
        self._intake.malformed(reason, 1, sample, self._sender)


class PlaintextConnection(Connection):
    """A sender of lines."""

    receiver = "tcp"

    def __init__(self, intake: Intake, crowd: Crowd) -> None:
        """Not connected yet."""
        super().__init__(intake, crowd)
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


class PickleConnection(Connection):
    """A sender of pickled lists of points."""

    receiver = "pickle"

    def __init__(self, intake: Intake, crowd: Crowd, max_message_size: int) -> None:
        """Not connected yet; a message may have `max_message_size` bytes."""
        super().__init__(intake, crowd)
        self._assembler = PickleAssembler(self.refuse, max_message_size)
        self._held = 0

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun that has not ended."""
        return self._assembler.unfinished

    def take(self, chunk: bytes) -> None:
        """Pass on the messages that are whole, and close where it is not known any more where one begins."""
        for message in self._assembler.feed(chunk):
            self._pass_on(read_pickle(message))
        self._account()
        if self._assembler.broken:
            self.abandon("length")
        elif self._crowd.held > self._crowd.most_held:
            self.abandon("memory")

    def end(self) -> None:
        """Refuse a message that is not whole."""
        self._assembler.close()
        self._account()

    def _pass_on(self, pickled: Pickled) -> None:
        """Give the lines of one message to the intake, and tell it what was malformed."""
        self._intake.put(pickled.lines)
        for reason, count in pickled.malformed.items():
            self._intake.malformed(reason, count, pickled.sample, self._sender)

    def _account(self) -> None:
        """Tell all others how much this one holds."""
        held = self._assembler.held
        self._crowd.held += held - self._held
        self._held = held


class Datagrams(asyncio.DatagramProtocol):
    """The datagrams of all senders; each has whole lines, of which the last may go without its end."""

    def __init__(self, intake: Intake, crowd: Crowd) -> None:
        """Nothing is open yet."""
        self._intake = intake
        self._crowd = crowd

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Pass the lines on."""
        self._crowd.activity += 1
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


def sender_name(peer: object) -> str:
    """A sender's address as logs have it; empty where the system does not tell."""
    match peer:
        case (str(host), int(port), *_):
            return str(Address(host, port))
        case _:
            return ""
