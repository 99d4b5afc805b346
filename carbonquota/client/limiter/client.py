"""The limiter's client: one question or many, of the node that keeps the counts, or of nobody while all are away."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Self

from tenacity import Retrying, retry_if_result, stop_before_delay

from carbonquota.client.limiter.exchange import BATCH, RELEASE, CheckResults, SentDocument, batches, replayed
from carbonquota.client.limiter.nodes import Nodes
from carbonquota.client.limiter.queue import ChargeQueue
from carbonquota.client.limiter.retries import Fallback, RetryAfter, RetryPolicy, is_worth_waiting, last_verdict
from carbonquota.client.limiter.values import LimiterAwayError, LimiterVerdict, Question
from carbonquota.client.limiter.wire import DocumentSender
from carbonquota.errors import QuotaError


class LimiterClient:
    """Asks the limiter. May be used from any thread."""

    def __init__(
        self,
        nodes: Nodes | Sequence[str],
        *,
        timeout: float = 0.25,
        fallback: Fallback | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """A node may take `timeout` seconds; then the next is asked, and at the end the `fallback` answers."""
        self._nodes = nodes if isinstance(nodes, Nodes) else Nodes(nodes)
        self._wire = DocumentSender(timeout)
        self._fallback = fallback or Fallback()
        self._sleep = sleep

    def __enter__(self) -> Self:
        """Close it behind the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its connections."""
        self._wire.close()

    def check(self, question: Question, retry: RetryPolicy | None = None) -> LimiterVerdict:
        """Whether a request may pass: asked once, unless `retry` says to wait and to ask again while it may not."""
        if retry is None:
            return self.check_many([question])[0]
        retrying = Retrying(
            retry=retry_if_result(is_worth_waiting),
            wait=RetryAfter(retry),
            stop=stop_before_delay(retry.seconds),
            sleep=self._sleep,
            retry_error_callback=last_verdict,
        )
        verdict: LimiterVerdict = retrying(lambda: self.check_many([question])[0])
        return verdict

    def check_many(self, questions: Sequence[Question]) -> list[LimiterVerdict]:
        """The verdict of each, in their order; those of one node go in one request.

        InputError where one of them is no question: the others are charged all the same.
        """
        results = self._ask_all(questions)
        results.answer_alone(self._fallback)
        queue = self._fallback.keeps
        if queue is not None and results.away:
            queue.put(results.unanswered)
        elif queue is not None and queue.may_hold_charges:
            self.replay(queue)
        return results.all_verdicts()

    def release(self, question: Question, verdict: LimiterVerdict) -> None:
        """Tell that a request is done; its places among those in flight run out by themselves where this fails."""
        if verdict.leases:
            for node in self._nodes.order(question.key)[:1]:
                try:
                    self._wire.send(SentDocument(node, RELEASE, {"leases": verdict.leases}))
                except LimiterAwayError:
                    self._nodes.failed(node)

    def replay(self, queue: ChargeQueue, most: int = BATCH) -> int:
        """Make charges that wait, the oldest first; how many were made. Those that are refused are not made again."""
        waiting = queue.first(most)
        results = self._ask_all([question for _, question in waiting])
        return replayed(queue, [number for number, _ in waiting], results)

    def _ask_all(self, questions: Sequence[Question]) -> CheckResults:
        results = CheckResults(questions)
        for batch in batches(self._nodes, questions):
            self._run(results.ask_batch(self._nodes, batch))
        return results

    def _run(self, exchange: Generator[SentDocument, Any, None]) -> None:
        """Send what an exchange wants to be sent, until it ends."""
        try:
            sent = next(exchange)
            while True:
                try:
                    answer = self._wire.send(sent)
                except QuotaError as error:
                    sent = exchange.throw(error)
                else:
                    sent = exchange.send(answer)
        except StopIteration:
            return
