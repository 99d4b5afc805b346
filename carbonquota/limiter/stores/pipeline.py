"""Commands of one event loop on one connection to the store: nobody waits for the answers to those before him.

Theory of operation. All that is asked in one turn of the loop goes in one write, and answers come in the order of the
questions. The client library connects and logs in, over TCP, TLS or a Unix socket; then its transport is taken over, as
a call of the library takes as long as all the rest. Where no answer comes within the timeout, all who wait are told so,
and the next ones get a connection of their own. The old one is kept a while to find out how late the answers are: a
store that is slow answers at last, and one that was stopped does not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

from valkey.exceptions import ValkeyError

from carbonquota.cluster.store import StoreError, kind_of
from carbonquota.limiter.stores.replies import Replies

_PATIENCE: Final = 2.0
"""Seconds at least behind the timeout in which a late answer tells that the store is slow, and is not stopped."""

Done = Callable[[Any], object]
"""Is told of an answer, which may be an error of the library's, or, where there is none, a StoreError."""
Connect = Callable[[], Awaitable["ReadyTransport"]]
Diagnosed = Callable[[StoreError], object]


class ReadyTransport:
    """A connection of the client library that has logged in; it is used no more but by its transport."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the library's own
        """Take it over."""
        # The writer closes the transport when it goes, so it stays as long as this does.
        self._writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        self.transport: asyncio.Transport = self._writer.transport
        self.error_of: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001


class Pipeline:
    """Asks the store on one event loop. `diagnosed` is told why answers did not come in time, once found out."""

    def __init__(self, connect: Connect, timeout: float, blob: int, diagnosed: Diagnosed) -> None:
        """A command may take `timeout` seconds; most answers have `blob` bytes."""
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._timeout = timeout
        self._patience = max(_PATIENCE, 4 * timeout)
        self._blob = blob
        self._diagnosed = diagnosed
        self._gathered: list[bytes] = []
        self._waiting: list[Done] = []
        self._link: _Link | None = None
        self._late: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_sending_soon = False

    def ask(self, command: bytes, done: Done) -> None:
        """Have a packed command sent with all others of this turn."""
        self._gathered.append(command)
        self._waiting.append(done)
        if not self._is_sending_soon:
            self._is_sending_soon = True
            self._loop.call_soon(self._send)

    def close(self) -> None:
        """Let go of the connections; who waits is told that the store is away."""
        if self._connecting is not None:
            self._connecting.cancel()
        for link in (self._link, self._late):
            if link is not None:
                link.close()
        self._link = self._late = None

    def _send(self) -> None:
        self._is_sending_soon = False
        link = self._link
        if link is None or not link.is_open:
            if self._connecting is None or self._connecting.done():
                self._connecting = self._loop.create_task(self._open())
            return
        commands, self._gathered = self._gathered, []
        waiting, self._waiting = self._waiting, []
        if commands:
            link.send(b"".join(commands), waiting)

    async def _open(self) -> None:
        try:
            ready = await self._connect()
        except (ValkeyError, OSError) as error:
            self._fail(StoreError(kind_of(error), str(error)))
        except asyncio.CancelledError:
            self._fail(StoreError("away", "the limiter is ending"))
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whoever waits must hear of it, and it is told
            self._fail(StoreError("failed", str(error)))
            tell_bug(self._loop, error)
        else:
            link = _Link(ready, Replies(self._blob, ready.error_of), self._timeout, self)
            if link.is_open:
                self._link = link
                self._send()
            else:
                self._fail(StoreError("away", "it closed the connection at once"))

    def _fail(self, error: StoreError) -> None:
        """Tell those who were not sent."""
        waiting, self._waiting = self._waiting, []
        self._gathered = []
        tell(self._loop, waiting, error)

    def is_late(self, link: _Link) -> None:
        """A connection gives no answer in time: it is used no more, and one such is listened to for a while."""
        self._link = None
        if self._late is not None:
            link.close()
            return
        self._late = link
        self._loop.call_later(self._patience, self._give_up, link)

    def came_late(self, link: _Link, seconds: float) -> None:
        """It gave one at last."""
        self._forget(link)
        self._diagnosed(StoreError("slow", f"it took {seconds:.2f} s, and [store] timeout is {self._timeout:g} s"))

    def _give_up(self, link: _Link) -> None:
        if link is self._late:
            self._forget(link)
            waited = self._patience + self._timeout
            detail = f"nothing came within {waited:g} s: it was stopped, or hangs, or the network does"
            self._diagnosed(StoreError("silent", detail))

    def ended(self, link: _Link) -> None:
        """A connection is closed."""
        if link is self._late:
            self._late = None

    def _forget(self, link: _Link) -> None:
        self._late = None
        link.close()


def tell(loop: asyncio.AbstractEventLoop, waiting: Iterable[Done], answer: object) -> None:
    """Tell all who wait; a bug of one of them must not cost the others their answer."""
    for done in waiting:
        try:
            done(answer)
        except Exception as error:  # noqa: BLE001 - the edge: it is told, and the others go on
            tell_bug(loop, error)


def tell_bug(loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    """Have a bug in what waits for the store logged."""
    loop.call_exception_handler({"message": "a bug in what waits for the store", "exception": error})


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, ready: ReadyTransport, replies: Replies, timeout: float, owner: Pipeline) -> None:
        self._ready = ready
        self._transport = ready.transport
        self._replies = replies
        self._timeout = timeout
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, Done]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._late_since: float | None = None
        self.is_open = not self._transport.is_closing()
        self._transport.set_protocol(self)

    def send(self, commands: bytes, waiting: Sequence[Done]) -> None:
        """Send commands, and give their answers to those who wait for them."""
        now = self._loop.time()
        self._waiting.extend([(now, done) for done in waiting])
        self._transport.write(commands)
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout, self._look)

    def data_received(self, data: bytes) -> None:
        """Answers."""
        if self._late_since is not None:
            self._owner.came_late(self, self._loop.time() - self._late_since)
            return
        try:
            answers = self._replies.read(data)
        except ValkeyError as error:
            self._lose(StoreError("failed", str(error)))
            return
        for answer in answers:
            if not self._waiting:
                self._lose(StoreError("failed", "it answers what nobody asked"))
                return
            done = self._waiting.popleft()[1]
            try:
                done(answer)
            except Exception as error:  # noqa: BLE001 - the edge: it is told, and the others go on
                tell_bug(self._loop, error)

    def _look(self) -> None:
        """Whether who waits for longest has waited too long."""
        self._timer = None
        if not self._waiting:
            return
        since, due = self._waiting[0][0], self._waiting[0][0] + self._timeout
        if self._loop.time() < due - 0.001:
            self._timer = self._loop.call_at(due, self._look)
            return
        waiting, self._waiting = self._waiting, deque()
        self._late_since, self.is_open = since, False
        self._owner.is_late(self)
        error = StoreError("slow", f"there is none after {self._timeout:g} s")
        tell(self._loop, (done for _, done in waiting), error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server ended it, or the network did."""
        self._lose(StoreError("away", str(exc or "it closed the connection")))
        self._owner.ended(self)

    def _lose(self, error: StoreError) -> None:
        self.close()
        waiting, self._waiting = self._waiting, deque()
        tell(self._loop, (done for _, done in waiting), error)

    def close(self) -> None:
        """End it."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()


async def taken_over(connection: Any) -> ReadyTransport:  # noqa: ANN401 - the library's own
    """A connection of the library's, once it has connected and logged in."""
    await connection.connect()
    return ReadyTransport(cast("Any", connection))
