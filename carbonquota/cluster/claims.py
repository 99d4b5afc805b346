"""Slices mode, what is held: a new metric is claimed in the store before it is accepted, and counts once for all nodes.

Theory of operation. A node that starts begins a run in the store, declares the metrics that it holds, whatever the
limits, and may claim from then on; so it does again when the store is another or may have forgotten something, and
when rules come that limit other namespaces, as only metrics under a limit are told to the store. The store grants no
claim before all nodes that are known to any have declared. What goes from the index here is released; the store keeps
it while others hold it.

The store holds at least what the nodes hold, always: a metric is claimed before it enters the index, and is released
after it has left it. In doubt (an answer that did not arrive, a metric that throughput rejected after all) it is
released later, unless it is in the index or waits by then.

Everything here happens on one thread. The clock, the store, the engine and what becomes of answers come from outside.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np

from carbonquota.cluster.backoff import Backoff
from carbonquota.cluster.claim_store import Claimed, ClaimStatus, Metrics, StoredRun, refusal
from carbonquota.cluster.claiming import ClaimAnswer, Claims, DeclaringEngine
from carbonquota.cluster.hold import Hold, WaitingMetrics
from carbonquota.cluster.known_limits import KnownLimits
from carbonquota.cluster.namespaces import namespaces_of
from carbonquota.cluster.recalled import Recalled
from carbonquota.cluster.settings import OnOutage
from carbonquota.cluster.store import StoreError
from carbonquota.controls.capacity_limits import NamespaceLimits, RefusedMetric, scope
from carbonquota.controls.table import CAPACITY_ORDER
from carbonquota.model import Clock, Size
from carbonquota.rules import RuleSet

_AT_ONCE: Final = 2_000
"""Metrics claimed, declared or released in one step of the store, which answers nobody else meanwhile."""

_STEPS: Final = 50
"""So many steps of one kind at a time, so that none waits for long."""

_LONG: Final = 5.0
"""Seconds without a granted claim after which that is told."""

WAITS: Final = (
    "new metrics wait, as not all nodes have told the store what they hold "
    "(if this stays, look whether it evicts keys: it needs maxmemory-policy noeviction)"
)
"""What is told then."""


@dataclass
class _Doubts:
    """Metrics to be declared, as they came without a claim, and to be released, if they are not here by then."""

    came: dict[str, None] = field(default_factory=dict)
    went: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """What the store was asked about and has not answered yet; `answer` waits for it."""

    asked: WaitingMetrics
    metrics: Metrics
    limits: Sequence[NamespaceLimits]
    answer: Callable[[], Claimed]

    def wait(self) -> None:
        """Let it end, whatever it says."""
        with suppress(StoreError):
            self.answer()


_NO_RUN: Final = Claimed(ClaimStatus.BEGIN, (), has_dead=False, codes=np.empty(0, np.int32))
"""The answer to who has not begun."""


class ClaimNode:
    """One node; `cycle` does all that is due."""

    def __init__(  # noqa: PLR0913 - each is one thing that the node stands on
        self,
        engine: DeclaringEngine,
        store: Claims,
        hold: Hold[Any],
        *,
        settle: Callable[[ClaimAnswer], None],
        clock: Clock,
        on_outage: OnOutage = "share",
        jitter: Callable[[], float] = random.random,
        at_once: int = _AT_ONCE,
    ) -> None:
        """`settle` decides what waits by an answer, and returns when that is done; `clock` never goes back.

        So many metrics `at_once` are in one step of the store.
        """
        self.trouble = ""
        self.counts: Counter[str] = Counter()
        """Metrics that were granted, refused, released and declared."""
        self._engine = engine
        self._limits = KnownLimits(engine)
        self._store = store
        self._hold = hold
        self._settle = settle
        self._clock = clock
        self._on_outage = on_outage
        self._at_once = at_once
        self._run: StoredRun | None = None
        self._is_declared = False
        self._rules: RuleSet | None = None
        self._nodes: tuple[str, ...] = ()
        self._epoch = ""
        self._recalled = Recalled()
        self._doubts = _Doubts()
        self._backoff = Backoff(jitter)
        self._granted_at = clock()

    @property
    def is_ready(self) -> bool:
        """Whether the store knows all that this node holds."""
        return self._is_declared

    def note_doubtful(self, metrics: Iterable[str]) -> None:
        """These were claimed, and may have been rejected after all."""
        self._doubts.went.update(dict.fromkeys(metrics))

    def note_unclaimed(self, metrics: Iterable[str]) -> None:
        """These were accepted without a claim."""
        self._doubts.came.update(dict.fromkeys(metrics))

    def cycle(self) -> None:
        """Begin if it is time to, tell what came and went, claim what waits, and give up on what waited too long."""
        if self._backoff.is_due(self._clock()):
            try:
                self.trouble = ""
                self._work()
                self._backoff.succeed()
            except StoreError as error:
                self._fail(error)
        self._give_up(at_once=not self._backoff.is_due(self._clock()) and self._on_outage == "accept")

    def _work(self) -> None:
        """All that needs the store."""
        if self._run is None or not self._is_declared_for(self._engine.rules):
            self._begin()
        self._tell()
        self._claim()
        self._look_around()

    def _is_declared_for(self, rules: RuleSet) -> bool:
        """Whether what was declared is all that is under a limit of these rules: their amounts do not matter."""
        if rules is not self._rules and self._rules is not None:
            if scope(rules.rules) != scope(self._rules.rules):
                return False
            self._rules = rules
        return self._rules is not None

    def _fail(self, error: StoreError) -> None:
        """Try again after a pause."""
        self.trouble = str(error)
        self._backoff.fail(self._clock())

    def _begin(self) -> None:
        """Begin a run, and declare all that is held here."""
        self._run, self._is_declared = None, False
        rules = self._engine.rules
        # Before the holdings are taken: what changes afterwards is told afterwards.
        self._engine.take_unclaimed()
        self._doubts = _Doubts()
        run = self._store.begin(self._nodes, has_more=self._rules is not None and self._rules is not rules)
        if self._epoch not in {"", run.epoch} and not self._store.recall(run, self._recalled.usages):
            return
        held = self._engine.holdings()
        numbers = held.size_numbers.tolist()
        for start in range(0, len(numbers), self._at_once):
            stretch = range(start, min(start + self._at_once, len(numbers)))
            names = [held.names[place].decode() for place in stretch]
            if not self._declare(run, names, [held.sizes[numbers[place]] for place in stretch]):
                return
        if self._store.declared(run):
            self._run, self._is_declared, self._rules, self._epoch = run, True, rules, run.epoch

    def _declare(self, run: StoredRun, names: Sequence[str], sizes: Sequence[Size]) -> bool:
        """Declare metrics that are held here, as far as they are under a limit; whether the store knows the run."""
        metrics, limits = self._under_limits(names, namespaces_of(names), sizes)
        if not metrics:
            return True
        claimed = self._store.claim(run, metrics, limits, asks=False)
        self.counts["declared"] += len(claimed.codes)
        return self._is_known(claimed)

    def _is_known(self, claimed: Claimed) -> bool:
        """Whether the store knows this run. Where it does not, it may have forgotten other nodes, too."""
        if claimed.status is ClaimStatus.BEGIN:
            return False
        self._nodes = claimed.nodes
        if self._is_declared:
            self._recalled.note(claimed.usages)
        return True

    def _look_around(self) -> None:
        """Look at what some more namespaces hold, to know it if the store forgets it."""
        if self._run is not None and (found := self._store.usages(self._run, self._recalled.cursor)) is not None:
            self._recalled.go_on(*found)

    def _under_limits(
        self, names: Sequence[str], namespaces: Sequence[str], sizes: Sequence[Size]
    ) -> tuple[Metrics, list[NamespaceLimits]]:
        """Those of the metrics that are under a limit, and the limits above them."""
        limits = self._limits.of(namespaces)
        metrics = Metrics(names, namespaces, sizes)
        if not all(limits[namespace].is_limited for namespace in set(namespaces)):
            places = [place for place, namespace in enumerate(namespaces) if limits[namespace].is_limited]
            metrics = metrics.at(places)
        return metrics, self._limits.with_all_above(metrics.namespaces)

    def _tell(self) -> None:
        """Tell the store what came here without a claim, and what went."""
        run = self._run
        came, went = self._engine.take_unclaimed()
        self._doubts.came.update(dict.fromkeys(came))
        self._doubts.went.update(dict.fromkeys(went))
        if run is None:
            return
        for _ in range(_STEPS):
            names = list(islice(self._doubts.came, self._at_once))
            if not names:
                break
            if not self._declare(run, names, self._engine.sizes_of(names)):
                self._run = None
                return
            for name in names:
                del self._doubts.came[name]
        self._release(run)

    def _release(self, run: StoredRun) -> None:
        """Release what went, and is not here again."""
        # What waits may be accepted by a claim that was granted already, so that is looked at before the index is.
        waiting = {name: None for name in self._doubts.went if name in self._hold}
        names = [name for name in self._doubts.went if name not in waiting]
        gone = [name for name, is_here in zip(names, self._engine.has_each(names), strict=True) if not is_here]
        for start in range(0, len(gone), self._at_once):
            if not self._store.release(run, gone[start : start + self._at_once]):
                self._run = None
                return
        self.counts["released"] += len(gone)
        self._doubts.went = waiting

    def _claim(self) -> None:
        """Claim what waits, and be heard of. While the store is at one step, the next is made ready, and asked for."""
        under_way = self._ask(self._hold.to_ask(self._at_once))
        for _ in range(_STEPS):
            asked = self._hold.to_ask(self._at_once)
            following = self._ask(asked) if asked else None
            try:
                goes_on = self._take_in(under_way)
            except StoreError:
                if following is not None:
                    following.wait()
                    self._take_back(following.asked)
                raise
            if following is None:
                return
            under_way = following
            if not goes_on:
                break
        self._take_in(under_way)

    def _ask(self, asked: WaitingMetrics) -> _UnderWay:
        """Begin to claim these."""
        if self._run is None:
            return _UnderWay(asked, Metrics((), (), ()), (), lambda: _NO_RUN)
        metrics, limits = self._under_limits(asked.names, asked.namespaces, self._engine.sizes_of(asked.names))
        return _UnderWay(asked, metrics, limits, self._store.begin_claim(self._run, metrics, limits))

    def _take_in(self, under_way: _UnderWay) -> bool:
        """Have what was asked decided by the answer; whether more may be asked."""
        asked = under_way.asked
        try:
            claimed = under_way.answer()
            status = self._heed(claimed)
        except StoreError:
            self._take_back(asked)
            raise
        if status is not ClaimStatus.OK:
            self._hold.ask_again(asked)
        elif asked:
            self._decide(asked, _refusals(under_way.metrics, claimed, under_way.limits))
        self._note(status)
        return status is ClaimStatus.OK

    def _take_back(self, asked: WaitingMetrics) -> None:
        """Ask about these again, as no answer came."""
        self._hold.ask_again(asked)
        # The store may have granted them without our knowing.
        self.note_doubtful(asked.names)

    def _note(self, status: ClaimStatus) -> None:
        """Tell of it where claims are not granted for long."""
        now = self._clock()
        if status is ClaimStatus.OK:
            self._granted_at = now
        if now - self._granted_at > _LONG:
            self.trouble = WAITS

    def _heed(self, claimed: Claimed) -> ClaimStatus:
        """Do what an answer asks for beside the claims; its status."""
        if not self._is_known(claimed):
            self._run = None
        elif claimed.status is ClaimStatus.OK and claimed.has_dead:
            self._store.prune(self._at_once // 2)
        return claimed.status

    def _decide(self, asked: WaitingMetrics, refusals: dict[str, RefusedMetric]) -> None:
        """Have metrics decided by the store's answer; what is under no limit any more may come."""
        granted = asked.names if not refusals else [name for name in asked.names if name not in refusals]
        self.counts["granted"] += len(granted)
        self.counts["refused"] += len(refusals)
        self._settle(ClaimAnswer(granted, refusals))

    def _give_up(self, *, at_once: bool) -> None:
        """Decide without the store what has waited for too long."""
        for _ in range(_STEPS):
            overdue = self._hold.overdue(self._at_once, at_once=at_once)
            if not overdue:
                return
            self.counts["unasked"] += len(overdue)
            self._settle(ClaimAnswer(unasked=overdue.names))

    def close(self) -> None:
        """Claim what waits for the last time, tell what went, and decide what is left."""
        try:
            self._work()
        except StoreError as error:
            self._fail(error)
        self._give_up(at_once=True)


def _refusals(metrics: Metrics, claimed: Claimed, limits: Sequence[NamespaceLimits]) -> dict[str, RefusedMetric]:
    """Which metrics the store refuses, by what limit."""
    refusals = {}
    for at in np.flatnonzero(claimed.codes < 0).tolist():
        place, stock = refusal(int(claimed.codes[at]))
        name = metrics.names[at]
        refusals[name] = RefusedMetric(name, limits[place].namespace, CAPACITY_ORDER[stock])
    return refusals
