"""Sync mode, what is held: each node tells the others which metrics it holds, and counts theirs beside its own.

Theory of operation. A new metric under a limit of what is held is decided by what this node and all others hold, as far
as they were heard, each metric counted once. At the next tick it is told to the others. So a limit can be passed by at
most what all other nodes let in between the acceptance of a metric and its being heard of here: (N - 1) / N of the new
metrics that come in, during the tick and the delay of a message. It is passed by that once, and not in each interval,
as nobody accepts more from then on.

Nodes tell of their holdings in versions (run_holdings.py). Who missed some, as messages were lost or it has just
started, asks the node in question for them, and gets them alone. A node that starts decides on nothing that is new
before it knows what the others hold, or a few seconds have passed.

`claim` is for the thread that batches are decided on, `tick` and `hear` for another; clock and engine come from
outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from threading import Lock
from typing import Final, NamedTuple

from carbonquota.cluster.claim_store import Digester
from carbonquota.cluster.claiming import DeclaringEngine
from carbonquota.cluster.known_limits import KnownLimits
from carbonquota.cluster.messages import ClusterMessageError, Run
from carbonquota.cluster.namespaces import namespaces_of, way_up
from carbonquota.cluster.own_holdings import OwnHoldings, VersionsPart
from carbonquota.cluster.peer_holdings import PeerHoldings
from carbonquota.cluster.stock import Asked, Held, Kind, Stock, first_refusal
from carbonquota.cluster.stock_messages import MOST_METRICS, TO_ONE, Asks, StockCodec, Stretch
from carbonquota.controls.capacity_limits import RefusedMetric, scope
from carbonquota.controls.table import CAPACITY_ORDER
from carbonquota.model import Clock, Size
from carbonquota.rules import RuleSet

_AT_ONCE: Final = 2_000
"""Metrics looked at before another thread has its turn."""

_MOST_DIGESTS: Final = 100_000
"""NamespaceRows whose digests are kept at hand."""

_PARTS: Final = 4
"""Messages to one node that missed something, a tick."""

_SPEAK: Final = 1.0
"""Seconds after which a node says which version is its last, where there is nothing new."""

_TIMEOUT: Final = 5.0
"""Seconds that a node which starts waits for what the others hold."""


class _Way(NamedTuple):
    """A namespace by its digest: what those on its way up hold, their limits from the root down, and their names."""

    digest: int
    held: list[Held]
    asked: list[Asked]
    names: list[str]


class StockNode:
    """One node."""

    def __init__(self, engine: DeclaringEngine, run: Run, cluster: str, clock: Clock) -> None:
        """`clock` gives seconds that never go back. The engine must hold new metrics back."""
        self.counts: Counter[str] = Counter()
        """New metrics that were granted and refused, and metrics that were declared and released."""
        self.faults: Counter[str] = Counter()
        """Messages that were not taken, by why."""
        self.engine = engine
        self._run = run
        self._clock = clock
        self._codec = StockCodec(cluster)
        self._digester = Digester(cluster)
        self._lock = Lock()
        self._stock = Stock()
        self._own = OwnHoldings()
        self._peers = PeerHoldings(self._stock)
        self._claimed_under, self._told_under = KnownLimits(engine), KnownLimits(engine)
        self._digests: dict[str, int] = {}
        self._rules: RuleSet | None = None
        self._began = clock()
        self._is_ready = False
        self._hears_itself = False
        self._settling: Counter[str] = Counter()
        self._claimed_lately: set[str] = set()
        self._doubts: dict[str, None] = {}
        self._spoke = -_SPEAK
        self._answers: dict[bytes, Iterator[VersionsPart]] = {}
        self._double_at = -_TIMEOUT

    @property
    def is_ready(self) -> bool:
        """Whether new metrics are decided on."""
        return self._is_ready

    @property
    def has_double(self) -> bool:
        """Whether another node that goes by this one's name was heard lately."""
        return self._clock() - self._double_at < _TIMEOUT

    def claim(self, metrics: Sequence[str], namespaces: Sequence[str]) -> list[RefusedMetric | None]:
        """Whether new metrics may come, in this order, or what refuses each; those that may are counted from now on.

        `settled` is to be called when they are in the index, or are not to be.
        """
        sizes = self.engine.sizes_of(metrics)
        digest, ways = self._digester.metric, dict[str, _Way]()
        answers: list[RefusedMetric | None] = []
        with self._lock:
            self._settling.update(metrics)
            self._claimed_lately.update(metrics)
            for name, namespace, size in zip(metrics, namespaces, sizes, strict=True):
                way = ways.get(namespace)
                if way is None:
                    way = ways[namespace] = self._way(namespace)
                answers.append(self._claim(digest(name), name, size, way))
        refused = sum(answer is not None for answer in answers)
        self.counts["refused"] += refused
        self.counts["granted"] += len(answers) - refused
        return answers

    def _way(self, namespace: str) -> _Way:
        """The way up from a namespace."""
        limits = {one.namespace: one.limits for one in self._claimed_under.with_all_above([namespace])}
        names = list(way_up(namespace))
        asked: list[Asked] = [(place, limits[name]) for place, name in enumerate(names) if max(limits[name]) >= 0]
        digest = self._place(names)
        return _Way(digest, self._stock.way_up(digest), asked[::-1], names)

    def _claim(self, digest: bytes, name: str, size: Size, way: _Way) -> RefusedMetric | None:
        """Claim one metric."""
        if digest in self._own:
            return None
        kind = Kind(way.digest, size.logical, size.physical, size.data_points)
        # What another node holds is counted already.
        if digest not in self._stock and (found := first_refusal(way.held, way.asked, kind)) is not None:
            return RefusedMetric(name, way.names[found[0]], CAPACITY_ORDER[found[1]])
        self._hold(digest, kind)
        return None

    def _hold(self, digest: bytes, kind: Kind) -> None:
        """Count a metric as held here."""
        self._own.add(digest)
        self._stock.add((digest,), (self._stock.kind(kind),))

    def _place(self, names: Sequence[str]) -> int:
        """Have a namespace and those above it, in this order, be in the stock; its digest."""
        up = 0
        for name in reversed(names):
            digest = self._digests.get(name)
            if digest is None:
                digest = self._digests[name] = int.from_bytes(self._digester.namespace(name), "little")
            self._stock.place(digest, up)
            up = digest
        return up

    def settled(self, metrics: Iterable[str], missing: Iterable[str] = ()) -> None:
        """What was claimed is decided: all of it is in the index, but for some that may be `missing`."""
        with self._lock:
            self._settling.subtract(metrics)
            self._settling += Counter()
            self._doubts.update(dict.fromkeys(missing))

    def tick(self, wanted: int, connected: int, *, speaks: bool = False) -> Iterator[bytes]:
        """The messages to publish now, with so many peers `wanted` of which so many are `connected`.

        Where it `speaks`, there is one also if there is nothing new, so that who missed something notices.
        """
        self._look_at_rules()
        self._look_at_engine()
        now = self._clock()
        with self._lock:
            self._peers.forget_silent(now)
            if self._stock.drop_empty() or len(self._digests) > _MOST_DIGESTS:
                self._digests = {}
            self._is_ready = self._is_ready or self._knows_enough(now, wanted, connected)
            if speaks:
                # Somebody has just begun to listen, who may have missed what was said, and asked, before.
                self._spoke = -_SPEAK
                self._peers.ask_at_once()
        yield from self._news(now)
        yield from self.replies()

    def replies(self) -> Iterator[bytes]:
        """Questions about what is missing, and answers to those who asked, to be published once others were heard."""
        now = self._clock()
        with self._lock:
            questions = [
                self._to(run.node, self._codec.ask(Asks(self._run.node, run, after)))
                for run, after in self._peers.missing(now)
            ]
        yield from questions
        yield from self._given()

    def _knows_enough(self, now: float, wanted: int, connected: int) -> bool:
        """Whether all peers told what they hold, or have had enough time for it."""
        if now - self._began >= _TIMEOUT:
            return True
        heard = len(self._peers.nodes) + self._hears_itself
        return connected >= wanted and heard >= connected and self._peers.are_known

    def _news(self, now: float) -> Iterator[bytes]:
        """Tells what came and went; now and then also where that is nothing."""
        with self._lock:
            if not self._own.has_news and now - self._spoke < _SPEAK:
                return
            self._spoke = now
            parts = self._own.news(MOST_METRICS)
        yield from iter(partial(self._next, parts), None)

    def _given(self) -> Iterator[bytes]:
        """Answers to those who asked."""
        for node, parts in list(self._answers.items()):
            for _ in range(_PARTS):
                message = self._next(parts)
                if message is None:
                    self._answers.pop(node, None)
                    break
                yield self._to(node, message)

    def _next(self, parts: Iterator[VersionsPart]) -> bytes | None:
        """The message of the next part; claims have their turn between two."""
        with self._lock:
            part = next(parts, None)
            return None if part is None else self._message(part)

    @staticmethod
    def _to(node: bytes, message: bytes) -> bytes:
        """A message for one node alone."""
        return TO_ONE + node + message

    def _message(self, part: VersionsPart) -> bytes:
        """The bytes of a part."""
        stock = self._stock
        numbers = [stock.kind_of(digest) for digest in part.digests]
        places = {number: place for place, number in enumerate(dict.fromkeys(numbers))}
        of_kind = [stock.kind_at(number) for number in places]
        return self._codec.encode(
            Stretch(
                self._run,
                part.after,
                part.until,
                versions=part.versions,
                digests=part.digests,
                kinds=[places[number] for number in numbers],
                of_kind=of_kind,
                namespaces=self._namespaces(kind.namespace for kind in of_kind),
                gone=part.gone,
                last=self._own.last,
                is_declared=self._rules is not None,
            )
        )

    def _namespaces(self, namespaces: Iterable[int]) -> dict[int, int]:
        """NamespaceRows and those above them, each after the one above it."""
        found: dict[int, int] = {}
        for namespace in namespaces:
            way, place = [], namespace
            while place and place not in found:
                way.append(place)
                place = self._stock.held[place].above
            found.update((one, self._stock.held[one].above) for one in reversed(way))
        return found

    def _look_at_rules(self) -> None:
        """Tell of all that is held here, if it is not told yet or other namespaces are under a limit now."""
        rules = self.engine.rules
        if self._rules is rules:
            return
        if self._rules is None or scope(rules.rules) != scope(self._rules.rules):
            self._declare()
        self._rules = rules

    def _declare(self) -> None:
        """Hold what is in the index and under a limit, and nothing else."""
        # Before the holdings are taken: what changes afterwards is told afterwards.
        self.engine.take_unclaimed()
        held = self.engine.holdings()
        numbers = held.size_numbers.tolist()
        stale = set(self._own.digests())
        for start in range(0, len(numbers), _AT_ONCE):
            stretch = range(start, min(start + _AT_ONCE, len(numbers)))
            names = [held.names[place].decode() for place in stretch]
            stale.difference_update(self._came(names, [held.sizes[numbers[place]] for place in stretch]))
        with self._lock:
            # What was claimed meanwhile may be in the index by now.
            self._doubts.update(dict.fromkeys(self._claimed_lately))
            lately = {self._digester.metric(name) for name in self._claimed_lately}
            for digest in stale - lately:
                self._let_go(digest)

    def _came(self, names: Sequence[str], sizes: Sequence[Size]) -> list[bytes]:
        """Hold metrics that are in the index, as far as they are under a limit, whatever the limits; their digests."""
        namespaces = namespaces_of(names)
        limits = self._told_under.of(namespaces)
        digests = []
        with self._lock:
            for name, namespace, size in zip(names, namespaces, sizes, strict=True):
                if not limits[namespace].is_limited:
                    continue
                digest = self._digester.metric(name)
                digests.append(digest)
                if digest not in self._own:
                    place = self._place(list(way_up(namespace)))
                    self._hold(digest, Kind(place, size.logical, size.physical, size.data_points))
                    self.counts["declared"] += 1
        return digests

    def _look_at_engine(self) -> None:
        """Hold what came without being claimed, and let go what went."""
        came, went = self.engine.take_unclaimed()
        for start in range(0, len(came), _AT_ONCE):
            names = came[start : start + _AT_ONCE]
            self._came(names, self.engine.sizes_of(names))
        with self._lock:
            self._doubts.update(dict.fromkeys(went))
            names = list(islice((name for name in self._doubts if name not in self._settling), _AT_ONCE * 10))
            # What is claimed from here on may be put into the index after it is looked at.
            self._claimed_lately = set(self._settling)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            gone = [name for name, is_here in zip(some, self.engine.has_each(some), strict=True) if not is_here]
            with self._lock:
                for name in some:
                    if name not in self._claimed_lately:
                        del self._doubts[name]
                for name in gone:
                    if name not in self._claimed_lately:
                        self._let_go(self._digester.metric(name))

    def _let_go(self, digest: bytes) -> None:
        """Hold a metric no more."""
        if self._own.remove(digest):
            self._stock.remove((digest,))
            self.counts["released"] += 1

    def hear(self, data: bytes) -> None:
        """Take a message of others; what is not to be taken is counted in `faults`."""
        if data[:1] == TO_ONE:
            data = data[17:]
        try:
            message = self._codec.decode(data)
        except ClusterMessageError as error:
            self.faults[error.fault.name.lower()] += 1
            return
        if isinstance(message, Asks):
            self._answer(message)
        elif message.run == self._run:
            self._hears_itself = True
        elif message.run.node == self._run.node:
            # What this node said before it began again may still be under way, but not for long.
            if self._clock() - self._began > _TIMEOUT:
                self._double_at = self._clock()
        else:
            with self._lock:
                self._peers.hear(message, self._clock())

    def _answer(self, asks: Asks) -> None:
        """Begin to tell a node what it missed."""
        if asks.run == self._run and asks.node not in self._answers:
            with self._lock:
                self._answers[asks.node] = self._own.since(asks.after, MOST_METRICS)

    def amounts(self, namespaces: Sequence[str]) -> list[list[int]]:
        """What all nodes hold in these namespaces, in the order of `CAPACITY_ORDER`; from any thread."""
        digests = [int.from_bytes(self._digester.namespace(name), "little") for name in namespaces]
        with self._lock:
            held = self._stock.held
            return [held[digest].amounts if digest in held else [0] * len(CAPACITY_ORDER) for digest in digests]

    @property
    def nodes(self) -> int:
        """How many nodes' holdings are known here, this one's included."""
        with self._lock:
            return 1 + len(self._peers.nodes - {self._run.node})

    def __len__(self) -> int:
        """How many metrics all nodes hold."""
        return len(self._stock)
