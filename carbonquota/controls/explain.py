"""An offer held against the limits above it for a person to read, without charging or counting anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from carbonquota.control import CONTROLS, amounts_of
from carbonquota.controls.explanation import ControlState, Explanation, NamespaceExplanation
from carbonquota.controls.quota_columns import usage_of
from carbonquota.controls.reference.decision import Decider
from carbonquota.controls.table import CAPACITY_ORDER, NAMESPACES, THROUGHPUT
from carbonquota.kernel import UNKNOWN
from carbonquota.metric_name import dotted_part
from carbonquota.model import ROOT, Rule, Size, Usage, Verdict

Matches = Callable[[str], tuple[Rule, ...]]
"""Gives the rules that match a namespace, in file order: the last one holds it."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """The offer to explain."""

    known: bool
    points: int
    size: Size


def explain(decider: Decider, matches: Matches, metric: str, points: int) -> Explanation:
    """How an offer of a metric, by its normal name, would fare now."""
    index = decider.index
    row = index.find(metric.encode())
    known = row != UNKNOWN
    if not known:
        decider.check_name(metric)
    size = index.series.size_of(row) if known else decider.checked_size(metric, None)
    offer = _Offer(known, points, size)
    namespaces = tuple(_namespaces(decider, matches, metric, offer))
    return Explanation(metric, known, points, size, _verdict(namespaces, offer), namespaces)


def _namespaces(decider: Decider, matches: Matches, metric: str, offer: _Offer) -> Iterator[NamespaceExplanation]:
    """Each namespace above the metric, from the root."""
    index = decider.index
    parts = dotted_part(metric).split(".")[:-1]
    names = [ROOT, *(".".join(parts[: depth + 1]) for depth in range(len(parts)))]
    usages = [usage_of(index, index.namespaces.find(name)) for name in names]
    limits = {each.rule: each.limits for each in decider.compiled}
    for depth, (name, usage) in enumerate(zip(names, usages, strict=True)):
        matched = matches(name)
        rule = matched[-1] if matched else None
        gains = not offer.known and depth + 1 < len(names) and usages[depth + 1].metrics == 0
        controls = () if rule is None else tuple(_states(limits[rule], usage, offer, gains=gains))
        yield NamespaceExplanation(name, usage.metrics > 0, rule, matched[:-1], controls)


def _states(limits: object, usage: Usage, offer: _Offer, *, gains: bool) -> Iterator[ControlState]:
    """Each limited control of one namespace, and what the offer needs of it."""
    new = 0 if offer.known else 1
    needed = [new * amount for amount in amounts_of(offer.size)]
    needed[NAMESPACES] = int(gains)
    for control, amount in zip(CONTROLS, (*needed, offer.points), strict=True):
        limit = getattr(limits, control.stat)
        if limit is not None:
            asked = not offer.known or control.index == THROUGHPUT
            yield ControlState(control.key, limit, getattr(usage, control.stat), amount, asked)


def _verdict(namespaces: Sequence[NamespaceExplanation], offer: _Offer) -> Verdict:
    """The answer that the offer would get: throughput is asked first, all the way down, then what is held."""
    for asked in ((THROUGHPUT,), () if offer.known else CAPACITY_ORDER):
        for namespace in namespaces:
            states = {state.control: state for state in namespace.controls}
            for control in (CONTROLS[index].key for index in asked):
                state = states.get(control)
                if state and state.over and namespace.rule and namespace.rule.enforcing:
                    return Verdict(accepted=False, namespace=namespace.namespace, control=control, rule=namespace.rule)
    return Verdict(accepted=True)
