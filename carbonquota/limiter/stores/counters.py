"""Counters in the store: asked for what this process does not know, and stood in for while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final
from weakref import WeakKeyDictionary

from carbonquota.cluster.store import StoreError, async_connector, connector
from carbonquota.limiter.algorithms import Outcome, Policy, scaled
from carbonquota.limiter.algorithms.policy import refused
from carbonquota.limiter.charge import Charge, ChargeKind, Decision, Done
from carbonquota.limiter.counters import local_counters
from carbonquota.limiter.later import settling
from carbonquota.limiter.model import Lease
from carbonquota.limiter.reference import PlainLimit
from carbonquota.limiter.stats import Sample
from carbonquota.limiter.stores.async_calls import AsyncCalls, GatheredCalls, PipelinedCalls
from carbonquota.limiter.stores.breaker import Breaker
from carbonquota.limiter.stores.calls import StoreCalls
from carbonquota.limiter.stores.memory import Memory
from carbonquota.limiter.stores.outage import Outage
from carbonquota.model import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Which store, and how it is asked; times are in seconds.

    `name` tells those apart that share a server. A call may take `timeout`. `processes` is how many limiters there are,
    for the share of each while the store is away. With `slices`, hits of busy keys are taken ahead, some at a time.
    """

    url: str = "valkey://127.0.0.1:6379"
    name: str = "limits"
    password: str = ""
    timeout: float = 0.1
    processes: int = 1
    slices: bool = True


