"""The table of controls: how each is called in the file and in stats, and in which order they decide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from carbonquota.model import CONTROL_FIELDS, MAXIMUM, ROOT, Limits, Rule, Size, ThroughputUnit, throughput_per_interval


@dataclass(frozen=True, slots=True)
class Control:
    """One control: `key` in the rule file, `stat` in stat names, `index` wherever controls are columns."""

    index: int
    stat: str

    @property
    def key(self) -> str:
        """How the rule file spells it: with dashes."""
        return self.stat.replace("_", "-")


CONTROLS: Final = tuple(Control(index, name) for index, name in enumerate(CONTROL_FIELDS))
"""All controls, in the order of their columns."""

NAMESPACES, METRICS, LOGICAL_SIZE, PHYSICAL_SIZE, DATA_POINTS, THROUGHPUT = range(len(CONTROLS))
"""The controls' indices."""

STOCK_CONTROLS: Final = CONTROL_FIELDS[:THROUGHPUT]
"""The names of the controls of what is held, by index."""

CREATES: Final = len(CONTROLS)
"""Stands where a control's index does, for the bound on new metrics a second, which no rule sets."""

KEYS: Final = (*(control.key for control in CONTROLS), "creates")
"""What rejects an offer is called so in answers: the controls as the rule file spells them, and the bound."""

STOCKS: Final = (METRICS, LOGICAL_SIZE, PHYSICAL_SIZE, DATA_POINTS, NAMESPACES)
"""The controls of what a namespace holds, in the order in which they are asked about a new metric.

Throughput is the one flow: it counts what passes, starts anew in each interval, and is asked before any of these.
"""


def amounts_of(size: Size) -> tuple[int, ...]:
    """What a metric of this size adds to each namespace above it, by stock, but for sub-namespaces."""
    return (0, 1, size.logical, size.physical, size.data_points)


@dataclass(frozen=True, slots=True)
class Grant:
    """A rule made ready for deciding.

    `limits` are the rule's, throughput being per interval. `checks` are its limited stocks as (control index,
    limit), in the order of `STOCKS`, without limits of `MAXIMUM`, which no sum can pass. `throughput` is `MAXIMUM`
    where it is not `metered`.
    """

    rule: Rule
    limits: Limits
    checks: tuple[tuple[int, int], ...]
    throughput: int
    metered: bool
    enforcing: bool

    def divided(self, parts: int) -> Grant:
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


def grants(rules: Iterable[Rule], interval: float, unit: ThroughputUnit) -> tuple[Grant, ...]:
    """The rules made ready, for report intervals of `interval` seconds."""
    return tuple(_grant(rule, interval, unit) for rule in rules)


def _grant(rule: Rule, interval: float, unit: ThroughputUnit) -> Grant:
    """One rule made ready."""
    limits = rule.limits
    throughput = limits.throughput
    if throughput is not None:
        throughput = throughput_per_interval(throughput, interval, unit)
        limits = replace(limits, throughput=throughput)
    amounts = tuple(getattr(limits, name) for name in CONTROL_FIELDS)
    return Grant(
        rule=rule,
        limits=limits,
        checks=tuple((control, limit) for control in STOCKS if (limit := amounts[control]) not in (None, MAXIMUM)),
        throughput=MAXIMUM if throughput is None else throughput,
        metered=throughput is not None,
        enforcing=rule.enforcing,
    )
