"""The gate that batches go through where new metrics are shared: known ones at once, new ones once it is known.

What is decided on are lines of a daemon, or data points of another host: `Batches` knows what they are. Everything
happens on one thread, the one that batches are decided on. What waits is decided when an answer comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from carbonquota.cluster.claiming import ClaimAnswer
from carbonquota.cluster.hold import Hold, NewItems
from carbonquota.cluster.known_limits import KnownLimits
from carbonquota.cluster.namespaces import namespaces_of, way_up
from carbonquota.cluster.settings import OnOutage
from carbonquota.controls import BatchDecision
from carbonquota.controls.capacity_limits import NamespaceLimits, RefusedMetric
from carbonquota.controls.table import CAPACITY_ORDER
from carbonquota.model import ROOT
from carbonquota.rules import RuleSet

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class RefusingEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""

    def limits_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of namespaces and of all above them."""

    def has_each(self, metrics: Iterable[str]) -> list[bool]:
        """Whether it holds each of these."""


class Batches(Protocol[T_contra]):
    """What a host has decided."""

    def names(self, items: Sequence[T_contra]) -> list[str]:
        """The normal names of the metrics."""

    def size(self, items: Sequence[T_contra]) -> int:
        """The bytes of memory that these take, about."""

    def admit_new(self, items: Sequence[T_contra]) -> BatchDecision | None:
        """Decide what was held back, and pass on what is accepted; None where a bug kept it from that."""

    def refuse(self, items: Sequence[T_contra], refused: Sequence[RefusedMetric]) -> object:
        """Drop what was held back."""


class Claimer(Protocol):
    """Who asks the store; see `ClaimNode`."""

    def note_doubtful(self, metrics: Iterable[str]) -> None:
        """These were claimed, and were rejected after all."""

    def note_unclaimed(self, metrics: Iterable[str]) -> None:
        """These were accepted without a claim."""


class NewMetricsDecider(Protocol):
    """Who decides at once on new metrics; see `StockNode`."""

    @property
    def is_ready(self) -> bool:
        """Whether it does already."""

    def claim(self, metrics: Sequence[str], namespaces: Sequence[str]) -> list[RefusedMetric | None]:
        """Whether each may come."""

    def settled(self, metrics: Iterable[str], missing: Iterable[str] = ()) -> None:
        """They are decided."""


class Gate(Generic[T]):
    """Holds new metrics back, if they are under a limit, until there is an answer."""

    def __init__(
        self,
        engine: RefusingEngine,
        hold: Hold[T],
        batches: Batches[T],
        on_outage: OnOutage = "share",
        decider: NewMetricsDecider | None = None,
    ) -> None:
        """The engine must hold new metrics back. With a `decider`, nothing waits once that is ready."""
        self._engine = engine
        self._hold = hold
        self._batches = batches
        self._on_outage = on_outage
        self._decider = decider
        self._limits = KnownLimits(engine)
        self.is_closed = False
        """Nothing is held back any more, as nobody asks the store."""

    def hold_back(self, items: Sequence[T]) -> None:
        """Have what is of new metrics wait, if these are under a limit."""
        names = self._batches.names(items)
        new = self._limited(NewItems(items, names, namespaces_of(names)))
        if not new:
            return
        if self._decider is not None and self._decider.is_ready:
            self._decide(self._decider, new)
        else:
            self._put(new)

    def _limited(self, new: NewItems[T]) -> NewItems[T]:
        """Those that are under a limit; the others are decided at once."""
        limits = self._limits.of(new.namespaces)
        free = {namespace for namespace in set(new.namespaces) if not limits[namespace].is_limited}
        if not free:
            return new
        self._batches.admit_new([item for item, where in zip(new.items, new.namespaces, strict=True) if where in free])
        return new.at([place for place, where in enumerate(new.namespaces) if where not in free])

    def _put(self, new: NewItems[T]) -> None:
        """Have these wait, as far as there is room."""
        too_many = new if self.is_closed else self._hold.put(new)
        self._drop_unasked(too_many)

    def _decide(self, decider: NewMetricsDecider, new: NewItems[T]) -> None:
        """Decide on new metrics at once."""
        answers = decider.claim(new.metrics, new.namespaces)
        granted = [item for item, answer in zip(new.items, answers, strict=True) if answer is None]
        decision = self._batches.admit_new(granted) if granted else None
        is_all_in = decision is not None and not decision.dropped and not decision.malformed
        decider.settled(new.metrics, () if is_all_in else new.metrics)
        if len(granted) < len(new):
            refused = [item for item, answer in zip(new.items, answers, strict=True) if answer is not None]
            self._batches.refuse(refused, [answer for answer in answers if answer is not None])

    def decide_waiting(self) -> None:
        """Have what waits be decided on, where that can be done at once by now."""
        new = self._hold.take(self._hold.to_ask(len(self._hold)).names)
        if new and self._decider is not None:
            self._decide(self._decider, new)

    def apply(self, answer: ClaimAnswer, claimer: Claimer) -> None:
        """Decide what waits by an answer."""
        if answer.granted:
            self._admit_granted(self._hold.take(answer.granted), claimer)
        if answer.refused:
            self._refuse(self._hold.take(answer.refused), answer.refused)
        if answer.unasked:
            self._decide_unasked(self._hold.take(answer.unasked), claimer)

    def _admit_granted(self, granted: NewItems[T], claimer: Claimer) -> None:
        """Accept claimed metrics, as far as throughput allows it."""
        if not granted:
            return
        decision = self._batches.admit_new(granted.items)
        if decision is None or decision.dropped or decision.malformed:
            claimer.note_doubtful(self._here(granted, is_here=False))

    def _decide_unasked(self, unasked: NewItems[T], claimer: Claimer) -> None:
        """Decide what the store could not be asked about."""
        if self._on_outage != "accept":
            self._drop_unasked(unasked)
        elif unasked:
            self._batches.admit_new(unasked.items)
            claimer.note_unclaimed(self._here(unasked, is_here=True))

    def _here(self, new: NewItems[T], *, is_here: bool) -> list[str]:
        """Those of the metrics that are in the index, or not."""
        names = list(dict.fromkeys(new.metrics))
        found = self._engine.has_each(names)
        return [name for name, there in zip(names, found, strict=True) if there is is_here]

    def _drop_unasked(self, unasked: NewItems[T]) -> None:
        """Drop what the store could not be asked about, by the first limit that it would have been asked about."""
        limits = {one.namespace: one for one in self._limits.with_all_above(unasked.namespaces)}
        pairs = zip(unasked.metrics, unasked.namespaces, strict=True)
        self._refuse(unasked, {metric: _first(metric, namespace, limits) for metric, namespace in pairs})

    def _refuse(self, new: NewItems[T], why: Mapping[str, RefusedMetric]) -> None:
        """Drop what came of metrics."""
        if new:
            self._batches.refuse(new.items, [why[metric] for metric in new.metrics])


def _first(metric: str, lies_in: str, limits: Mapping[str, NamespaceLimits]) -> RefusedMetric:
    """The first limit, from the root down, that a metric is asked about."""
    for namespace in reversed(list(way_up(lies_in))):
        asked = limits[namespace].limits
        stock = next((stock for stock, limit in zip(CAPACITY_ORDER, asked, strict=True) if limit >= 0), None)
        if stock is not None:
            return RefusedMetric(metric, namespace, stock)
    return RefusedMetric(metric, ROOT, CAPACITY_ORDER[0])
