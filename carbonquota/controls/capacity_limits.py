"""Limits of what is held over several nodes: which a new metric comes under, and a refusal by all nodes together.

Columns of limits go in the order of `CAPACITY_ORDER`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonquota.control import CAPACITIES
from carbonquota.controls.reference import Decider, throughput
from carbonquota.controls.rejections import NO_RULES_QUOTA, Rejections, of_absent
from carbonquota.controls.table import CAPACITY_ORDER, CREATES, CompiledRule
from carbonquota.metric_name import dotted_part
from carbonquota.model import ROOT, Rule
from carbonquota.trie import NO_QUOTA

MOST_SHARED: Final = 2**53
"""Greater limits are not shared: what is held over all nodes is counted in doubles."""

_UNLIMITED: Final = (-1,) * len(CAPACITY_ORDER)


@dataclass(frozen=True, slots=True)
class NamespaceLimits:
    """The limits of a namespace that reject new metrics, -1 for none. `is_limited` counts those above it, too."""

    namespace: str
    limits: tuple[int, ...]
    is_limited: bool


@dataclass(frozen=True, slots=True)
class RefusedMetric:
    """A new metric that the nodes together have no room for: its normal name, and whose limit, of which control."""

    metric: str
    namespace: str
    control: int


def scope(rules: Iterable[Rule]) -> tuple[tuple[str, bool], ...]:
    """Which namespaces are under a shared limit, whatever its amount: equal for rules that limit the same ones."""
    return tuple((rule.pattern, rule.enforcing and any(map(_is_shared, _limits_of(rule)))) for rule in rules)


def _limits_of(rule: Rule) -> list[int | None]:
    """Its limits of what is held."""
    return [getattr(rule.limits, control.stat) for control in CAPACITIES]


def _is_shared(limit: int | None) -> bool:
    return limit is not None and limit <= MOST_SHARED


def limits_above(decider: Decider, namespaces: Iterable[str]) -> list[NamespaceLimits]:
    """The limits of these namespaces and all above them, each once, after the one above it."""
    found: dict[str, NamespaceLimits] = {}
    for namespace in namespaces:
        if namespace in found:
            continue
        is_limited = False
        for name, rule in _way_down(decider, namespace):
            known = found.get(name)
            if known is None:
                limits = _UNLIMITED if rule is None else _limits(rule)
                is_limited = is_limited or limits != _UNLIMITED
                found[name] = NamespaceLimits(name, limits, is_limited)
            else:
                is_limited = known.is_limited
    return list(found.values())


def _way_down(decider: Decider, namespace: str) -> Iterator[tuple[str, CompiledRule | None]]:
    """The namespaces from the root to this one, whether they are there or not, with their rules."""
    index, compiled = decider.index, decider.compiled
    row, missing = index.locate(ROOT if namespace == ROOT else f"{namespace}.")
    for place in index.namespaces.lineage(row):
        quota = index.own_quota(place)
        yield index.namespaces.name(place), None if quota == NO_QUOTA else compiled[index.quotas.rule_at[quota]]
    for name, rule in zip(missing, index.foresee(row, missing), strict=True):
        yield name, None if rule < 0 else compiled[rule]


def _limits(rule: CompiledRule) -> tuple[int, ...]:
    """What a rule rejects new metrics by."""
    if not rule.enforcing:
        return _UNLIMITED
    limits = dict(rule.checks)
    return tuple(limit if (limit := limits.get(control, -1)) <= MOST_SHARED else -1 for control in CAPACITY_ORDER)


def refuse(decider: Decider, refused: Sequence[RefusedMetric]) -> Rejections:
    """Count a point of each where there is no room for it; the rejections go in the order given."""
    counts = Counter((one.namespace, one.control) for one in refused)
    places: dict[tuple[str, int], tuple[int, int]] = {}
    rows = []
    for one in refused:
        key = one.namespace, one.control
        if key not in places:
            places[key] = _count(decider, one, counts[key])
        rows.append(places[key])
    by, controls = zip(*rows, strict=True)
    return Rejections(
        decider.index.quotas,
        np.arange(len(rows), dtype=np.int64),
        np.array(by, np.int32),
        np.array(controls, np.int8),
    )


def _count(decider: Decider, refused: RefusedMetric, points: int) -> tuple[int, int]:
    """Count points at the namespace that refuses a metric; what stands for its quota in rejections, and the control."""
    index = decider.index
    row, missing = index.locate(dotted_part(refused.metric))
    for place in index.namespaces.lineage(row):
        quota = index.own_quota(place)
        if index.namespaces.name(place) == refused.namespace and quota != NO_QUOTA:
            throughput.over(index.quotas, quota, refused.control, points)
            return quota, refused.control
    for name, rule in zip(missing, index.foresee(row, missing), strict=True):
        if name == refused.namespace and rule >= 0:
            index.absent.count(name, refused.control, points, enforcing=True)
            return of_absent(rule), refused.control
    # The rules are others by now.
    return NO_RULES_QUOTA, CREATES
