"""The relay as a sink: one destination, a bounded memory queue, and a spool for when the destination is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from carbonquota.controls import Admission
from carbonquota.daemon.relay.connection import RelayConnection, connect
from carbonquota.daemon.relay.ledger import SentLedger
from carbonquota.daemon.relay.queue import BatchQueue, Outbox, RelayBatch, ResendWindow
from carbonquota.daemon.relay.sender import Sender
from carbonquota.daemon.relay.spool import Spool
from carbonquota.daemon.relay.spooler import Spooler
from carbonquota.daemon.settings import Relay
from carbonquota.model import Clock
from carbonquota.service.health import HealthSample
from carbonquota.service.losses import points_are

_LARGEST_OUTBOX: Final = 262_144
_ROOM: Final = 0.75
"""How far the memory queue must go down, as a share of its bound, before senders may go on."""

_POLL: Final = 0.01
"""How often a stop looks whether all was sent, in seconds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What an operator need not set: sizes in bytes, times in seconds.

    `steady` is how long a connection must last for the next attempt to start anew with the shortest wait.
    """

    window_max_size: int = 8_388_608
    segment_size: int = 8_388_608
    tick: float = 1.0
    shortest_wait: float = 0.1
    longest_wait: float = 30.0
    connect_timeout: float = 5.0
    steady: float = 10.0


class RelaySink:
    """Passes points on to `settings.destination`; see `carbonquota.daemon.sink.Sink`.

    `clock` measures only how long things take; one that never steps, as `time.monotonic`, is best.
    """

    def __init__(
        self, settings: Relay, clock: Clock, on_room: Callable[[], None], tuning: Tuning | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_room = on_room
        self._tuning = tuning or Tuning()
        self._ledger = SentLedger()
        self._memory = BatchQueue()
        window = ResendWindow(settings.resend_window, self._tuning.window_max_size)
        self._sender = Sender(self._ledger, window, self._refill)
        self._outbox_size = max(min(_LARGEST_OUTBOX, settings.queue_max_size // 4), 1)
        self._spill_size = settings.queue_max_size // 2
        self._spooler = self._make_spooler()
        self._is_full = self._is_stopped = self._is_scheduled = False
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._told = ""

    @property
    def is_full(self) -> bool:
        """Whether the memory queue has passed its bound and is not yet well below it."""
        return self._is_full

    async def start(self) -> None:
        """Open the spool, and begin to connect. QuotaError where the spool cannot be used."""
        if self._spooler is not None:
            await self._spooler.open()
            self._begin(self._spooler.run(self._on_spooled))
        self._begin(self._keep_connected())
        self._tick()

    def write(self, lines: bytes, points: int) -> None:
        """Take points; they are sent when the event loop comes round."""
        self._ledger.accept(points, len(lines))
        batch = RelayBatch(lines, points)
        if self._is_stopped:
            self._ledger.lose_queued("shutdown", [batch])
            return
        self._memory.append(batch)
        if self._memory.size >= self._settings.queue_max_size:
            self._is_full = True
        if self._sender.is_ready:
            self._schedule()
        if self._spooler is not None and self._memory.size >= self._spill_size:
            self._spooler.wake()

    def prepare(self, admission: Admission) -> Callable[[], None]:
        """What writes the lines that an answer passes."""
        return partial(self.write, admission.accepted, admission.points)

    async def stop(self, seconds: float) -> None:
        """Send what waits, for at most so many `seconds`; the rest goes to the spool, or is lost without one.

        With a spool, a destination that is away is not waited for.
        """
        deadline = self._clock() + seconds
        # The kernel tells nobody when the last byte was acknowledged.
        while self._clock() < deadline and self._is_worth_waiting():  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        self._is_stopped = True
        lost = self._ledger.lost
        await self._end()
        unsure = 0
        if self._spooler is not None and self._tasks:
            await self._spooler.keep()
        else:
            outbox = self._sender.outbox.clear()
            unsure = sum(batch.points for batch in outbox if batch.again)
            waiting = [batch for batch in outbox if not batch.again]
            self._ledger.lose_queued("shutdown", waiting + self._memory.clear())
        self._tell_of_rest(self._ledger.lost - lost, unsure)

    def _tell_of_rest(self, lost: int, unsure: int) -> None:
        """Tell what of the accepted points did not get out: `unsure` ones were sent and not acknowledged."""
        if self._spooler is None:
            why = "the destination did not take them in time, and there is no spool (spool-dir) to keep them"
        else:
            why = self._spooler.trouble or "the spool (spool-max-size) is too small for them"
        if lost:
            log.error("relay: %s lost with this end: %s", points_are(lost, "is", "are"), why)
        if unsure:
            log.error("relay: %d points may be lost with this end: they were sent, but not acknowledged", unsure)
        if self._ledger.waiting:
            log.info("relay: %d points are kept in the spool for the next start", self._ledger.waiting)

    @property
    def troubles(self) -> tuple[str, ...]:
        """Whether the destination is away, and what the spool cannot do. From any thread."""
        away, trouble = self._sender.connection is None, self._spooler.trouble if self._spooler is not None else ""
        return (
            *((f"the destination {self._settings.destination} is away",) if away else ()),
            *((f"the spool of the relay: {trouble}",) if trouble else ()),
        )

    def health(self) -> Iterable[HealthSample]:
        """The relay's counts, and whether the destination is connected."""
        return [*self._ledger.samples(), HealthSample("sink_up", self._sender.connection is not None)]

    def _make_spooler(self) -> Spooler | None:
        settings = self._settings
        if not settings.spool_dir or not settings.spool_max_size:
            return None
        spool = Spool(Path(settings.spool_dir), settings.spool_max_size, self._tuning.segment_size)
        return Spooler(spool, self._ledger, self._memory, self._sender, self._spill_size)

    def _refill(self, outbox: Outbox) -> None:
        """Put into the outbox what comes next, unless that is still on disk."""
        if outbox.size >= self._outbox_size:
            return
        if self._spooler is not None and self._spooler.holds_back:
            self._spooler.wake()
            return
        while self._memory and outbox.size <= self._outbox_size:
            outbox.append(self._memory.popleft())

    def _schedule(self) -> None:
        """Send once the event loop has done what it is doing, so that many small batches go in one call."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._is_scheduled = False
        if self._sender.send():
            self._schedule()
        self._check_room()

    def _check_room(self) -> None:
        if self._is_full and self._memory.size < self._settings.queue_max_size * _ROOM:
            self._is_full = False
            self._on_room()

    def _on_spooled(self) -> None:
        """Batches went to disk or came back."""
        if self._sender.is_ready:
            self._schedule()
        self._check_room()

    def _tick(self) -> None:
        self._sender.check(self._clock())
        if self._spooler is not None:
            self._spooler.tick()
        self._timer = asyncio.get_running_loop().call_later(self._tuning.tick, self._tick)

    async def _keep_connected(self) -> None:
        """Connect to the destination again and again, for ever."""
        shortest, longest = self._tuning.shortest_wait, self._tuning.longest_wait
        while True:
            wait = wait_random_exponential(multiplier=shortest, min=shortest, max=longest)
            await AsyncRetrying(wait=wait, retry=retry_if_exception_type(OSError))(self._hold_connection)

    async def _hold_connection(self) -> None:
        """Connect, and send until the connection is lost. OSError where it never was a steady one."""
        destination = self._settings.destination
        try:
            sock = await connect(destination, min(self._tuning.connect_timeout, self._settings.timeout))
        except OSError as error:
            self._tell(logging.WARNING, f"cannot connect to {destination}: {error.strerror or error}")
            raise
        connection = RelayConnection(sock, self._settings.timeout, self._clock, self._send)
        begin = self._clock()
        try:
            self._sender.begin(connection)
            self._tell(logging.INFO, f"connected to {destination}")
            self._schedule()
            cause = await connection.lost
        finally:
            connection.end("the relay stops")
        self._sender.end(self._clock())
        self._tell(logging.WARNING, f"lost {destination}: {cause}")
        if self._clock() - begin < self._tuning.steady:
            raise ConnectionError(cause)

    def _tell(self, level: int, news: str) -> None:
        """Log what became of the destination, unless that was the last thing said."""
        if news != self._told:
            log.log(level, "relay: %s; %d points wait", news, self._ledger.waiting)
            self._told = news

    def _is_worth_waiting(self) -> bool:
        """Whether something of what waits may still go out."""
        if self._sender.connection is None and self._spooler is not None:
            return False
        return bool(self._ledger.waiting or self._sender.unacknowledged)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_report_crash)
        self._tasks.append(task)

    async def _end(self) -> None:
        """End all that runs in the background; what one of them was doing to the disk is waited for."""
        if self._timer is not None:
            self._timer.cancel()
        if self._spooler is not None:
            self._spooler.stop()
        if self._tasks:
            self._tasks[-1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sender.stop()


def _report_crash(task: asyncio.Task[None]) -> None:
    """A bug in the background is for the loop's exception handler, not for the day when the daemon stops."""
    if not task.cancelled() and (bug := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "the relay crashed", "exception": bug, "task": task})
