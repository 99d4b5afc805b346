"""The input `[pickle]`: pickled lists of points, over TCP, behind their length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from socket import SOCK_STREAM
from typing import ClassVar, Final

from carbonquota.daemon.inputs.connections import REASONS, Connection, ConnectionPool
from carbonquota.daemon.inputs.declaration import Input, InputSettings, register
from carbonquota.daemon.intake import Intake
from carbonquota.ingest import PickleAssembler, Pickled, read_pickle
from carbonquota.service.values.address import Address
from carbonquota.service.values.kinds import size

_HELD_MESSAGES: Final = 4
"""Unfinished messages of all connections may hold so many times the largest one."""


@dataclass(frozen=True, slots=True)
class PickleSettings(InputSettings):
    """`[pickle]`.

    A message is read in one go, while everybody else waits, so `max_message_size` is carbon's own bound, and not
    go-carbon's 64 MiB.
    """

    max_message_size: int = 1_048_576


@dataclass(slots=True)
class MessageMemory:
    """The bytes that unfinished messages of all connections hold, and may hold at `most`."""

    most: int
    held: int = 0


class PickleConnection(Connection):
    """A sender of pickled lists of points."""

    receiver = "pickle"
    reasons: ClassVar[Mapping[str, str]] = {
        **REASONS,
        "length": "it announced a message of 0 bytes or more than [pickle] max-message-size, or sent no pickles",
        "memory": "unfinished pickles hold too much memory together",
    }

    def __init__(self, memory: MessageMemory, max_message_size: int, intake: Intake, pool: ConnectionPool) -> None:
        """Not connected yet; a message may have `max_message_size` bytes."""
        super().__init__(intake, pool)
        self._memory = memory
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
        elif self._memory.held > self._memory.most:
            self.abandon("memory")

    def end(self) -> None:
        """Refuse a message that is not whole."""
        self._assembler.close()
        self._account()

    def _pass_on(self, pickled: Pickled) -> None:
        """Give the points of one message to the intake, and tell it what was malformed."""
        self._intake.put_points(pickled.points)
        for reason, count in pickled.malformed.items():
            self._intake.malformed(reason, count, pickled.samples[reason], self._sender)

    def _account(self) -> None:
        """Tell all others how much this one holds."""
        held = self._assembler.held
        self._memory.held += held - self._held
        self._held = held


def _protocol(settings: PickleSettings, intake: Intake, pool: ConnectionPool) -> Callable[[], PickleConnection]:
    """Makes the connections, which share the memory for messages."""
    memory = MessageMemory(_HELD_MESSAGES * settings.max_message_size)
    return partial(PickleConnection, memory, settings.max_message_size, intake, pool)


PICKLE = register(
    Input(
        section="pickle",
        title="pickle over TCP",
        kind=SOCK_STREAM,
        defaults=PickleSettings(Address("", 2004)),
        keys={"max-message-size": size(least=1, most=2**32 - 1)},
        protocol=_protocol,
    )
)
