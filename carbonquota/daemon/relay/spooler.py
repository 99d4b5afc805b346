"""When batches go to disk and come back: the spool's side of the relay, with every disk access on a thread.

Memory goes to disk when it is half full and the destination is away, and from then on at every tick, so that little
is in memory alone. It comes back in blocks while the destination is connected. Should new points come faster
than that, they go to disk behind the others, but only as long as nothing has to be dropped for it: a destination that
is there and slow makes senders wait instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from carbonquota.daemon.relay.ledger import SentLedger
from carbonquota.daemon.relay.queue import BatchQueue
from carbonquota.daemon.relay.sender import Sender
from carbonquota.daemon.relay.spool import Spool
from carbonquota.errors import QuotaError

_BLOCK: Final = 1_048_576
"""Bytes that go to disk or come back in one go."""

_LONG_AWAY: Final = 2
"""Ticks without a connection after which memory goes to disk however little it is, as a process may be killed."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


class Spooler:
    """Moves batches from `memory` to the spool, and from the spool to the sender's outbox.

    `spill_size` is how much memory may hold before it goes to disk; `on_change` is called after each move.
    """

    def __init__(self, spool: Spool, ledger: SentLedger, memory: BatchQueue, sender: Sender, spill_size: int) -> None:
        self._spool = spool
        self._ledger = ledger
        self._memory = memory
        self._sender = sender
        self._spill_size = spill_size
        self._work = asyncio.Event()
        self._is_busy = self._is_due = self._is_failing = self._is_stopping = False
        self._is_in_use = self._is_troubled = False
        self._ticks_away = 0
        self._trouble = self._told = ""

    @property
    def trouble(self) -> str:
        """What the spool cannot do now, and why; empty where all is well."""
        return self._trouble

    @property
    def holds_back(self) -> bool:
        """Whether memory must not be sent now, as older batches are on disk or between disk and memory."""
        return self._is_busy or self._spool.has_unread

    async def open(self) -> None:
        """Open the spool, and count what is in it. QuotaError; a disk that is full or fails is tried again."""
        try:
            await self._open()
        except OSError as error:
            self._fail(error)

    async def _open(self) -> None:
        """The same; OSError where the disk does not allow it now."""
        points, size = await self._call(self._spool.open)
        self._ledger.find(points, size)
        if size:
            log.info("relay: %d points of an earlier run are in the spool", points)

    def wake(self) -> None:
        """There may be something to move; after a failure, that waits for the next tick."""
        if not self._is_failing:
            self._work.set()

    def tick(self) -> None:
        """Once a second or so: bring what was written to the disk itself, and remove what was delivered."""
        self._is_due, self._is_failing = True, False
        self._work.set()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Move batches until `stop`."""
        while not self._is_stopping:
            await self._work.wait()
            self._work.clear()
            try:
                was_due = self._is_due
                if was_due:
                    self._is_troubled = False
                    await self._tidy()
                    on_change()
                while await self._move():
                    on_change()
            except OSError as error:
                self._fail(error)
                on_change()
            except QuotaError as error:
                self._is_failing = True
                self._tell(str(error))
            else:
                if was_due and not self._is_troubled:
                    self._trouble = ""

    def stop(self) -> None:
        """Let `run` end after the move that goes on now, if one does."""
        self._is_stopping = True
        self._work.set()

    async def keep(self) -> None:
        """At the end: put all that was not sent on disk. What cannot be put there is lost."""
        if not self._spool.is_open:
            await self._try_to_open()
        outbox, memory = self._sender.outbox.clear(), self._memory.clear()
        size = sum(len(batch.lines) for batch in (*outbox, *memory))
        if not self._spool.has_room(size):
            outbox = [batch for batch in outbox if not batch.again]
        fresh = [batch for batch in outbox if not batch.segment and not batch.again]
        try:
            await asyncio.to_thread(self._spool.put_back, outbox)
            self._ledger.spool(fresh)
        except OSError as error:
            self._fail(error)
            self._ledger.lose_queued("shutdown", fresh)
        done = await asyncio.to_thread(self._spool.append, memory)
        self._ledger.spool(memory[: done.count])
        self._ledger.lose_spooled("spool_full", done.dropped_points, done.dropped_bytes)
        self._ledger.lose_queued("shutdown", memory[done.count :])
        if done.error is not None:
            self._fail(done.error)
        await self._close()

    async def _try_to_open(self) -> None:
        """A last time."""
        try:
            await self._open()
        except (OSError, QuotaError) as error:
            self._fail(error) if isinstance(error, OSError) else self._tell(str(error))

    async def _close(self) -> None:
        try:
            await asyncio.to_thread(self._spool.sync)
        except OSError as error:
            self._fail(error)
        self._spool.close()

    async def _move(self) -> bool:
        """Move one block, if that is called for. OSError."""
        if self._is_stopping:
            return False
        if self._should_spill():
            await self._spill()
        elif self._should_replay():
            await self._replay()
        else:
            return False
        return True

    def _should_spill(self) -> bool:
        if not len(self._memory) or self._memory.size < self._spill_size:
            return False
        if self._sender.connection is None:
            return True
        return self._spool.has_unread and self._spool.has_room(self._memory.size)

    def _should_replay(self) -> bool:
        is_wanted = self._sender.connection is not None and self._sender.outbox.size < _BLOCK
        return is_wanted and self._spool.has_unread

    async def _spill(self) -> None:
        """Write the oldest block of memory to disk. OSError."""
        batches = self._memory.peek(_BLOCK)
        done = await self._call(self._spool.append, batches)
        self._ledger.spool(batches[: done.count])
        self._ledger.lose_spooled("spool_full", done.dropped_points, done.dropped_bytes)
        self._memory.drop(done.count)
        if done.count and not self._is_in_use:
            self._is_in_use = True
            log.info("relay: points go to the spool now, as the destination is away")
        if done.error is not None:
            raise done.error
        if done.dropped_points:
            self._tell("the spool is full, its oldest points are dropped")

    async def _replay(self) -> None:
        """Read the next block from disk. OSError."""
        block = await self._call(self._spool.read, _BLOCK)
        self._sender.outbox.extend(block.batches)
        self._ledger.lose_spooled("spool_damaged", block.lost_points, block.lost_bytes)
        if not self._spool.has_unread:
            self._is_in_use = False
            self._trouble = self._told = ""
            log.info("relay: the spool is empty again")

    async def _tidy(self) -> None:
        """What is due at each tick. OSError."""
        self._is_due = False
        self._ticks_away = self._ticks_away + 1 if self._sender.connection is None else 0
        if self._spool.is_open:
            await self._take_losses()
        if not self._spool.is_open:
            await self._open()
        while self._is_long_away() and len(self._memory):
            await self._spill()
        await self._call(self._spool.sync)
        await self._call(self._spool.release, self._sender.oldest_segment)

    async def _take_losses(self) -> None:
        """Count what is gone from the directory, or with it. OSError."""
        points, size = await self._call(self._spool.take_losses)
        if points or not self._spool.is_open:
            self._ledger.lose_spooled("spool_removed", points, size)
            log.error("relay spool: files or all of it were removed, with %d points that were not sent yet", points)

    def _is_long_away(self) -> bool:
        """Whether the destination is away for so long that what waits in memory is better kept on disk."""
        if self._sender.connection is not None:
            return False
        return self._spool.has_unread or self._ticks_away >= _LONG_AWAY

    async def _call(
        self, function: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """Run one of the spool's methods on a thread; until its end, the order of batches is not to be touched."""
        self._is_busy = True
        try:
            return await asyncio.to_thread(function, *arguments, **named)
        finally:
            self._is_busy = False

    def _fail(self, error: OSError) -> None:
        """Count a failure of the disk; until the next tick nothing is tried."""
        self._ledger.fail("spool")
        self._is_failing = True
        self._tell(f"the disk fails: {error.strerror or error}")

    def _tell(self, problem: str) -> None:
        """Say this, unless it was said last."""
        self._is_troubled, self._trouble = True, problem
        if problem != self._told:
            log.error("relay spool: %s", problem)
            self._told = problem
