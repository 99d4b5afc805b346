"""A quota as the specification says it, with no thought for speed: what every clever engine must equal.

Usage is recounted from the names whenever they changed; a rule is looked for by trying all of them; a batch is
its lines one after another. Only Python's dicts and ints are used.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction

from tests.support.globs import glob_matches
from tests.support.names import MalformedNameError, line_fields, namespaces_of, normal_form, parent_of, split_lines

MAXIMUM = 2**63 - 1
CAPACITY_ORDER = ("metrics", "logical-size", "physical-size", "data-points", "namespaces")
CONTROLS = ("namespaces", "metrics", "logical-size", "physical-size", "data-points", "throughput")

SIZES = ("logical-size", "physical-size", "data-points")

SizeTuple = tuple[int, int, int]  # logical size, physical size, data points


class Need:
    """A new metric's size, asked for when a limit of it is looked at, or when the metric is accepted; once."""

    def __init__(self, ask: Callable[[], SizeTuple]) -> None:
        self._ask = ask
        self._size: SizeTuple | None = None

    def size(self) -> SizeTuple:
        if self._size is None:
            self._size = self._ask()
        return self._size


@dataclass(frozen=True)
class SlowRule:
    """One section: `limits` by control as the file spells it, and whether it rejects (`enforcing`) or only counts."""

    pattern: str
    limits: Mapping[str, int] = field(default_factory=dict)
    enforcing: bool = True
    prefix: str = ""

    def __str__(self) -> str:
        lines = [f"[{self.pattern}]", *(f"{control} = {limit}" for control, limit in self.limits.items())]
        lines += [] if self.enforcing else ["dropping-policy = none"]
        lines += [f"stat-metric-prefix = {self.prefix}"] if self.prefix else []
        return "\n".join(lines)


def rules_text(rules: Iterable[SlowRule]) -> str:
    """The rules as a `storage-quotas.conf`."""
    return "\n\n".join(map(str, rules)) + "\n"


@dataclass(frozen=True)
class Fate:
    """What became of an offer or a line; `namespace` and `control` name who rejected it."""

    kind: str  # accepted, dropped, malformed, blank
    namespace: str | None = None
    control: str | None = None


ACCEPTED, MALFORMED, BLANK = Fate("accepted"), Fate("malformed"), Fate("blank")


def stat_name(rule: SlowRule, namespace: str) -> str:
    """How stats call a namespace under a rule."""
    return rule.prefix.removeprefix(".") + ("root" if namespace == "/" else namespace.replace(".", "-"))


@dataclass
class Flow:
    """What one namespace counted in an interval."""

    throughput: int = 0
    throttle: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.throughput or self.throttle or self.dropped)

    def __add__(self, other: Flow) -> Flow:
        return Flow(self.throughput + other.throughput, self.throttle + other.throttle, self.dropped + other.dropped)


Flows = defaultdict[str, Flow]


def _add(rates: Flows, more: Flows) -> None:
    for namespace, rate in more.items():
        rates[namespace] += rate


Stocks = dict[str, Counter[str]]


def recount(metrics: Mapping[str, SizeTuple]) -> Stocks:
    """The stocks of every namespace, counted from nothing but the metrics and their sizes."""
    capacities: Stocks = {"/": Counter()}
    for metric, size in metrics.items():
        _count(capacities, metric, size)
    return capacities


def _count(capacities: Stocks, metric: str, size: SizeTuple) -> None:
    """Count one more metric, and the namespaces that come with it."""
    for namespace in namespaces_of(metric):
        if namespace not in capacities:
            capacities[namespace] = Counter()
            capacities[parent_of(namespace)]["namespaces"] += 1
        for control, amount in zip(CAPACITY_ORDER, (1, *size), strict=False):
            capacities[namespace][control] += amount


