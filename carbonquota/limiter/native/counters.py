"""The compiled table as counters of a limiter, with requests in flight beside it.

These have leases of their own, and are few, so they are kept in plain Python; where a request is charged both ways, its
places are asked for first, and taken where the table does not refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from carbonquota.limiter.algorithms import Algorithm, Outcome, Policy
from carbonquota.limiter.charge import Charge, Decision, Done, KeyedLimit
from carbonquota.limiter.model import Lease
from carbonquota.limiter.native._cy import Table
from carbonquota.limiter.reference import PlainCounters, PlainLimit
from carbonquota.limiter.stats import Sample


class NativeCounters:
    """A `Counters` of this process."""

    is_local = True
    troubles: tuple[str, ...] = ()

    def __init__(self, clock: Callable[[], float], most: int = 1_000_000, *, is_system_clock: bool = False) -> None:
        """Hold `most` keys; `clock` gives seconds since the epoch, and C reads the system's itself."""
        self.table = Table(most, None if is_system_clock else clock)
        self._flight = PlainCounters(clock, most)
        self._lock = Lock()

    def decide(self, charges: Sequence[Charge]) -> Decision:
        """Make all charges or none, as one step."""
        decided = self.table.decide(charges)
        return self._decide_both(charges) if decided is None else Decision(*decided, {})

    def decide_soon(self, charges: Sequence[Charge], done: Done) -> Decision:  # noqa: ARG002 - as others are called
        """The same, as it never waits."""
        return self.decide(charges)

    def _decide_both(self, charges: Sequence[Charge]) -> Decision:
        """The same where some charges are for places in flight."""
        at_flight = [at for at, charge in enumerate(charges) if charge.policy.algorithm is Algorithm.CONCURRENCY]
        at_table = [at for at in range(len(charges)) if at not in set(at_flight)]
        wanted = [charges[at] for at in at_flight]
        with self._lock:
            places = self._flight.ask(wanted)
            decided = self.table.decide([charges[at] for at in at_table], refused=not places.passes)
            passes, outcomes = decided or (True, [])
            both = places.passes and passes
            if both:
                places = self._flight.decide(wanted)
            elif places.passes:
                places = self._flight.ask(wanted, refused=True)
        found: dict[int, Outcome] = dict(zip(at_flight, places.outcomes, strict=True))
        found.update(zip(at_table, outcomes, strict=True))
        tokens = {at_flight[at]: token for at, token in places.tokens.items()}
        return Decision(both, [found[at] for at in range(len(charges))], tokens)

    def keyed(self, policy: Policy, prefix: str, suffix: str) -> KeyedLimit:
        """Checks by one policy of keys that stand between `prefix` and `suffix`."""
        if policy.algorithm is Algorithm.CONCURRENCY:
            return PlainLimit(self._flight, policy, prefix, suffix)
        return self.table.limit(policy, prefix.encode("utf-8", "surrogatepass"), suffix.encode())

    def release(self, lease: Lease) -> None:
        """End a lease, if it still runs."""
        self._flight.release(lease)

    def close(self) -> None:
        """The memory goes by itself."""

    def samples(self) -> Iterator[Sample]:
        """How many keys there are, and were evicted."""
        yield Sample("limiter_keys", len(self.table) + len(self._flight))
        yield Sample("limiter_evicted", self.table.evicted + self._flight.evicted)
        yield Sample("limiter_evicted_limited", self.table.evicted_limited)
