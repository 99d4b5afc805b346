"""Counters in the store: asked for what this process does not know, and stood in for while it is away."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from carbonquota.cluster.store import StoreError, connector
from carbonquota.limiter.algorithms import Outcome, Policy, scaled
from carbonquota.limiter.algorithms.policy import refused
from carbonquota.limiter.charge import Charge, ChargeKind, Decision
from carbonquota.limiter.model import Lease
from carbonquota.limiter.reference import PlainCounters, PlainLimit
from carbonquota.limiter.stats import Sample
from carbonquota.limiter.stores.breaker import Breaker
from carbonquota.limiter.stores.calls import StoreCalls
from carbonquota.limiter.stores.memory import Memory
from carbonquota.model import Clock


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
        self._own = PlainCounters(clock)
        self._shares: dict[Policy, Policy] = {}
        self._errors: Counter[str] = Counter()
        self._trouble = ""
        self._gathered: list[tuple[Sequence[Charge], asyncio.Future[Decision | StoreError]]] = []
        self._flusher: asyncio.Task[None] | None = None

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why the store is not asked, where that is so."""
        return (self._trouble,) if self._trouble else ()

    def samples(self) -> Iterator[Sample]:
        """How the store is, and how often it did not have to be asked."""
        yield Sample("limiter_store_up", not self._trouble)
        yield Sample("limiter_breaker_opened", self._breaker.opened)
        for kind, count in sorted(self._errors.items()):
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
            if not decision.passes and asked != charges:
                then, asked = self._memory.now(), charges
                decision = self._calls.decide(charges)
        except StoreError as error:
            return self._failed(error, charges)
        self._well()
        return self._memory.note(charges, asked, decision, then)

    async def decide_async(self, charges: Sequence[Charge]) -> Decision:
        """The same; those that come while the store is being asked go together in the next round trip."""
        known = self._memory.decide(charges)
        if known is not None:
            return known
        if not self._breaker.lets():
            return self._alone(charges)
        then, asked = self._memory.now(), self._memory.with_slices(charges)
        decision = await self._gather(asked)
        if isinstance(decision, Decision) and not decision.passes and asked != charges:
            then, asked = self._memory.now(), charges
            decision = await self._gather(charges)
        if isinstance(decision, StoreError):
            return self._failed(decision, charges)
        self._well()
        return self._memory.note(charges, asked, decision, then)

    async def _gather(self, charges: Sequence[Charge]) -> Decision | StoreError:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Decision | StoreError] = loop.create_future()
        self._gathered.append((charges, future))
        if self._flusher is None or self._flusher.done():
            # A task of its own, as who asked first may be cancelled.
            self._flusher = loop.create_task(self._flush(loop))
        return await future

    async def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Round trips for all that is gathered, until there is nothing."""
        while self._gathered:
            gathered, self._gathered = self._gathered, []
            several = [charges for charges, _ in gathered]
            answers: Sequence[Decision | StoreError] = ()
            bug: BaseException | None = None
            try:
                answers = await loop.run_in_executor(None, self._calls.decide_many, several)
            except StoreError as error:
                answers = [error] * len(gathered)
            except BaseException as error:  # noqa: BLE001 - whoever waits hears of it, whatever it is
                bug = error
            for at, (_, future) in enumerate(gathered):
                if future.done():
                    continue
                if bug is not None:
                    future.set_exception(bug)
                else:
                    future.set_result(answers[at])

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
        """Let go of the connections."""
        self._calls.close()

    def _well(self) -> None:
        self._breaker.succeeded()
        self._trouble = ""

    def _failed(self, error: StoreError, charges: Sequence[Charge]) -> Decision:
        self._note(error)
        return self._alone(charges)

    def _note(self, error: StoreError) -> None:
        self._breaker.failed()
        self._errors[error.kind] += 1
        self._trouble = str(error)

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
