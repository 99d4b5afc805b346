"""The gate that batches go through where new metrics are shared: known ones at once, new ones once it is known.

What is decided on are lines of a daemon, or data points of another host: `Batches` knows what they are. Everything
happens on one thread, the one that batches are decided on. What waits is decided when an answer comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from carbonquota.cluster.claims import ClaimAnswer, namespace_of
from carbonquota.cluster.hold import Hold, Waiting
from carbonquota.cluster.known_limits import KnownLimits
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

    def size(self, item: T_contra) -> int:
        """The bytes of memory that one takes, about."""

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
        namespaces = list(map(namespace_of, names))
        limits = self._limits.of(namespaces)
        entries = [entry for entry in zip(items, names, namespaces, strict=True) if limits[entry[2]].is_limited]
        if len(entries) < len(items):
            pairs = zip(items, namespaces, strict=True)
            self._batches.admit_new([item for item, namespace in pairs if not limits[namespace].is_limited])
        if not entries:
            return
        if self._decider is not None and self._decider.is_ready:
            self._decide(self._decider, entries)
        else:
            self._put(entries)

    def _put(self, entries: Sequence[tuple[T, str, str]]) -> None:
        """Have these wait, as far as there is room."""
        too_many = entries if self.is_closed else self._hold.put(entries)
        if too_many:
            self._drop_unasked([Waiting(name, namespace, 0.0, [item]) for item, name, namespace in too_many])

    def _decide(self, decider: NewMetricsDecider, entries: Sequence[tuple[T, str, str]]) -> None:
        """Decide on new metrics at once."""
        names = [entry[1] for entry in entries]
        answers = decider.claim(names, [entry[2] for entry in entries])
        granted = [entry[0] for entry, answer in zip(entries, answers, strict=True) if answer is None]
        decision = self._batches.admit_new(granted) if granted else None
        is_all_in = decision is not None and not decision.dropped and not decision.malformed
        decider.settled(names, () if is_all_in else names)
        if len(granted) < len(entries):
            refused = [entry[0] for entry, answer in zip(entries, answers, strict=True) if answer is not None]
            self._batches.refuse(refused, [answer for answer in answers if answer is not None])

    def decide_waiting(self) -> None:
        """Have what waits be decided on, where that can be done at once by now."""
        waiting = self._hold.take(self._hold.to_ask(len(self._hold)))
        entries = [(item, one.metric, one.namespace) for one in waiting for item in one.items]
        if entries and self._decider is not None:
            self._decide(self._decider, entries)

    def apply(self, answer: ClaimAnswer, claimer: Claimer) -> None:
        """Decide what waits by an answer."""
        granted = self._hold.take(answer.granted)
        if granted:
            self._admit_granted(granted, claimer)
        refused = {waiting.metric: why for waiting, why in answer.refused}
        self._refuse(self._hold.take(waiting for waiting, _ in answer.refused), refused)
        unasked = self._hold.take(answer.unasked)
        if self._on_outage != "accept":
            self._drop_unasked(unasked)
        elif unasked:
            self._batches.admit_new(_items(unasked))
            claimer.note_unclaimed(self._here(unasked, is_here=True))

    def _admit_granted(self, granted: Sequence[Waiting[T]], claimer: Claimer) -> None:
        """Accept claimed metrics, as far as throughput allows it."""
        decision = self._batches.admit_new(_items(granted))
        if decision is None or decision.dropped or decision.malformed:
            claimer.note_doubtful(self._here(granted, is_here=False))

    def _here(self, waiting: Sequence[Waiting[T]], *, is_here: bool) -> list[str]:
        """Those of the metrics that are in the index, or not."""
        names = [one.metric for one in waiting]
        found = self._engine.has_each(names)
        return [name for name, there in zip(names, found, strict=True) if there is is_here]

    def _drop_unasked(self, unasked: Sequence[Waiting[T]]) -> None:
        """Drop what the store could not be asked about, by the first limit that it would have been asked about."""
        limits = {one.namespace: one for one in self._limits.with_all_above(one.namespace for one in unasked)}
        self._refuse(unasked, {one.metric: _first(one, limits) for one in unasked})

    def _refuse(self, waiting: Sequence[Waiting[T]], why: dict[str, RefusedMetric]) -> None:
        """Drop what waits of metrics."""
        refused = [why[one.metric] for one in waiting for _ in one.items]
        if refused:
            self._batches.refuse(_items(waiting), refused)


def _items(waiting: Iterable[Waiting[T]]) -> list[T]:
    """All that waits of some metrics, in order."""
    return [item for one in waiting for item in one.items]


def _first(waiting: Waiting[T], limits: dict[str, NamespaceLimits]) -> RefusedMetric:
    """The first limit, from the root down, that a metric is asked about."""
    parts = waiting.namespace.split(".") if waiting.namespace != ROOT else []
    for namespace in (ROOT, *(".".join(parts[:length]) for length in range(1, len(parts) + 1))):
        asked = limits[namespace].limits
        stock = next((stock for stock, limit in zip(CAPACITY_ORDER, asked, strict=True) if limit >= 0), None)
        if stock is not None:
            return RefusedMetric(waiting.metric, namespace, stock)
    return RefusedMetric(waiting.metric, ROOT, CAPACITY_ORDER[0])
