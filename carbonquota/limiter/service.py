"""The limiter: a request's descriptors matched to rules, decided as one, and answered.

A request passes if all of its descriptors do, and is then charged to all of their limits; where one refuses, none is
charged, unless its rule says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from carbonquota.limiter.charge import NOTHING, Counters
from carbonquota.limiter.model import Answer, Request
from carbonquota.limiter.plan import Plan, listed
from carbonquota.limiter.reference import PlainCounters
from carbonquota.limiter.rules import RuleSet
from carbonquota.model import Clock


class Limiter:
    """Decides on requests by rules. Safe to use from any thread."""

    def __init__(self, rules: RuleSet, *, counters: Counters | None = None, clock: Clock = time.time) -> None:
        """Count in this process, unless `counters` are given; `clock` gives seconds since the epoch."""
        self._rules = rules
        self._counters = counters or PlainCounters(clock)

    @property
    def is_local(self) -> bool:
        """Whether `check` never waits for a store, so that an event loop may call it."""
        return self._counters.is_local

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._rules

    def check(self, request: Request) -> Answer:
        """Whether a request passes; if it does, it is charged to all of its limits, else to none."""
        plan = self._plan(request)
        if isinstance(plan, Answer):
            return plan
        return plan.answer(self._counters.decide(plan.charges) if plan.charges else NOTHING)

    async def check_async(self, request: Request) -> Answer:
        """The same, for an event loop."""
        plan = self._plan(request)
        if isinstance(plan, Answer):
            return plan
        return plan.answer(await self._counters.decide_async(plan.charges) if plan.charges else NOTHING)

    def _plan(self, request: Request) -> Plan | Answer:
        """What a request is to be charged, or the answer to who is on a list."""
        domain = self._rules.domains.get(request.domain)
        if domain is not None and (answer := listed(domain, request)) is not None:
            return answer
        return Plan(domain, request)

    def check_many(self, requests: Sequence[Request]) -> list[Answer]:
        """The same for several, in their order, each by itself."""
        return [self.check(request) for request in requests]

    def release(self, answer: Answer) -> None:
        """Tell that a request is done: its places among those in flight are free again."""
        for lease in answer.leases:
            self._counters.release(lease)

    async def release_async(self, answer: Answer) -> None:
        """The same, for an event loop."""
        if self.is_local or not answer.leases:
            self.release(answer)
        else:
            await asyncio.to_thread(self.release, answer)

    def apply(self, rules: RuleSet) -> None:
        """Decide by other rules from here on; what was counted stays counted."""
        self._rules = rules

    def close(self) -> None:
        """Let go of connections."""
        self._counters.close()
