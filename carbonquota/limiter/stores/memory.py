"""What this process knows of keys without asking the store: who is over the limit, and what was taken ahead.

Theory of operation. A refused key is refused until the time that the store gave, for as many hits or more. Of a key
that is asked for often, a slice is taken ahead: it is charged in the store before anybody uses it, so that no limit is
passed; it is a small part of what is left, and is thrown away after a moment, or when its window ends. Times are
counted from before the store was asked, on a clock that only grows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, TypeVar

from carbonquota.limiter.algorithms import Algorithm, Outcome, Policy
from carbonquota.limiter.algorithms.policy import SLOTS
from carbonquota.limiter.charge import Charge, ChargeKind, Decision

_MOST: Final = 100_000
"""Keys that are remembered."""

_PART: Final = 16
"""A slice is at most this part of what is left, so that the last hits of a limit are given out one by one."""

_LEAST: Final = 1_000
"""Hits that must be left for a slice: a small limit is given out one by one from the beginning."""

_SHORTEST: Final = 50_000
_LONGEST: Final = 1_000_000
"""Microseconds that a slice is good for; within as many, two requests make a key one that is asked for often."""

# As plain numbers, for flags take long to be combined.
_NOT_SLICED: Final = int(ChargeKind.SHADOW | ChargeKind.GUARANTEE | ChargeKind.CHARGE_DENIED | ChargeKind.QUOTA)
_REFUSES_NOTHING: Final = int(ChargeKind.SHADOW | ChargeKind.QUOTA)
"""What is over its limit, and does not refuse the request by itself."""
_GUARANTEE: Final = int(ChargeKind.GUARANTEE)
_NOT_REMEMBERED: Final = int(ChargeKind.CHARGE_DENIED | ChargeKind.GUARANTEE)


Kept = TypeVar("Kept")


def life_of(policy: Policy) -> int:
    """The microseconds that a slice of a limit is good for: a twentieth of the limit's time, within bounds."""
    time = policy.per_hit
    if policy.algorithm is Algorithm.TOKEN_BUCKET:
        time = policy.capacity // policy.rate
    elif policy.algorithm is Algorithm.SLIDING_WINDOW:
        time *= SLOTS
    return min(max(time // 20, _SHORTEST), _LONGEST)


class Memory:
    """Refusals and slices. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float], *, slices: bool = True) -> None:
        """Start empty; `clock` gives seconds that only grow."""
        self._clock = clock
        self._slices = slices
        self._lock = Lock()
        # Of a plain dict, what was kept first is found the slower the more of it has gone.
        self._refused: OrderedDict[str, tuple[Policy, int, int, Outcome]] = OrderedDict()
        self._taken: OrderedDict[str, tuple[Policy, int, int, Outcome, int]] = OrderedDict()
        self.refusals = 0
        self.sliced = 0

    def now(self) -> int:
        """Microseconds of the clock."""
        return int(self._clock() * 1e6)

    def decide(self, charges: Sequence[Charge]) -> Decision | None:
        """The decision where it is known here; None where the store has to be asked."""
        if not self._refused and not self._taken:
            return None
        now = self.now()
        with self._lock:
            return self._refusal(charges, now) or self._from_slices(charges, now)

    def _refusal(self, charges: Sequence[Charge], now: int) -> Decision | None:
        """A refusal that still holds; nothing is told of the other charges but what fits into a new state."""
        if not self._refused or any(charge.kind & _NOT_REMEMBERED for charge in charges):
            return None
        for at, charge in enumerate(charges):
            held = self._refused.get(charge.key)
            if held is None or charge.kind & _REFUSES_NOTHING:
                continue
            policy, until, hits, outcome = held
            if now >= until or not _same(policy, charge.policy):
                del self._refused[charge.key]
            elif charge.hits >= hits:
                outcomes = [Outcome(fits=True, remaining=one.policy.most, reset=0, retry=0) for one in charges]
                retry = until - now if outcome.retry > 0 else outcome.retry
                outcomes[at] = outcome._replace(retry=retry, reset=max(outcome.reset - outcome.retry + retry, 0))
                self.refusals += 1
                return Decision(passes=False, outcomes=outcomes, tokens={})
        return None

    def _from_slices(self, charges: Sequence[Charge], now: int) -> Decision | None:
        """A decision from what was taken ahead of all keys."""
        if not self._taken:
            return None
        outcomes: list[Outcome] = []
        left: dict[str, int] = {}
        for charge in charges:
            held = self._taken.get(charge.key)
            if held is None or now >= held[1] or charge.kind & _NOT_SLICED or not _same(held[0], charge.policy):
                return None
            after = left.get(charge.key, held[2]) - charge.hits
            if after < 0:
                return None
            left[charge.key] = after
            outcomes.append(held[3]._replace(remaining=held[3].remaining + after))
        for key, after in left.items():
            policy, until, _, outcome, asked = self._taken[key]
            self._taken[key] = (policy, until, after, outcome, asked)
        self.sliced += 1
        return Decision(passes=True, outcomes=outcomes, tokens={})

    def with_slices(self, charges: Sequence[Charge]) -> Sequence[Charge]:
        """The charges to ask the store for: more than is needed of keys that are asked for often.

        They are these very charges where nothing is taken ahead.
        """
        if not self._slices or any(charge.kind & _GUARANTEE for charge in charges):
            return charges
        now = self.now()
        with self._lock:
            ahead = [self._ahead(charge, now) for charge in charges]
        if not any(ahead):
            return charges
        return [charge._replace(hits=charge.hits + more) for charge, more in zip(charges, ahead, strict=True)]

    def _ahead(self, charge: Charge, now: int) -> int:
        """How many hits to take ahead of a key."""
        held = self._taken.get(charge.key)
        if held is None or charge.kind & _NOT_SLICED or now - held[4] > life_of(charge.policy):
            return 0
        remaining = held[3].remaining
        return min(remaining // _PART, 64 * charge.hits) if remaining >= _LEAST else 0

    def note(self, charges: Sequence[Charge], asked: Sequence[Charge], decision: Decision, then: int) -> Decision:
        """Remember what the store said at `then`; the decision as it is for the charges themselves."""
        with self._lock:
            for charge, whole, outcome in zip(charges, asked, decision.outcomes, strict=True):
                self._note(charge, whole.hits - charge.hits, outcome, decision, then)
        return decision

    def _note(self, charge: Charge, ahead: int, outcome: Outcome, decision: Decision, then: int) -> None:
        if charge.policy.algorithm is Algorithm.CONCURRENCY or charge.kind & _NOT_SLICED:
            return
        if not outcome.fits:
            until = then + outcome.retry if outcome.retry > 0 else then + 1_000_000
            _put(self._refused, charge.key, (charge.policy, until, charge.hits, outcome))
            self._taken.pop(charge.key, None)
        elif decision.passes and self._slices and outcome.remaining + ahead >= _LEAST:
            held = self._taken.get(charge.key)
            if held is not None and then < held[1] and _same(held[0], charge.policy):
                ahead += held[2]
            until = then + min(life_of(charge.policy), outcome.reset)
            _put(self._taken, charge.key, (charge.policy, until, ahead, outcome, then))


def _same(one: Policy, other: Policy) -> bool:
    """Whether two policies are the same; mostly they are one."""
    return one is other or one == other


def _put(kept: OrderedDict[str, Kept], key: str, value: Kept) -> None:
    """Keep a value, and drop the one that was kept first where there is no room."""
    if key not in kept and len(kept) >= _MOST:
        kept.popitem(last=False)
    kept[key] = value
