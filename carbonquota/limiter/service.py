"""The limiter: a request's descriptors matched to rules, decided as one, and answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from carbonquota.limiter.algorithms import Algorithm, Outcome, policy_of
from carbonquota.limiter.algorithms.policy import NEVER
from carbonquota.limiter.charge import NOTHING, Charge, Counters, Decision, Kind
from carbonquota.limiter.model import Answer, Code, Descriptor, Lease, Limit, Reason, Request, Status
from carbonquota.limiter.reference import PlainCounters
from carbonquota.limiter.rules import Grant, Match, Rule, RuleSet
from carbonquota.limiter.rules.model import SEPARATOR, counter_key
from carbonquota.model import Clock

_NO_RULE: Final = Status(Code.OK, Reason.NO_RULE)


class Limiter:
    """Decides on requests by rules. Safe to use from any thread."""

    def __init__(self, rules: RuleSet, *, counters: Counters | None = None, clock: Clock = time.time) -> None:
        """Count in this process, unless `counters` are given; `clock` gives seconds since the epoch."""
        self._rules = rules
        self._counters = counters or PlainCounters(clock)

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._rules

    def check(self, request: Request) -> Answer:
        """Whether a request passes; if it does, it is charged to all of its limits, else to none."""
        return self._answer(request)

    async def check_async(self, request: Request) -> Answer:
        """The same, for an event loop."""
        return self._answer(request)

    def check_many(self, requests: Sequence[Request]) -> list[Answer]:
        """The same for several, in their order, each by itself."""
        return [self._answer(request) for request in requests]

    def release(self, answer: Answer) -> None:
        """Tell that a request is done: its places among those in flight are free again."""
        for lease in answer.leases:
            self._counters.release(lease.key, lease.token)

    async def release_async(self, answer: Answer) -> None:
        """The same, for an event loop."""
        self.release(answer)

    def apply(self, rules: RuleSet) -> None:
        """Decide by other rules from here on."""
        self._rules = rules

    def close(self) -> None:
        """End what runs in the background."""

    def _answer(self, request: Request) -> Answer:
        plan = _Plan(self._rules, request)
        decision = self._counters.decide(plan.charges) if plan.charges else NOTHING
        return plan.answer(decision)


class _Plan:
    """The charges of a request, and the answer behind them."""

    __slots__ = ("_limits", "_matches", "_request", "_spans", "charges")

    def __init__(self, rules: RuleSet, request: Request) -> None:
        self._request = request
        domain = rules.domains.get(request.domain)
        self._matches = [self._match(domain.match(one) if domain else None, one) for one in request.descriptors]
        self.charges: list[Charge] = []
        self._limits: list[Limit] = []
        self._spans: list[tuple[int, int]] = []
        for descriptor, match in zip(request.descriptors, self._matches, strict=True):
            first = len(self.charges)
            if match is not None and not match.rule.unlimited:
                self._charge(descriptor, match)
            self._spans.append((first, len(self.charges)))

    def _match(self, match: Match | None, descriptor: Descriptor) -> Match | None:
        """The match, or what the descriptor's own limit makes of it."""
        if descriptor.limit is None:
            return match
        limit = descriptor.limit
        name = ".".join(
            (self._request.domain, *(f"{key}_{value}" if value else key for key, value in descriptor.entries))
        )
        grant = Grant(limit, policy_of(Algorithm.FIXED_WINDOW, limit.requests, limit.seconds))
        return Match(Rule(name, (grant,)), counter_key(self._request.domain, descriptor.entries))

    def _charge(self, descriptor: Descriptor, match: Match) -> None:
        rule, request = match.rule, self._request
        hits = request.hits if descriptor.hits is None else descriptor.hits
        kind = (Kind.SHADOW if rule.shadow else 0) | (Kind.CHARGE_DENIED if rule.charge_denied else 0)
        for grant in rule.grants_of(request.tier):
            key = SEPARATOR.join((match.key, grant.name)) if grant.name else match.key
            self.charges.append(Charge(key, grant.policy, hits * grant.cost, kind))
            self._limits.append(grant.limit)

    def answer(self, decision: Decision) -> Answer:
        """The answer that a decision makes."""
        statuses = tuple(
            self._status(match, first, last, decision)
            for match, (first, last) in zip(self._matches, self._spans, strict=True)
        )
        is_over = any(
            status.is_over and not (match and match.rule.quota_mode)
            for status, match in zip(statuses, self._matches, strict=True)
        )
        challenge = any(
            status.is_over and match is not None and match.rule.challenge
            for status, match in zip(statuses, self._matches, strict=True)
        )
        leases = tuple(self._lease(at, token) for at, token in decision.tokens.items())
        return Answer(Code.OVER_LIMIT if is_over else Code.OK, statuses, challenge, leases)

    def _lease(self, at: int, token: int) -> Lease:
        charge = self.charges[at]
        return Lease(charge.key, charge.key, token, charge.hits)

    def _status(self, match: Match | None, first: int, last: int, decision: Decision) -> Status:
        if match is None:
            return _NO_RULE
        rule = match.rule
        if first == last:
            return Status(Code.OK, Reason.UNLIMITED, rule=rule.name)
        at = min(range(first, last), key=lambda at: _order(decision.outcomes[at]))
        outcome = decision.outcomes[at]
        is_over = not outcome.fits
        refuses = is_over and not rule.shadow
        return Status(
            Code.OVER_LIMIT if refuses else Code.OK,
            Reason.OVER if is_over else Reason.UNDER,
            self._limits[at],
            outcome.remaining,
            outcome.reset / 1e6,
            _wait(outcome) if refuses else 0.0,
            is_over and rule.shadow,
            rule.name,
        )


def _order(outcome: Outcome) -> tuple[bool, int]:
    """What is lowest for the limit of a rule that a client should be told of."""
    if outcome.fits:
        return True, outcome.remaining
    return False, -outcome.retry if outcome.retry != NEVER else -(2**63)


def _wait(outcome: Outcome) -> float | None:
    return None if outcome.retry == NEVER else outcome.retry / 1e6