class SlowQuotas:
    """The model: metrics with their sizes, rules in file order, and the counts of this interval and of ended ones."""

    def __init__(
        self,
        rules: Iterable[SlowRule],
        size_of: Callable[[str], SizeTuple] = lambda metric: (0, 0, 0),
        now: Callable[[], float] = lambda: 0.0,
        interval: float = 60.0,
        per_minute: bool = False,
    ) -> None:
        """Start empty, in the interval in which `now()` lies."""
        self.rules = list(rules)
        self.metrics: dict[str, SizeTuple] = {}
        self._size_of, self._now, self._interval, self._per_minute = size_of, now, interval, per_minute
        self._running: Flows = defaultdict(Flow)
        self._ended: Flows = defaultdict(Flow)
        self._unreported = self._reported_early = False
        self._boundary = self._next_boundary()
        self._usage: Stocks | None = None
        self._rule_of: dict[str, SlowRule | None] = {}

    def usage(self) -> Stocks:
        """The stocks by namespace, recounted since something was taken out; the root is always there."""
        if self._usage is None:
            self._usage = recount(self.metrics)
        return self._usage

    def rule_of(self, namespace: str) -> SlowRule | None:
        """The last rule that matches."""
        if namespace not in self._rule_of:
            matching = [rule for rule in self.rules if glob_matches(rule.pattern, namespace)]
            self._rule_of[namespace] = matching[-1] if matching else None
        return self._rule_of[namespace]

    def throughput(self, namespace: str) -> int:
        """The accepted points that stand against the limit now."""
        self._roll()
        return self._running[namespace].throughput if namespace in self._running else 0

    def load(self, name: str | bytes, size: SizeTuple | None = None) -> None:
        """Into the index, asking no quota; a known metric is counted with the size given, if one is."""
        metric = normal_form(name)
        if metric not in self.metrics:
            held = size or self._size_of(metric)
            _count(self.usage(), metric, held)
            self.metrics[metric] = held
        elif size is not None:
            self.metrics[metric] = size
            self._usage = None

    def forget(self, name: str | bytes) -> bool:
        """Out of the index; whether it was there."""
        self._usage = None
        return self.metrics.pop(normal_form(name), None) is not None

    def offer(self, name: str | bytes, points: int = 1, size: SizeTuple | None = None) -> Fate:
        """Decide one offer and charge it."""
        metric = normal_form(name)
        self._roll()
        need = None if metric in self.metrics else Need(lambda: self._size_of(metric) if size is None else size)
        fate = self._decide(metric, points, need)
        if fate is ACCEPTED:
            self._charge(metric, points, need)
        return fate

    def offer_all(self, offers: Iterable[tuple[str, int]]) -> Fate:
        """Offer one after another; where one is dropped, only what it counted itself is left of them all."""
        self._roll()
        metrics, running = self.metrics.copy(), deepcopy(self._running)
        for name, points in offers:
            before = deepcopy(self._running)
            fate = self.offer(name, points)
            if fate is not ACCEPTED:
                for namespace, rate in self._running.items():
                    running[namespace].throttle += rate.throttle - before[namespace].throttle
                    running[namespace].dropped += rate.dropped - before[namespace].dropped
                self.metrics, self._running, self._usage = metrics, running, None
                return fate
        return ACCEPTED

    def admit(self, buffer: bytes) -> list[tuple[bytes, Fate]]:
        """Decide the lines of a buffer one after another; each line comes back with its end."""
        return [(line, self._line(line)) for line in split_lines(buffer)]

    def apply(self, rules: Iterable[SlowRule]) -> None:
        """Swap the rules; counts stay where a rule (for running throughput: a limit) holds before and after."""
        self._roll()
        before = {namespace: self.rule_of(namespace) for rates in (self._running, self._ended) for namespace in rates}
        self.rules, self._rule_of = list(rules), {}
        for rates in (self._running, self._ended):
            for namespace in list(rates):
                if before[namespace] is None or self.rule_of(namespace) is None:
                    del rates[namespace]
        for namespace, rate in self._running.items():
            old, new = before[namespace], self.rule_of(namespace)
            if not (old and new and "throughput" in old.limits and "throughput" in new.limits):
                rate.throughput = 0

    def report(self) -> dict[str, int]:
        """Give the ended intervals or, if none is unreported, close the running one early; stats by name."""
        self._roll()
        rates, self._ended = self._ended, defaultdict(Flow)
        if not self._unreported:
            _add(rates, self._running)
            self._running, self._reported_early = defaultdict(Flow), True
        self._unreported = False
        present = {*self.usage(), *(namespace for namespace, rate in rates.items() if rate)}
        return {
            name: value
            for namespace in present
            if (rule := self.rule_of(namespace)) is not None
            for name, value in self._stats(namespace, rule, rates[namespace])
        }

    def effective_limit(self, limit: int) -> Fraction:
        """The points that a throughput limit allows in one interval."""
        if self._per_minute and limit != MAXIMUM:
            return limit * Fraction(self._interval) / 60
        return Fraction(limit)

    def _stats(self, namespace: str, rule: SlowRule, rate: Flow) -> Iterable[tuple[str, int]]:
        name = stat_name(rule, namespace)
        usage = self.usage().get(namespace, Counter())
        for control, limit in rule.limits.items():
            key, rates = control.replace("-", "_"), control == "throughput"
            yield f"quota.{key}.{name}", int(self.effective_limit(limit)) if rates else limit
            yield f"usage.{key}.{name}", rate.throughput if rates else usage[control]
        yield f"throttle.{name}", rate.throttle
        yield f"dropped.{name}", rate.dropped.total()

    def _next_boundary(self) -> float:
        return (self._now() // self._interval + 1) * self._interval

    def _roll(self) -> None:
        """End the running interval if its time has passed; what it counted since its last report is unreported."""
        if self._now() < self._boundary:
            return
        self._unreported |= not self._reported_early or any(self._running.values())
        # An interval that passed without a call is unreported like any other.
        self._unreported |= self._next_boundary() - self._boundary > 1.5 * self._interval
        _add(self._ended, self._running)
        self._running, self._reported_early, self._boundary = defaultdict(Flow), False, self._next_boundary()

    def _decide(self, metric: str, points: int, need: Need | None) -> Fate:
        for namespace in namespaces_of(metric):
            rule = self.rule_of(namespace)
            if rule is None or "throughput" not in rule.limits:
                continue
            over = self._running[namespace].throughput + points > self.effective_limit(rule.limits["throughput"])
            if over and self._count_over(namespace, rule, "throughput", points):
                return Fate("dropped", namespace, "throughput")
        if need is None:
            return ACCEPTED
        for namespace in namespaces_of(metric):
            rule = self.rule_of(namespace)
            control = rule and self._first_stock_over(metric, namespace, rule, need)
            if rule and control and self._count_over(namespace, rule, control, points):
                return Fate("dropped", namespace, control)
        return ACCEPTED

    def _first_stock_over(self, metric: str, namespace: str, rule: SlowRule, need: Need) -> str | None:
        lineage = namespaces_of(metric)
        below = lineage[lineage.index(namespace) + 1 :][:1]
        counts = {"metrics": 1, "namespaces": int(bool(below) and below[0] not in self.usage())}
        used = self.usage().get(namespace, Counter())
        for control in CAPACITY_ORDER:
            if control not in rule.limits or rule.limits[control] == MAXIMUM:
                continue
            if used[control] > rule.limits[control]:
                return control  # whatever comes, so that no size need be known
            more = counts[control] if control in counts else need.size()[SIZES.index(control)]
            if used[control] + more > rule.limits[control]:
                return control
        return None

    def _count_over(self, namespace: str, rule: SlowRule, control: str, points: int) -> bool:
        rate = self._running[namespace]
        rate.throttle += points
        if rule.enforcing:
            rate.dropped[control] += points
        return rule.enforcing

    def _charge(self, metric: str, points: int, need: Need | None) -> None:
        for namespace in namespaces_of(metric):
            rule = self.rule_of(namespace)
            if rule is not None and "throughput" in rule.limits:
                self._running[namespace].throughput += points
        if need is not None:
            self.load(metric, need.size())

    def _line(self, line: bytes) -> Fate:
        if not line.strip():
            return BLANK
        try:
            metric, _, _ = line_fields(line)
        except MalformedNameError:
            return MALFORMED
        return self.offer(metric)
