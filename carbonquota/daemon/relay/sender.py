"""What is on its way: the outbox, the connection that takes it, and the window of what may have to go again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import inf
from typing import Final

from carbonquota.daemon.relay.connection import RelayConnection
from carbonquota.daemon.relay.ledger import SentLedger
from carbonquota.daemon.relay.queue import Outbox, ResendWindow

_ROUNDS: Final = 16
"""System calls in a row before the event loop's other work gets its turn."""


_SELDOM: Final = 10
"""What a program has read is repeated once in so many windows, so that it adds a tenth to the traffic at the most."""


class Sender:
    """Sends the outbox over whatever connection there is; `refill` puts more into it, in order."""

    def __init__(self, ledger: SentLedger, window: ResendWindow, refill: Callable[[Outbox], None]) -> None:
        self._ledger = ledger
        self._window = window
        self._refill = refill
        self._repeats_from = -inf
        self.outbox = Outbox()
        self.connection: RelayConnection | None = None

    @property
    def is_ready(self) -> bool:
        """Whether something can be sent now."""
        return self.connection is not None and self.connection.is_ready

    @property
    def unacknowledged(self) -> int:
        """Bytes that were sent on this connection and are still on their way."""
        return 0 if self.connection is None else self.connection.sent - self.connection.received

    @property
    def oldest_segment(self) -> int | None:
        """The oldest segment of the spool that has batches here, if any has."""
        return next((batch.segment for batch in chain(self._window, self.outbox) if batch.segment), None)

    def begin(self, connection: RelayConnection) -> None:
        """Send over this connection from now on."""
        self.connection = connection

    def end(self, now: float) -> None:
        """The connection is lost: what it may not have delivered goes first on the next one.

        That is what the other machine did not acknowledge, and, unless its program had read all else, what it
        acknowledged lately. A program that is being ended reads what it does not store any more, so what it has read
        lately goes again, too, but so seldom that a destination that comes and goes gets hardly more than one copy.
        """
        connection, self.connection = self.connection, None
        if connection is not None and connection.was_read and now < self._repeats_from:
            self._acknowledge(connection.received)
        else:
            self._repeats_from = now + _SELDOM * self._window.seconds
        self.outbox.restart(self._window.clear())

    def stop(self) -> None:
        """No connection comes any more: what was sent and not acknowledged goes back into the outbox."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._acknowledge(connection.received)
            self.outbox.restart(self._window.clear())

    def _acknowledge(self, received: int) -> None:
        """The first `received` bytes of the stream have arrived for good."""
        begun = self.outbox.cut(received - self._window.end)
        if begun is not None:
            self._ledger.send([begun])
        self._window.acknowledge(received)

    def send(self) -> bool:
        """Send as much as is taken. Whether there is more to be sent at once."""
        connection = self.connection
        for _ in range(_ROUNDS):
            if connection is None or not connection.is_ready:
                return False
            self._refill(self.outbox)
            if not self.outbox:
                return False
            finished = self.outbox.advance(connection.send(self.outbox.buffers()))
            self._ledger.send(finished)
            self._window.add(finished)
        return True

    def check(self, now: float) -> None:
        """Once in a while: give up a destination that takes nothing, and forget what has surely arrived."""
        if self.connection is not None:
            self.connection.check()
            self._window.mark(now, self.connection.received)
