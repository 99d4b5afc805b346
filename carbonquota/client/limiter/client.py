"""The limiter's client: one question or many, of the node that keeps the counts, or of nobody while all are away."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from tenacity import RetryCallState, Retrying, retry_if_result, stop_before_delay
from tenacity.wait import wait_base

from carbonquota.client.limiter.nodes import Nodes
from carbonquota.client.limiter.queue import ChargeQueue
from carbonquota.client.limiter.values import LimiterAwayError, LimiterVerdict, Question
from carbonquota.client.limiter.wire import DocumentSender
from carbonquota.errors import InputError

_BATCH: Final = 500
"""Questions that go in one request."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a caller that wants to pass waits for it: up to `seconds` in all.

    It waits what the limiter says, or else from `first` seconds on, doubled each time up to `longest`; and a random
    part of that more, so that those who were refused together do not come again together.
    """

    seconds: float
    first: float = 0.1
    longest: float = 10.0
    jitter: float = 0.25


@dataclass(frozen=True, slots=True)
class Fallback:
    """What is answered while no node can be asked; with a `queue`, what was let pass is charged when one is back."""

    answer: Literal["allow", "deny", "raise"] = "allow"
    queue: ChargeQueue | None = None


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
            retry=retry_if_result(_is_worth_waiting),
            wait=_RetryAfter(retry),
            stop=stop_before_delay(retry.seconds),
            sleep=self._sleep,
            retry_error_callback=_last_verdict,
        )
        verdict: LimiterVerdict = retrying(lambda: self.check_many([question])[0])
        return verdict

    def check_many(self, questions: Sequence[Question]) -> list[LimiterVerdict]:
        """The verdict of each, in their order; those of one node go in one request."""
        verdicts: dict[int, LimiterVerdict] = {}
        away: list[int] = []
        complaint = ""
        for nodes, positions in self._by_nodes(questions).items():
            for start in range(0, len(positions), _BATCH):
                part = positions[start : start + _BATCH]
                try:
                    verdicts.update(zip(part, self._ask(nodes, [questions[at] for at in part]), strict=True))
                except LimiterAwayError as error:
                    complaint = str(error)
                    away += part
        if away:
            verdict = self._answer_alone([questions[at] for at in away], complaint)
            verdicts.update(dict.fromkeys(away, verdict))
        elif self._fallback.queue is not None and questions:
            self.replay(self._fallback.queue)
        return [verdicts[at] for at in range(len(questions))]

    def release(self, question: Question, verdict: LimiterVerdict) -> None:
        """Tell that a request is done; its places among those in flight run out by themselves where this fails."""
        if verdict.leases:
            for node in self._nodes.order(question.key)[:1]:
                try:
                    self._wire.send(node, "/v1/release", {"leases": verdict.leases})
                except LimiterAwayError:
                    self._nodes.failed(node)

    def replay(self, queue: ChargeQueue, most: int = _BATCH) -> int:
        """Make charges that wait, the oldest first; how many were made. Those that are refused are not made again."""
        waiting = queue.first(most)
        if not waiting:
            return 0
        made: list[int] = []
        for nodes, positions in self._by_nodes([question for _, question in waiting]).items():
            try:
                self._ask(nodes, [waiting[at][1] for at in positions])
            except LimiterAwayError:
                continue
            except InputError:
                # What no node will ever take would keep all others waiting.
                queue.dropped += len(positions)
            made += (waiting[at][0] for at in positions)
        queue.remove(made)
        return len(made)

    def _by_nodes(self, questions: Sequence[Question]) -> dict[tuple[str, ...], list[int]]:
        """The positions of questions by the nodes to ask, in the order to ask them in."""
        found: dict[tuple[str, ...], list[int]] = {}
        for at, question in enumerate(questions):
            found.setdefault(self._order(question, at, found), []).append(at)
        return found

    def _order(self, question: Question, at: int, found: dict[tuple[str, ...], list[int]]) -> tuple[str, ...]:
        """The nodes for a question: where any will do, those of the first one, for they go together."""
        if at and not self._nodes.is_sharded:
            return next(iter(found))
        return tuple(self._nodes.order(question.key))

    def _ask(self, nodes: Sequence[str], questions: Sequence[Question]) -> list[LimiterVerdict]:
        """The verdicts of the first node that answers; LimiterAwayError where none does."""
        document = {"questions": [question.document() for question in questions]}
        complaints = []
        for node in nodes:
            try:
                answer = self._wire.send(node, "/v1/check", document)
                verdicts = [LimiterVerdict.of(one) for one in answer["verdicts"]]
            except LimiterAwayError as error:
                self._nodes.failed(node)
                complaints.append(str(error))
            except (TypeError, KeyError):
                self._nodes.failed(node)
                complaints.append(f"{node}: what answers there is no limiter")
            else:
                self._nodes.succeeded(node)
                return verdicts
        raise LimiterAwayError("; ".join(complaints) or "no address of the limiter's nodes is known")

    def _answer_alone(self, questions: Sequence[Question], complaint: str) -> LimiterVerdict:
        """What the fallback says; charges are kept where it lets pass."""
        if self._fallback.answer == "raise":
            raise LimiterAwayError(f"no node of the limiter answers: {complaint}")
        allowed = self._fallback.answer == "allow"
        if allowed and self._fallback.queue is not None:
            self._fallback.queue.put(questions)
        return LimiterVerdict(allowed, retry_after=0.0 if allowed else None, is_fallback=True)


def _is_worth_waiting(verdict: LimiterVerdict) -> bool:
    return not verdict.allowed and (verdict.retry_after is not None or verdict.is_fallback)


class _RetryAfter(wait_base):
    """Waits what the limiter says, or longer each time, and a random part of it more."""

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry

    def __call__(self, retry_state: RetryCallState) -> float:
        retry = self._retry
        verdict: Any = retry_state.outcome.result() if retry_state.outcome is not None else None
        told = verdict.retry_after if verdict is not None else None
        grown = min(retry.first * 2.0 ** (retry_state.attempt_number - 1), retry.longest)
        wait = max(told or 0.0, grown)
        return wait * (1 + random.random() * retry.jitter)  # noqa: S311 - no secret


def _last_verdict(state: RetryCallState) -> LimiterVerdict:
    verdict: LimiterVerdict = state.outcome.result()  # type: ignore[union-attr]
    return verdict
