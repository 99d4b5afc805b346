"""What rules would do to a stream of metrics, found out by really offering it to an engine.

Theory of operation. Two questions are answered in one reading of the sources. *Enforcement*: everything is offered
in order under the rules, and what they reject is noted and kept. *Usage*: then the same rules are applied with
ample limits, and what was rejected is offered again, so that usage is now what the sources ask for, and shows how far
that is above the real limits. The clock stands still: all points fall into one interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from carbonquota.cli.limit_usages import LimitUsage, Place, usages_of_limits
from carbonquota.controls import ThroughputUnit, compiled_rules
from carbonquota.engine import QuotaEngine
from carbonquota.model import CONTROL_FIELDS, Limits, Rule, Size, SizeOf, Verdict
from carbonquota.rules import RuleSet

_SAMPLES: Final = 5
"""Names kept of what one limit rejected."""

_AMPLE: Final = 2**62
"""A limit beyond all that any source can ask for."""


@dataclass(slots=True)
class Rejection:
    """What one limit turned away: how many points, and the names of some of their metrics."""

    namespace: str
    control: str
    rule: Rule
    points: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, points: int, samples: tuple[str, ...]) -> None:
        """Count more points, and keep names that are new while there is room."""
        self.points += points
        for sample in samples:
            if len(self.samples) < _SAMPLES and sample not in self.samples:
                self.samples.append(sample)


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How a trial went: the limits with the most pressing first, and the rejections with the largest first."""

    accepted: int
    rejected: int
    metrics: int
    namespaces: int
    limits: Sequence[LimitUsage]
    rejections: tuple[Rejection, ...]


class TrialTarget:
    """A target that offers every metric to an engine under rules, and keeps what was rejected."""

    def __init__(
        self, rules: RuleSet, size_of: SizeOf, interval: float = 60.0, unit: ThroughputUnit = "interval"
    ) -> None:
        """`size_of` gives the size of metrics that come without one; `interval` is in seconds."""
        self.rules = rules
        self._compiled = compiled_rules(rules.rules, interval, unit)
        self._engine = QuotaEngine(rules, size_of=size_of, clock=lambda: 0.0, interval=interval, throughput_unit=unit)
        self._accepted = 0
        self._rejected = 0
        self._rejections: dict[Place, Rejection] = {}
        self._rejected_lines: list[bytes] = []
        self._rejected_metrics: list[tuple[str, Size]] = []

    def take_lines(self, plaintext: bytes) -> tuple[int, int]:
        """Offer plaintext lines."""
        result = self._engine.admit(plaintext)
        self._accepted += result.points
        if result.dropped:
            self._rejected += result.dropped
            self._rejected_lines.append(result.rejected)
            for (namespace, control), drop in result.drops.items():
                # No bound on new metrics is set here, so that there is a rule behind each.
                if drop.rule is not None:
                    self._rejection(namespace, control, drop.rule).add(drop.points, drop.samples)
        return result.points + result.dropped, result.malformed

    def take_metric(self, metric: str, size: Size) -> None:
        """Offer one point of a metric of a known size."""
        match self._engine.offer(metric, 1, size):
            case Verdict(accepted=False, namespace=str(namespace), control=str(control), rule=Rule() as rule):
                self._rejected += 1
                self._rejected_metrics.append((metric, size))
                self._rejection(namespace, control, rule).add(1, (metric,))
            case _:
                self._accepted += 1

    def _rejection(self, namespace: str, control: str, rule: Rule) -> Rejection:
        """The count of what this limit turned away."""
        return self._rejections.setdefault((namespace, control), Rejection(namespace, control, rule))

    def outcome(self) -> TrialOutcome:
        """How it went; nothing can be offered any more after that."""
        if self._rejected:
            self._offer_again()
        rejected = {place: rejection.points for place, rejection in self._rejections.items()}
        return TrialOutcome(
            accepted=self._accepted,
            rejected=self._rejected,
            metrics=len(self._engine),
            namespaces=self._engine.namespace_count(),
            limits=usages_of_limits(self._engine.quotas(), self._compiled, rejected),
            rejections=tuple(sorted(self._rejections.values(), key=lambda rejection: -rejection.points)),
        )

    def _offer_again(self) -> None:
        """Let in what was rejected, so that usage becomes what the sources ask for."""
        self._engine.apply(_without_limits(self.rules))
        for lines in self._rejected_lines:
            self._engine.admit(lines)
        for metric, size in self._rejected_metrics:
            self._engine.offer(metric, 1, size)


def _without_limits(rules: RuleSet) -> RuleSet:
    """The same rules with ample limits, so that the same is counted, and all is accepted."""
    return replace(rules, rules=tuple(replace(rule, limits=_lifted(rule.limits)) for rule in rules.rules))


def _lifted(limits: Limits) -> Limits:
    """An ample limit for each that is set."""
    amounts = {name: getattr(limits, name) for name in CONTROL_FIELDS}
    return Limits(**{name: _AMPLE for name, amount in amounts.items() if amount is not None})
