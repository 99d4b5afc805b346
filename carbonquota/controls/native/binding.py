"""The ledger bound to the columns of an index and to the limits of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import numpy as np

from carbonquota.control import CAPACITIES, CONTROLS
from carbonquota.controls.native._cy import Ledger
from carbonquota.controls.table import CAPACITY_ORDER, CREATES, METRICS, NAMESPACES, CompiledRule
from carbonquota.kernel._cy import FlatMatcher
from carbonquota.model import Storable
from carbonquota.rules import Matcher
from carbonquota.trie import Index

_NO_CHECK: Final = (-1, 0)


def ledger_of(index: Index, storable: Storable | None) -> Ledger:
    """A ledger that decides on the series of an index, of which those that are not storable are none."""
    controls = {control.stat: control.index for control in CONTROLS}
    ledger = Ledger(index.table, controls=controls | {"creates": CREATES})
    if storable is not None:
        prefix = storable.doubtful_prefix.encode()
        ledger.hold_to(storable.earliest, storable.latest, storable.sure_length, prefix)
    return ledger


def bind(ledger: Ledger, index: Index, compiled: Sequence[CompiledRule]) -> None:
    """Have it decide over the columns as they are now; to be called whenever some were replaced, or the rules."""
    namespaces, quotas, seen = index.namespaces, index.quotas, index.seen
    columns = {
        "lag": namespaces.lag,
        "rule_metered": np.array([rule.metered for rule in compiled], np.int64),
        "rule_throughput": np.array([rule.throughput for rule in compiled], np.int64),
        "rule_enforcing": np.array([rule.enforcing for rule in compiled], np.int64),
        **{name: getattr(quotas, name) for name in ("remaining", "limit", "throttle")},
    }
    ledger.bind(
        columns=columns,
        narrow={
            "quota_of": namespaces.quota,
            "held": quotas.namespace,
            **{name: getattr(namespaces, name) for name in ("parent", "child_count", "state")},
            **{name: getattr(quotas, name) for name in ("rule", "named")},
        },
        rows=(namespaces, quotas),
        used=namespaces.usage,
        dropped=quotas.dropped,
        rates=quotas.rates,
        checks=np.array([_checks(rule) for rule in compiled], np.int64).reshape(-1, len(CAPACITY_ORDER) + 1, 2),
        size_number=index.series.size_number,
        seen=None if seen is None else seen.time,
        matcher=_flat(ledger, cast("Matcher", index.matcher)),
        absent=(index.absent.names, index.absent.most, [index.absent.throttle, *index.absent.dropped]),
        some_reject_alone=any(map(_rejects_alone, compiled)),
    )


def _flat(ledger: Ledger, matcher: Matcher) -> FlatMatcher:
    """The matcher's plan as tables, which are kept as long as the rules are in force."""
    flat = ledger.matcher
    return flat if flat is not None and flat.of is matcher else FlatMatcher(matcher, matcher.plan())


def _rejects_alone(rule: CompiledRule) -> bool:
    """Whether a rule may reject a metric by a namespace that holds nothing yet."""
    return rule.throughput < 1 or any(
        control.index not in {NAMESPACES, METRICS} and getattr(rule.limits, control.stat) is not None
        for control in CAPACITIES
    )


def _checks(rule: CompiledRule) -> list[tuple[int, int]]:
    """A rule's limits of stocks as they are asked, with none behind the last of them."""
    return [*rule.checks, *[_NO_CHECK] * (len(CAPACITY_ORDER) + 1 - len(rule.checks))]
