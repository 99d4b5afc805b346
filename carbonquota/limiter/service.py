"""The limiter: a request's descriptors matched to rules, decided as one, answered, and counted.

A request passes if all of its descriptors do, and is then charged to all of their limits; where one refuses, none is
charged, unless its rule says so. Before the limits come the lists: who is denied never passes, who is allowed always
does, and who was blocked too often does not for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from carbonquota.limiter.abuse import BanEvent, Bans, Brownout, Offenders
from carbonquota.limiter.charge import NOTHING, ChargeKind, Counters, Decision, KeyedLimit
from carbonquota.limiter.counters import local_counters, make_counts, make_decider
from carbonquota.limiter.later import settling
from carbonquota.limiter.model import Answer, Descriptor, Entry, Request
from carbonquota.limiter.plan import KnownPlans, RequestPlan, banned, client_of, identity_of, listed, tier_of
from carbonquota.limiter.rules import Domain, DomainRules
from carbonquota.limiter.rules.model import SEPARATOR
from carbonquota.limiter.stats import Sample
from carbonquota.model import Clock


class Limiter:
    """Decides on requests by rules. Safe to use from any thread.

    `counts` tells what was decided, `offenders` who is blocked most, `bans` who is denied for a while, and `brownout`
    multiplies the limits of a tier.
    """

    def __init__(
        self,
        rules: DomainRules,
        *,
        counters: Counters | None = None,
        clock: Clock = time.time,
        on_ban: Callable[[BanEvent], object] | None = None,
    ) -> None:
        """Count in this process, unless `counters` are given; `clock` gives seconds since the epoch."""
        self._rules = rules
        self._plans = KnownPlans()
        self._counters = local_counters(clock) if counters is None else counters
        self.counts = make_counts()
        self.offenders = Offenders()
        self.bans = Bans(clock, on_ban)
        self.brownout = Brownout(clock)
        self._decider = make_decider(
            self._counters, self.counts, self.bans, self.brownout, self._refused, self._check_in_steps
        )
        if self._decider is not None:
            # A call in between takes a tenth of the time of the whole check.
            self.check = self._decider.check  # type: ignore[method-assign]
            self.check_one = self._decider.check_one  # type: ignore[method-assign]
            self.allows = self._decider.allows  # type: ignore[method-assign]
        self.apply(rules)

    @property
    def is_local(self) -> bool:
        """Whether `check` never waits for a store, so that an event loop may call it."""
        return self._counters.is_local

    @property
    def rules(self) -> DomainRules:
        """The rules in force."""
        return self._rules

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong now, for health; empty where all is well."""
        return self._counters.troubles

    def check(self, request: Request) -> Answer:
        """Whether a request passes; if it does, it is charged to all of its limits, else to none."""
        return self._check_in_steps(request)

    def check_one(self, domain: str, entries: tuple[Entry, ...], hits: int = 1) -> Answer:
        """The same for a request that has one descriptor and tells nothing else, which need not be made."""
        return self._check_in_steps(Request(domain, (Descriptor(entries),), hits))

    def allows(self, domain: str, entries: tuple[Entry, ...], hits: int = 1) -> bool:
        """The same, where nothing is wanted but whether it passes."""
        return self._check_in_steps(Request(domain, (Descriptor(entries),), hits)).allowed

    def _check_in_steps(self, request: Request) -> Answer:
        domain, tier = self._rules.domains.get(request.domain), tier_of(request)
        answer = self._listed(domain, request)
        if answer is not None:
            return self._counted(domain, request, tier, answer, is_listed=True)
        plan = self._plan(domain, request, tier)
        answer = plan.answer(self._counters.decide(plan.charges) if plan.charges else NOTHING)
        return self._counted(domain, request, tier, answer)

    async def check_async(self, request: Request) -> Answer:
        """The same, for an event loop."""
        if self.is_local:
            return self.check(request)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        settle = settling(future)

        def done(made: Answer | Exception) -> None:
            if future.cancelled() and not isinstance(made, Exception) and made.leases:
                # Whoever asked has given up, so nobody is in flight.
                loop.run_in_executor(None, self.release, made)
            settle(made)

        answer = self.check_soon(request, done)
        return await future if answer is None else answer

    def check_soon(self, request: Request, done: Callable[[Answer | Exception], object]) -> Answer | None:
        """The same without a coroutine: None where a store is asked first, and `done` is called with the answer then.

        What `done` is called with may be an exception, which is a bug.
        """
        if self.is_local:
            return self.check(request)
        plan = None if self.bans or self.brownout.switches else self._plans.unlisted(request)
        if plan is not None:
            domain, tier = plan.domain, plan.tier
        else:
            domain, tier = self._rules.domains.get(request.domain), tier_of(request)
            answer = self._listed(domain, request)
            if answer is not None:
                return self._counted(domain, request, tier, answer, is_listed=True)
            plan = self._plan(domain, request, tier)

        def decided(decision: Decision | Exception) -> None:
            made: Answer | Exception
            if isinstance(decision, Exception):
                made = decision
            else:
                try:
                    made = self._counted(domain, request, tier, plan.answer(decision))
                except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
                    made = error
            done(made)

        decision = self._counters.decide_soon(plan.charges, decided) if plan.charges else NOTHING
        return None if decision is None else self._counted(domain, request, tier, plan.answer(decision))

    def check_many(self, requests: Sequence[Request]) -> list[Answer]:
        """The same for several, in their order, each by itself."""
        return [self.check(request) for request in requests]

    def keyed(self, domain: str, key: str, tier: str = "") -> KeyedLimit:
        """Checks by value of a rule for this key alone, for where each nanosecond counts; KeyError where there is none.

        They share the rule's counters, and are of the limit as it is now: to be asked for anew after a reload. Nobody
        is looked for on lists, and nothing is counted but hits; a value of more than some 150 characters, or with
        control characters, has a counter of its own. A rule with several limits, or a shadow, has none.
        """
        rules = self._rules.domains[domain]
        node = rules.root.keys[key]
        grants = node.rule.grants_of(tier) if node.rule is not None else ()
        if (
            node.rule is None
            or len(grants) != 1
            or node.rule.kind & (ChargeKind.SHADOW | ChargeKind.CHARGE_DENIED)
            or node.shared
        ):
            raise KeyError(f"{domain}.{key} has not one plain limit")
        prefix = SEPARATOR.join((domain, key, ""))
        return self._counters.keyed(grants[0].policy, prefix, f"{SEPARATOR}{grants[0].suffix}")

    def peek(self, request: Request) -> Answer:
        """What the answer would be to a request without hits: what is left of each limit; nothing is charged."""
        domain, tier = self._rules.domains.get(request.domain), tier_of(request)
        answer = self._listed(domain, request)
        if answer is not None:
            return answer
        plan = self._plan(domain, request, tier)
        charges = [charge._replace(hits=0) for charge in plan.charges]
        return plan.answer(self._counters.decide(charges) if charges else NOTHING)

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

    def apply(self, rules: DomainRules) -> None:
        """Decide by other rules from here on; what was counted stays counted."""
        self._rules = rules
        self._plans = KnownPlans()
        if self._decider is not None:
            self._decider.apply(rules)

    def samples(self) -> Iterator[Sample]:
        """How the limiter is, and what it decided."""
        yield Sample("limiter_rules", len(self._rules.rules()))
        yield from self.counts.samples()
        yield from self._counters.samples()
        yield from self.bans.samples()
        yield from self.brownout.samples()

    def close(self) -> None:
        """Let go of connections."""
        self._counters.close()

    def _listed(self, domain: Domain | None, request: Request) -> Answer | None:
        """The answer to who is on a list; None for all others."""
        answer = listed(domain, request) if domain is not None else None
        if answer is None and self.bans and (left := self.bans.left(identity_of(request))):
            return banned(request, left)
        return answer

    def _plan(self, domain: Domain | None, request: Request, tier: str) -> RequestPlan:
        if self.brownout.switches and (factor := self.brownout.factor(tier)) is not None:
            return RequestPlan(domain, request, tier, lambda one: self.brownout.dimmed(one, factor))
        return self._plans.of(domain, request, tier)

    def _counted(
        self, domain: Domain | None, request: Request, tier: str, answer: Answer, *, is_listed: bool = False
    ) -> Answer:
        """Count what was decided, and see to who was blocked too often."""
        self.counts.note(answer.statuses, request.route, tier)
        if not answer.allowed:
            # Who is on a list anyway is not denied for longer by asking again.
            self._refused(None if is_listed else domain, request)
        return answer

    def _refused(self, domain: Domain | None, request: Request) -> None:
        """Note who did not pass, and deny whom the domain denies; nobody is denied for what others share."""
        self.offenders.note(client_of(request))
        if domain is not None and domain.ban is not None and (client := identity_of(request)):
            self.bans.note_blocked(client, domain.ban)
