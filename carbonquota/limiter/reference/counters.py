"""Counters of this process in a dict, bounded by what is evicted.

Theory of operation. The dict is in the order of use. Where there is no room, the key that was not used for longest
goes, but one that is being limited gets a second chance, as it would be let in anew. A key is being limited when its
last charge was refused, and its state is not yet as good as none. Before a key is added to many, the two that were not
used for longest go where their states are as good as none, so that what has expired takes no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Final

from carbonquota.limiter.algorithms import State, functions_of
from carbonquota.limiter.algorithms.concurrency import give_back
from carbonquota.limiter.algorithms.policy import Algorithm, Policy
from carbonquota.limiter.charge import Charge, ChargeKind, Decision, Done
from carbonquota.limiter.model import Lease
from carbonquota.limiter.reference.decide import decide
from carbonquota.limiter.reference.keyed import PlainLimit
from carbonquota.limiter.stats import Sample
from carbonquota.model import Clock

_FEW: Final = 1_024
"""Keys of which none is looked for to be forgotten before there is no room, as in the compiled table."""


class PlainCounters:
    """States by key, `most` of them at once."""

    def __init__(self, clock: Clock, most: int = 1_000_000) -> None:
        """Start empty; `clock` gives seconds since the epoch."""
        self._clock = clock
        self._most = most
        # Of a plain dict, the first key is found the slower the more of those before it have gone.
        self._free: OrderedDict[str, tuple[Policy, State]] = OrderedDict()
        self._limited: OrderedDict[str, tuple[Policy, State]] = OrderedDict()
        self._lock = Lock()
        self.evicted = 0

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._free) + len(self._limited)

    def decide(self, charges: Sequence[Charge]) -> Decision:
        """Make all charges or none, as one step."""
        with self._lock:
            now = round(self._clock() * 1e6)
            decision, behind = decide(charges, self._state, now)
            self._note(charges, decision, behind, now)
            return decision

    def ask(self, charges: Sequence[Charge], *, refused: bool = False) -> Decision:
        """The decision that there would be, where the request may be `refused` already; nothing is made."""
        with self._lock:
            return decide(charges, self._state, round(self._clock() * 1e6), refused=refused)[0]

    def decide_soon(self, charges: Sequence[Charge], done: Done) -> Decision:  # noqa: ARG002 - as others are called
        """The same, as it never waits."""
        return self.decide(charges)

    def keyed(self, policy: Policy, prefix: str, suffix: str) -> PlainLimit:
        """Checks by one policy of keys that stand between `prefix` and `suffix`."""
        return PlainLimit(self, policy, prefix, suffix)

    def release(self, lease: Lease) -> None:
        """End a lease, if it still runs."""
        with self._lock:
            for states in (self._free, self._limited):
                held = states.get(lease.key)
                if held is not None and held[0].algorithm is Algorithm.CONCURRENCY:
                    states[lease.key] = (held[0], give_back(held[1], lease.token))

    def close(self) -> None:
        """Nothing is held that does not go by itself."""

    @property
    def is_local(self) -> bool:
        """It never waits."""
        return True

    @property
    def troubles(self) -> tuple[str, ...]:
        """None."""
        return ()

    def samples(self) -> Iterator[Sample]:
        """How many keys there are, and were evicted."""
        yield Sample("limiter_keys", len(self))
        yield Sample("limiter_evicted", self.evicted)

    def _state(self, key: str) -> State | None:
        held = self._free.get(key) or self._limited.get(key)
        return None if held is None else held[1]

    def _note(self, charges: Sequence[Charge], decision: Decision, behind: dict[str, State], now: int) -> None:
        """Keep the states, the latest used last."""
        for charge, outcome in zip(charges, decision.outcomes, strict=True):
            held = self._free.pop(charge.key, None) or self._limited.pop(charge.key, None)
            state = behind.get(charge.key, held[1] if held else None)
            if state is not None:
                if held is None:
                    self._make_room(now)
                is_limited = not outcome.fits and not charge.kind & ChargeKind.GUARANTEE
                (self._limited if is_limited else self._free)[charge.key] = (charge.policy, state)

    def _make_room(self, now: int) -> None:
        """Make room for a key."""
        if len(self) >= _FEW:
            for states in (self._free, self._limited):
                for _ in range(2):
                    if states and _has_expired(states, now):
                        states.popitem(last=False)
        if len(self) >= self._most:
            self._evict(now)

    def _evict(self, now: int) -> None:
        """Have a key go."""
        self.evicted += 1
        if self._limited and (not self._free or _has_expired(self._limited, now)):
            self._limited.popitem(last=False)
        else:
            self._free.popitem(last=False)


def _has_expired(states: OrderedDict[str, tuple[Policy, State]], now: int) -> bool:
    """Whether the state of the first key is as good as none."""
    policy, state = states[next(iter(states))]
    return functions_of(policy).expiry(policy, state) <= now
