"""Engines and models side by side, and what it means that they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls.respelling import as_passed_on
from carbonquota.kernel import KERNEL
from carbonquota.testing import ManualClock
from tests.support.model import SizeTuple, SlowQuotas, SlowRule, recount, rules_text
from tests.support.names import normal_form
from tests.support.reloads import interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from carbonquota import Verdict
    from carbonquota.controls import Admission, BatchDecision, ThroughputUnit
    from tests.support.model import Fate

INTERVAL = 60.0
STOCK_FIELDS = {
    "namespaces": "namespaces",
    "metrics": "metrics",
    "logical-size": "logical_size",
    "physical-size": "physical_size",
    "data-points": "data_points",
}


def size_tuple_of(metric: str) -> SizeTuple:
    """A size that differs from name to name, and is the same for one name at every call."""
    seed = sum(metric.encode())
    return 16 + 12 * (seed % 5), 4096 * (seed % 3), seed % 7


def size_of(metric: str) -> Size:
    """The same, as the engine takes it."""
    return Size(*size_tuple_of(metric))


def rule_set(rules: Iterable[SlowRule]) -> RuleSet:
    """The rules as the package reads them from a file."""
    return RuleSet.from_text(rules_text(rules), source="storage-quotas.conf")


def engine_of(rules: Iterable[SlowRule], clock: ManualClock | None = None) -> QuotaEngine:
    """An engine under the rules, at the start of an interval unless `clock` says otherwise."""
    return QuotaEngine(rule_set(rules), size_of=size_of, clock=clock or ManualClock(0.0), interval=INTERVAL)


def line(name: str | bytes) -> bytes:
    """A plaintext line that carries one point of a metric."""
    raw = name.encode() if isinstance(name, str) else name
    return raw + b" 1.5 1700000000\n"


def all_namespaces(engine: QuotaEngine) -> set[str]:
    """Every namespace but the root, which is always there."""
    return set(engine.namespaces()) - {"/"}


def dropped_by(result: BatchDecision) -> Counter[tuple[str, str]]:
    """The points that a batch dropped, by namespace and control."""
    return Counter({who: drop.points for who, drop in result.drops.items()})


class Twin:
    """An engine and the model, given the same calls; each call asserts that both answer the same."""

    def __init__(
        self, rules: Sequence[SlowRule], now: float = 0.0, interval: float = INTERVAL, unit: ThroughputUnit = "interval"
    ) -> None:
        """Start both empty at `now`."""
        self.interval = interval
        self.clock = ManualClock(now)
        self._asked: list[str] = []
        self._expected: list[str] = []
        self._asked_before: set[str] = set()
        self.engine = QuotaEngine(
            rule_set(rules), size_of=self._size_of, clock=self.clock, interval=interval, throughput_unit=unit
        )
        self.model = SlowQuotas(rules, self._size_tuple_of, self.clock, interval, per_minute=unit == "minute")

    def _size_of(self, metric: str) -> Size:
        self._asked.append(metric)
        return size_of(metric)

    def _size_tuple_of(self, metric: str) -> SizeTuple:
        self._expected.append(metric)
        return size_tuple_of(metric)

    def _assert_asked_alike(self) -> None:
        """No size was asked for but those that the decisions took, in their order.

        The compiled kernel need not ask again for one that it knows.
        """
        if KERNEL != "compiled":
            assert self._asked == self._expected
        asked = iter([*self._asked, None])
        metric = next(asked)
        for expected in self._expected:
            if metric == expected:
                self._asked_before.add(metric)
                metric = next(asked)
            else:
                assert expected in self._asked_before
        assert metric is None
        self._asked.clear()
        self._expected.clear()

    def offer(self, name: str, points: int, size: SizeTuple | None = None) -> None:
        """Both decide alike, and name the same namespace, control and rule."""
        verdict = self.engine.offer(name, points, size and Size(*size))
        fate = self.model.offer(name, points, size)
        self._assert_verdict(verdict, fate)
        self._assert_asked_alike()

    def offer_all(self, offers: Sequence[tuple[str, int]]) -> None:
        """Both accept all of them or none, and name the same rejection."""
        self._assert_verdict(self.engine.offer_all(offers), self.model.offer_all(offers))
        self._assert_asked_alike()

    def admit_names(self, names: Sequence[str], points: Sequence[int]) -> None:
        """Each name has the fate of its offer."""
        result = self.engine.admit_names(names, points)
        fates = [self.model.offer(name, amount) for name, amount in zip(names, points, strict=True)]
        assert result.passes() == [fate.kind == "accepted" for fate in fates]
        dropped = Counter[tuple[str | None, str | None]]()
        for fate, amount in zip(fates, points, strict=True):
            if fate.kind == "dropped":
                dropped[fate.namespace, fate.control] += amount
        assert dropped_by(result) == dropped
        assert result.points == sum(points) - dropped.total()
        assert result.dropped == dropped.total() == sum(result.dropped_by_control.values())
        self._assert_asked_alike()

    def explain(self, name: str) -> None:
        """The explanation is the verdict of the offer that follows."""
        verdict = self.engine.explain(name).verdict
        self._asked.clear()  # an explanation tells the size of any metric
        self._assert_verdict(verdict, self.model.offer(name))
        assert self.engine.offer(name) == verdict
        self._assert_asked_alike()

    def admit(self, buffer: bytes) -> None:
        """Each line has the same fate, and the batch counts what its lines are."""
        result, fates = self.engine.admit(buffer), self.model.admit(buffer)
        kinds = Counter(fate.kind for _, fate in fates)
        passed = [as_passed_on(text) if fate.kind == "accepted" else text for text, fate in fates]
        kept = [text for text, (_, fate) in zip(passed, fates, strict=True) if fate.kind in {"accepted", "blank"}]
        assert result.accepted == b"".join(kept)
        assert (result.points, result.dropped, result.malformed) == tuple(
            kinds[kind] for kind in ("accepted", "dropped", "malformed")
        )
        assert dropped_by(result) == Counter(
            (fate.namespace, fate.control) for _, fate in fates if fate.kind == "dropped"
        )
        assert (result.accepted is buffer) or b"".join(kept) != buffer
        self._assert_samples(result, fates)
        self._assert_asked_alike()

    def load(self, name: str, size: SizeTuple | None = None) -> None:
        """Both take it in, asking no quota."""
        self.engine.load(name, size and Size(*size))
        self.model.load(name, size)
        self._assert_asked_alike()

    def forget(self, name: str) -> None:
        """Both say whether it was there."""
        assert self.engine.forget(name) == self.model.forget(name)

    def apply(self, rules: Sequence[SlowRule], meanwhile: Callable[[], None]) -> None:
        """Both swap their rules; what happens while the engine is at it comes before, as the model sees it."""
        self.engine.apply(interrupted(rule_set(rules), meanwhile))
        self.model.apply(rules)

    def report(self) -> None:
        """Both give the same stats; of a namespace that is gone the engine may report zeros."""
        got, expected = self.engine.report(), self.model.report()
        zeros = {name for name in got.keys() - expected.keys() if name.startswith("quota.") or not got[name]}
        assert {name: value for name, value in got.items() if name not in zeros} == expected

    def assert_settled(self) -> None:
        """After the reports that give all there was, only what is there is reported, and nothing is pending."""
        for seconds in (0.0, 0.0, self.interval):
            self.clock.advance(seconds)
            self.report()
        assert self.engine.report() == self.model.report()

    def assert_same_state(self) -> None:
        """The same metrics, namespaces and usage, counted from scratch on the model's side."""
        usage = recount(self.model.metrics)
        assert len(self.engine) == len(self.model.metrics)
        assert all(metric in self.engine for metric in self.model.metrics)
        assert all_namespaces(self.engine) == set(usage) - {"/"}
        for namespace, capacities in usage.items():
            kept = self.engine.usage(namespace)
            assert {c: getattr(kept, name) for c, name in STOCK_FIELDS.items()} == {
                c: capacities[c] for c in STOCK_FIELDS
            }
            assert kept.throughput == self._limited_throughput(namespace), namespace

    def _limited_throughput(self, namespace: str) -> int:
        rule = self.model.rule_of(namespace)
        return self.model.throughput(namespace) if rule and "throughput" in rule.limits else 0

    def _assert_verdict(self, verdict: Verdict, fate: Fate) -> None:
        got = (verdict.accepted, verdict.namespace, verdict.control)
        assert got == (fate.kind == "accepted", fate.namespace, fate.control)
        rule = fate.namespace and self.model.rule_of(fate.namespace)
        assert getattr(verdict.rule, "pattern", None) == (rule.pattern if rule else None)

    def _assert_samples(self, result: Admission, fates: list[tuple[bytes, Fate]]) -> None:
        for who, drop in result.drops.items():
            names = {normal_form(text.split()[0]) for text, fate in fates if (fate.namespace, fate.control) == who}
            assert drop.samples
            assert set(drop.samples) <= names
            rule = self.model.rule_of(who[0])
            assert rule is not None
            assert drop.rule is not None
            assert drop.rule.pattern == rule.pattern
