"""How a caller waits for its turn, and what it is told while nobody can be asked."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

from tenacity import RetryCallState
from tenacity.wait import wait_base

from carbonquota.client.limiter.queue import ChargeQueue
from carbonquota.client.limiter.values import LimiterAwayError, LimiterVerdict


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

    @property
    def keeps(self) -> ChargeQueue | None:
        """Where charges are kept: of what is denied there are none."""
        return self.queue if self.answer == "allow" else None

    def verdict(self, complaint: str) -> LimiterVerdict:
        """What a question is answered while no node is there; LimiterAwayError where that shall be told."""
        if self.answer == "raise":
            raise LimiterAwayError(f"no node of the limiter answers: {complaint}")
        allowed = self.answer == "allow"
        return LimiterVerdict(allowed, retry_after=0.0 if allowed else None, is_fallback=True)


def is_worth_waiting(verdict: LimiterVerdict) -> bool:
    """Whether asking again may be answered otherwise."""
    return not verdict.allowed and (verdict.retry_after is not None or verdict.is_fallback)


class RetryAfter(wait_base):
    """Waits what the limiter says, or longer each time, and a random part of it more."""

    def __init__(self, retry: RetryPolicy) -> None:
        """As long as `retry` says."""
        self._policy = retry

    def __call__(self, retry_state: RetryCallState) -> float:
        """The seconds until the next try."""
        retry = self._policy
        verdict: Any = retry_state.outcome.result() if retry_state.outcome is not None else None
        told = verdict.retry_after if verdict is not None else None
        grown = min(retry.first * 2.0 ** (retry_state.attempt_number - 1), retry.longest)
        wait = max(told or 0.0, grown)
        return wait * (1 + random.random() * retry.jitter)  # noqa: S311 - no secret


def last_verdict(state: RetryCallState) -> LimiterVerdict:
    """The verdict to give where there is no more time to ask."""
    verdict: LimiterVerdict = state.outcome.result()  # type: ignore[union-attr]
    return verdict
