"""The store asked from an event loop: by a connection of the loop's own, or by the client library in threads.

The library looks for the server itself behind sentinels and in a cluster; there, those who come while it is being asked
go together in the next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from carbonquota.cluster.store import StoreError
from carbonquota.limiter.charge import Charge, Decision
from carbonquota.limiter.stores.calls import BLOB, StoreCalls, error_of, lacks_functions
from carbonquota.limiter.stores.pipeline import Diagnosed, Pipeline, taken_over, tell

Done = Callable[[Decision | Exception], object]
"""Is told of a decision; a StoreError says that there is none, and any other exception is a bug."""


class AsyncCalls(Protocol):
    """Decides in the store, on one event loop."""

    def ask(self, charges: Sequence[Charge], done: Done) -> None:
        """Make all charges or none, and tell."""

    def close(self) -> None:
        """Let go of connections."""


class PipelinedCalls:
    """By one connection of the loop's own."""

    def __init__(self, calls: StoreCalls, connect: Callable[[], Any], timeout: float, diagnosed: Diagnosed) -> None:
        """`connect` makes connections of the client library, which are not open yet."""
        self._calls = calls
        self._pipeline = Pipeline(lambda: taken_over(connect()), timeout, BLOB, diagnosed)
        self._again: list[tuple[Sequence[Charge], Done]] = []
        self._loading: asyncio.Task[None] | None = None

    def ask(self, charges: Sequence[Charge], done: Done) -> None:
        """Make all charges or none, and tell."""
        self._pipeline.ask(self._calls.command_of(charges), partial(self._take, charges, done))

    def _take(self, charges: Sequence[Charge], done: Done, answer: object) -> None:
        if lacks_functions(answer):
            self._again.append((charges, done))
            if self._loading is None:
                self._loading = asyncio.get_running_loop().create_task(self._load())
        else:
            done(self._decided(charges, answer))

    async def _load(self) -> None:
        """Load the functions, once for all who find that they are missing, who then ask again."""
        trouble: Exception | None = None
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._calls.load)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it, whatever it is
            trouble = error
        self._loading = None
        again, self._again = self._again, []
        for charges, done in again:
            if trouble is not None:
                done(trouble)
            else:
                self._pipeline.ask(self._calls.command_of(charges), partial(self._take_last, charges, done))

    def _take_last(self, charges: Sequence[Charge], done: Done, answer: object) -> None:
        done(self._decided(charges, answer))

    def _decided(self, charges: Sequence[Charge], answer: object) -> Decision | Exception:
        if isinstance(answer, StoreError):
            return answer
        if isinstance(answer, Exception):
            return error_of(answer)
        try:
            return self._calls.decision_of(charges, answer)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            return error

    def close(self) -> None:
        """Let go of the connection."""
        self._pipeline.close()


class GatheredCalls:
    """By the client library, in a thread."""

    def __init__(self, calls: StoreCalls) -> None:
        """Nothing is asked yet."""
        self._calls = calls
        self._gathered: list[tuple[Sequence[Charge], Done]] = []
        self._flusher: asyncio.Task[None] | None = None

    def ask(self, charges: Sequence[Charge], done: Done) -> None:
        """Make all charges or none, and tell."""
        self._gathered.append((charges, done))
        if self._flusher is None or self._flusher.done():
            loop = asyncio.get_running_loop()
            self._flusher = loop.create_task(self._flush(loop))

    async def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Round trips for all that is gathered, until there is nothing."""
        while self._gathered:
            gathered, self._gathered = self._gathered, []
            several = [charges for charges, _ in gathered]
            answers: Sequence[Decision | Exception]
            try:
                answers = await loop.run_in_executor(None, self._calls.decide_many, several)
            except Exception as error:  # noqa: BLE001 - whoever waits hears of it, whatever it is
                answers = [error] * len(gathered)
            for (_, done), answer in zip(gathered, answers, strict=True):
                tell(loop, (done,), answer)

    def close(self) -> None:
        """The connections are those of the calls."""
