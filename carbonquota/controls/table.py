"""What decides by controls: the order in which these are asked, and rules compiled for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from carbonquota.control import CAPACITIES, CONTROLS
from carbonquota.model import MAXIMUM, ROOT, Limits, Rule, ThroughputUnit, throughput_per_interval

_INDEX: Final = {control.stat: control.index for control in CONTROLS}
NAMESPACES, METRICS, THROUGHPUT = _INDEX["namespaces"], _INDEX["metrics"], _INDEX["throughput"]
"""The indices of the controls that something is said of by name."""

CREATES: Final = len(CONTROLS)
"""Stands where a control's index does, for the bound on new metrics a second, which no rule sets."""

KEYS: Final = (*(control.key for control in CONTROLS), "creates")
"""What rejects an offer is called so in answers: the controls as the rule file spells them, and the bound."""

CAPACITY_ORDER: Final = tuple(control.index for control in sorted(CAPACITIES, key=lambda control: control.turn))
"""The controls of what a namespace holds, in the order in which they are asked about a new metric.

Throughput is the one rate: it counts what passes, starts anew in each interval, and is asked before any of these.
"""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule compiled for deciding.

    `limits` are the rule's, throughput being per interval. `checks` are its limited capacities as (control index,
    limit), in the order of `CAPACITY_ORDER`, without limits of `MAXIMUM`, which no sum can pass. `throughput` is
    `MAXIMUM` where it is not `metered`.
    """

    rule: Rule
    limits: Limits
    checks: tuple[tuple[int, int], ...]
    throughput: int
    metered: bool
    enforcing: bool

    def divided(self, parts: int) -> CompiledRule:
        """The same where the throughput limit begins with one of so many parts, if it rejects; 0: with nothing."""
        if parts == 1 or not (self.metered and self.enforcing) or self.throughput == MAXIMUM:
            return self
        return replace(self, throughput=self.throughput // parts if parts else 0)

    @property
    def depth(self) -> int:
        """How many parts the names of the rule's namespaces have; 0 for the root's."""
        return 0 if self.rule.pattern == ROOT else self.rule.pattern.count(".") + 1

    @property
    def stat_prefix(self) -> str:
        """Goes before the namespace in stat names."""
        return self.rule.stat_prefix


def compiled_rules(rules: Iterable[Rule], interval: float, unit: ThroughputUnit) -> tuple[CompiledRule, ...]:
    """The rules compiled for report intervals of `interval` seconds."""
    return tuple(_compiled(rule, interval, unit) for rule in rules)


def _compiled(rule: Rule, interval: float, unit: ThroughputUnit) -> CompiledRule:
    """One compiled rule."""
    limits = rule.limits
    throughput = limits.throughput
    if throughput is not None:
        throughput = throughput_per_interval(throughput, interval, unit)
        limits = replace(limits, throughput=throughput)
    amounts = [getattr(limits, control.stat) for control in CONTROLS]
    return CompiledRule(
        rule=rule,
        limits=limits,
        checks=tuple(
            (control, limit) for control in CAPACITY_ORDER if (limit := amounts[control]) not in (None, MAXIMUM)
        ),
        throughput=MAXIMUM if throughput is None else throughput,
        metered=throughput is not None,
        enforcing=rule.enforcing,
    )