class StoreCounters:
    """A `Counters` in a store."""

    is_local = False

    def __init__(
        self,
        settings: StoreSettings,
        *,
        connect: Callable[[], Any] | None = None,
        clock: Clock = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is what this process counts by on its own; ValueError where the store's URL is none."""
        self._settings = settings
        self._calls = StoreCalls(connect or connector(settings.url, settings.timeout, settings.password), settings.name)
        self._memory = Memory(monotonic, slices=settings.slices)
        self._breaker = Breaker(monotonic)
        self._own = local_counters(clock)
        self._shares: dict[Policy, Policy] = {}
        self._connect = None if connect else async_connector(settings.url, settings.timeout, settings.password)
        self._asking: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncCalls] = WeakKeyDictionary()
        self._here: tuple[asyncio.AbstractEventLoop, AsyncCalls] | None = None
        self._outage = Outage(monotonic)
        self._changes = self._restarts = 0

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why the store is not asked, where that is so."""
        return (self._outage.trouble,) if self._outage.trouble else ()

    def samples(self) -> Iterator[Sample]:
        """How the store is, and how often it did not have to be asked."""
        yield Sample("limiter_store_up", not self._outage.trouble)
        yield Sample("limiter_store_loads", self._calls.loads)
        yield Sample("limiter_store_restarts", self._calls.restarts)
        yield Sample("limiter_breaker_opened", self._breaker.opened)
        for kind, count in sorted(self._outage.errors.copy().items()):
            yield Sample("limiter_store_errors", count, (kind,))
        yield Sample("limiter_local_answers", self._memory.refusals, ("refused",))
        yield Sample("limiter_local_answers", self._memory.sliced, ("slice",))

    def decide(self, charges: Sequence[Charge]) -> Decision:
        """Make all charges or none."""
        known = self._memory.decide(charges)
        if known is not None:
            return known
        if not self._breaker.lets():
            return self._alone(charges)
        then, asked = self._memory.now(), self._memory.with_slices(charges)
        try:
            decision = self._calls.decide(asked)
            if not decision.passes and asked is not charges:
                then, asked = self._memory.now(), charges
                decision = self._calls.decide(charges)
        except StoreError as error:
            return self._failed(error, charges)
        self._well()
        return self._memory.note(charges, asked, decision, then)

    async def decide_async(self, charges: Sequence[Charge]) -> Decision:
        """The same, for an event loop."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        decision = self.decide_soon(charges, settling(future))
        return await future if decision is None else decision

    def decide_soon(self, charges: Sequence[Charge], done: Done) -> Decision | None:
        """The same; None where the store is asked first, and `done` is told. Nobody waits for those before him."""
        known = self._memory.decide(charges)
        if known is not None:
            return known
        if not self._breaker.lets():
            return self._alone(charges)
        asked = self._memory.with_slices(charges)
        self._async_calls().ask(asked, _Asked(self, charges, asked, self._memory.now(), done))
        return None

    def take(self, one: _Asked, decision: Decision | Exception) -> None:
        """What the store said to a question."""
        made: Decision | Exception = decision
        try:
            if isinstance(decision, Decision):
                if not decision.passes and one.asked is not one.charges:
                    again = _Asked(self, one.charges, one.charges, self._memory.now(), one.done)
                    self._async_calls().ask(one.charges, again)
                    return
                self._well()
                made = self._memory.note(one.charges, one.asked, decision, one.then)
            elif isinstance(decision, StoreError):
                made = self._failed(decision, one.charges)
        except Exception as error:  # noqa: BLE001 - it is raised where the decision is waited for
            made = error
        one.done(made)

    def _async_calls(self) -> AsyncCalls:
        """How the running loop asks."""
        loop = asyncio.get_running_loop()
        if self._here is not None and self._here[0] is loop:
            return self._here[1]
        calls = self._asking.get(loop)
        if calls is None:
            calls = self._asking[loop] = (
                GatheredCalls(self._calls)
                if self._connect is None
                else PipelinedCalls(self._calls, self._connect, self._settings.timeout, self._outage.diagnosed)
            )
        self._here = (loop, calls)
        return calls

    def keyed(self, policy: Policy, prefix: str, suffix: str) -> PlainLimit:
        """Checks by one policy of keys that stand between `prefix` and `suffix`."""
        return PlainLimit(self, policy, prefix, suffix)

    def release(self, lease: Lease) -> None:
        """End a lease; where the store is away, it runs out."""
        self._own.release(lease)
        if self._breaker.lets():
            try:
                self._calls.release(lease)
                self._well()
            except StoreError as error:
                self._note(error)

    def close(self) -> None:
        """Let go of the connections; of those of an event loop on that loop's thread."""
        self._calls.close()
        for calls in list(self._asking.values()):
            calls.close()

    def _well(self) -> None:
        self._breaker.succeeded()
        if self._outage.trouble:
            self._outage.ended()
        if self._changes != self._calls.changes:
            self._note_changes()

    def _note_changes(self) -> None:
        """Say that the store is not as it was, where it was known before."""
        was, self._changes = self._changes, self._calls.changes
        if not was:
            return
        if self._calls.restarts != self._restarts:
            self._restarts = self._calls.restarts
            _log.warning(
                "the store is another run than before: it was restarted, or a replica took over; what it may have "
                "forgotten counts as used up where a rule says fail-closed"
            )
        else:
            _log.warning("the store had lost its functions: they were loaded again")

    def _failed(self, error: StoreError, charges: Sequence[Charge]) -> Decision:
        self._note(error)
        return self._alone(charges)

    def _note(self, error: StoreError) -> None:
        if self._outage.failed(error):
            self._breaker.failed()

    def _alone(self, charges: Sequence[Charge]) -> Decision:
        """Decide without the store: open charges fit, closed ones do not, of the others this process has a share."""
        shared = [
            self._shared(charge)
            for charge in charges
            if not charge.kind & (ChargeKind.FAIL_OPEN | ChargeKind.FAIL_CLOSED)
        ]
        closed = any(charge.kind & ChargeKind.FAIL_CLOSED and not charge.kind & _REFUSES_NOTHING for charge in charges)
        quotas = [charge.kind for charge in charges if charge.kind & ChargeKind.QUOTA]
        if any(kind & ChargeKind.FAIL_OPEN for kind in quotas):
            # One of the quotas has room, so the others refuse nothing.
            shared = [_watched(charge) if charge.kind & ChargeKind.QUOTA else charge for charge in shared]
        elif quotas and all(kind & ChargeKind.FAIL_CLOSED for kind in quotas):
            closed = True
        decided = self._own.decide([] if closed else shared)
        passes = decided.passes and not closed
        outcomes = iter(decided.outcomes)
        found = [
            _open(charge) if charge.kind & ChargeKind.FAIL_OPEN
            else _closed(self._settings.timeout) if charge.kind & ChargeKind.FAIL_CLOSED
            else next(outcomes, None) or _open(charge)
            for charge in charges
        ]  # fmt: skip
        places = [
            at for at, charge in enumerate(charges) if not charge.kind & (ChargeKind.FAIL_OPEN | ChargeKind.FAIL_CLOSED)
        ]
        return Decision(passes, found, {places[at]: token for at, token in decided.tokens.items()}, outage=True)

    def _shared(self, charge: Charge) -> Charge:
        """The charge on this process's share of its limit."""
        if self._settings.processes == 1:
            return charge
        policy = self._shares.get(charge.policy)
        if policy is None:
            policy = self._shares[charge.policy] = scaled(charge.policy, Fraction(1, self._settings.processes))
        return charge._replace(policy=policy)


class _Asked:
    """A question to the store: the charges, what it is asked for, and when."""

    __slots__ = ("_counters", "asked", "charges", "done", "then")

    def __init__(
        self, counters: StoreCounters, charges: Sequence[Charge], asked: Sequence[Charge], then: int, done: Done
    ) -> None:
        """`done` is told of the decision."""
        self._counters = counters
        self.charges = charges
        self.asked = asked
        self.then = then
        self.done = done

    def __call__(self, decision: Decision | Exception) -> None:
        """Take what the store said."""
        self._counters.take(self, decision)


_REFUSES_NOTHING: Final = int(ChargeKind.SHADOW | ChargeKind.QUOTA)
"""What does not refuse a request by itself."""


def _watched(charge: Charge) -> Charge:
    """The same charge, which refuses nothing."""
    return charge._replace(kind=charge.kind & ~(ChargeKind.QUOTA | ChargeKind.QUOTA_BEGINS) | ChargeKind.SHADOW)


def _open(charge: Charge) -> Outcome:
    return Outcome(fits=True, remaining=charge.policy.most, reset=0, retry=0)


def _closed(timeout: float) -> Outcome:
    """What does not fit until the store is back, which may be soon."""
    wait = round(max(timeout, 1.0) * 1e6)
    return refused(0, wait, wait)
