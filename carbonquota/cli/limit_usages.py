"""What sources ask of every limit that holds them, with the most pressing limit first.

There may be hundreds of thousands of limits, of which a person is shown fifty. So all are put in order, and those
that are looked at become a `LimitUsage` each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import overload

from carbonquota.controls import CONTROLS, CompiledRule, NamespaceQuota
from carbonquota.model import Rule

Place = tuple[str, str]
"""A namespace and a control, spelled as in the rules file (`logical-size`)."""


@dataclass(frozen=True, slots=True)
class LimitInForce:
    """One limit of a rule: the field of Usage it is about, the control as in the file, the amount in force."""

    rule: Rule
    field: str
    control: str
    amount: int


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """One limit of one namespace, and what the sources ask of it.

    `usage` is what there would be if nothing were rejected; `rejected` are the points that this limit turns away.
    """

    namespace: str
    control: str
    rule: Rule
    limit: int
    usage: int
    rejected: int = 0

    @property
    def percent(self) -> float:
        """The usage as percents of the limit; a limit may be 0 where an interval is a fraction of a minute."""
        return _percent(self.usage, self.limit)

    @property
    def over(self) -> int:
        """By how much the usage exceeds the limit."""
        return max(self.usage - self.limit, 0)


@dataclass(frozen=True, slots=True)
class LimitUsages(Sequence[LimitUsage]):
    """The usages of all limits: the nearest to its limit, or the furthest above it, first; else by name.

    `asked` has namespace, limit and usage of each, in that order; `rejected` the points of those that rejected some.
    """

    asked: Sequence[tuple[str, LimitInForce, int]] = ()
    rejected: Mapping[Place, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of limits."""
        return len(self.asked)

    @overload
    def __getitem__(self, index: int) -> LimitUsage: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[LimitUsage]: ...

    def __getitem__(self, index: int | slice) -> LimitUsage | Sequence[LimitUsage]:
        """The value at a place, or those of a slice."""
        if isinstance(index, slice):
            return [self._value(*asked) for asked in self.asked[index]]
        return self._value(*self.asked[index])

    def _value(self, namespace: str, limit: LimitInForce, usage: int) -> LimitUsage:
        """The value for one limit."""
        rejected = self.rejected.get((namespace, limit.control), 0)
        return LimitUsage(namespace, limit.control, limit.rule, limit.amount, usage, rejected)


def usages_of_limits(
    quotas: Iterable[NamespaceQuota], compiled: Iterable[CompiledRule], rejected: Mapping[Place, int]
) -> LimitUsages:
    """The usages of all limits of `compiled` rules, by the usage in `quotas`, whose rules stand in the same places."""
    limits = {(rule.rule.source, rule.rule.line): _limits(rule) for rule in compiled}
    asked = [
        (quota.namespace, limit, getattr(quota.usage, limit.field))
        for quota in sorted(quotas, key=attrgetter("namespace"))
        for limit in limits[quota.rule.source, quota.rule.line]
    ]
    percents = [_percent(usage, limit.amount) for _, limit, usage in asked]
    # Sorting is stable, reversed too: what is equal stays by name, and in the order of the controls.
    order = sorted(range(len(asked)), key=percents.__getitem__, reverse=True)
    return LimitUsages([asked[place] for place in order], rejected)


def _limits(rule: CompiledRule) -> list[LimitInForce]:
    """The limits that a rule sets, in the order of the controls."""
    amounts = [(control, getattr(rule.limits, control.stat)) for control in CONTROLS]
    return [
        LimitInForce(rule.rule, control.stat, control.key, amount) for control, amount in amounts if amount is not None
    ]


def _percent(usage: int, limit: int) -> float:
    """The usage as percents of the limit."""
    if limit:
        return usage / limit * 100
    return math.inf if usage else 0.0
