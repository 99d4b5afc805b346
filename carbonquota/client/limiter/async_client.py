"""The limiter's client for asyncio: the same questions, retries, fallback and queue as the other's.

What several tasks ask in one turn of the event loop goes in one request: a program with a thousand requests in hand
asks the limiter twice, not a thousand times. What may block, a file or a look-up of names, is done on another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Self

from tenacity import AsyncRetrying, retry_if_result, stop_before_delay

from carbonquota.client.limiter.async_wire import AsyncDocumentSender
from carbonquota.client.limiter.exchange import BATCH, RELEASE, CheckResults, SentDocument, batches, replayed
from carbonquota.client.limiter.nodes import Nodes
from carbonquota.client.limiter.queue import ChargeQueue
from carbonquota.client.limiter.retries import Fallback, RetryAfter, RetryPolicy, is_worth_waiting, last_verdict
from carbonquota.client.limiter.values import LimiterAwayError, LimiterVerdict, Question
from carbonquota.errors import QuotaError

_Asked = tuple[Question, "asyncio.Future[LimiterVerdict]"]


class AsyncLimiterClient:
    """Asks the limiter. Used on one event loop."""

    def __init__(
        self,
        nodes: Nodes | Sequence[str],
        *,
        timeout: float = 0.25,
        fallback: Fallback | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """A node may take `timeout` seconds; then the next is asked, and at the end the `fallback` answers."""
        self._nodes = nodes if isinstance(nodes, Nodes) else Nodes(nodes)
        self._wire = AsyncDocumentSender(timeout)
        self._fallback = fallback or Fallback()
        self._sleep = sleep
        self._asked: list[_Asked] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._replaying = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Close it behind the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Have all that was asked answered, and let go of its connections."""
        await asyncio.gather(*self._tasks)
        await self._wire.close()

    async def check(self, question: Question, retry: RetryPolicy | None = None) -> LimiterVerdict:
        """Whether a request may pass: asked once, unless `retry` says to wait and to ask again while it may not."""
        if retry is None:
            return await self._check_together(question)
        retrying = AsyncRetrying(
            retry=retry_if_result(is_worth_waiting),
            wait=RetryAfter(retry),
            stop=stop_before_delay(retry.seconds),
            sleep=self._sleep,
            retry_error_callback=last_verdict,
        )
        verdict: LimiterVerdict = await retrying(self._check_together, question)
        return verdict

    async def check_many(self, questions: Sequence[Question]) -> list[LimiterVerdict]:
        """The verdict of each, in their order; those of one node go in one request, and all nodes are asked at once.

        InputError where one of them is no question: the others are charged all the same.
        """
        return (await self._answered(questions)).all_verdicts()

    async def release(self, question: Question, verdict: LimiterVerdict) -> None:
        """Tell that a request is done; its places among those in flight run out by themselves where this fails."""
        if verdict.leases:
            await self._look_up()
            for node in self._nodes.order(question.key)[:1]:
                try:
                    await self._wire.send(SentDocument(node, RELEASE, {"leases": verdict.leases}))
                except LimiterAwayError:
                    self._nodes.failed(node)

    async def replay(self, queue: ChargeQueue, most: int = BATCH) -> int:
        """Make charges that wait, the oldest first; how many were made. Those that are refused are not made again."""
        # One at a time, for two would make the same charges.
        async with self._replaying:
            waiting = await asyncio.to_thread(queue.first, most)
            results = await self._ask_all([question for _, question in waiting])
            return await asyncio.to_thread(replayed, queue, [number for number, _ in waiting], results)

    async def _check_together(self, question: Question) -> LimiterVerdict:
        """Its verdict, asked with all that is asked in this turn of the loop."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[LimiterVerdict] = loop.create_future()
        self._asked.append((question, answer))
        if len(self._asked) == 1:
            loop.call_soon(self._ask_together)
        return await answer

    def _ask_together(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.ensure_future(self._answer(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        """Give each its verdict, or the error that is its own; whoever waits no more is passed over."""
        try:
            results = await self._answered([question for question, _ in asked])
        except Exception as error:  # noqa: BLE001 - it is each caller's to see
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for at, (_, answer) in enumerate(asked):
            if answer.done():
                continue
            if at in results.refused:
                answer.set_exception(results.refused[at])
            else:
                answer.set_result(results.verdicts[at])

    async def _answered(self, questions: Sequence[Question]) -> CheckResults:
        """All that became of some questions; LimiterAwayError where the fallback says so."""
        results = await self._ask_all(questions)
        results.answer_alone(self._fallback)
        queue = self._fallback.keeps
        if queue is not None and results.away:
            await asyncio.to_thread(queue.put, results.unanswered)
        elif queue is not None and queue.may_hold_charges and not self._replaying.locked():
            await self.replay(queue)
        return results

    async def _ask_all(self, questions: Sequence[Question]) -> CheckResults:
        results = CheckResults(questions)
        await self._look_up()
        found = batches(self._nodes, questions)
        await asyncio.gather(*(self._run(results.ask_batch(self._nodes, batch)) for batch in found))
        return results

    async def _look_up(self) -> None:
        if self._nodes.is_due():
            await asyncio.to_thread(self._nodes.refresh)

    async def _run(self, exchange: Generator[SentDocument, Any, None]) -> None:
        """Send what an exchange wants to be sent, until it ends."""
        try:
            sent = next(exchange)
            while True:
                try:
                    answer = await self._wire.send(sent)
                except QuotaError as error:
                    sent = exchange.throw(error)
                else:
                    sent = exchange.send(answer)
        except StopIteration:
            return
