"""The compiled kernel's ledger bound to the columns of an index and to the limits of the rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonquota.controls.stocks import STOCK_CONTROLS
from carbonquota.controls.table import CREATES, STOCKS, THROUGHPUT, Grant
from carbonquota.kernel import COMPILED, Ledger
from carbonquota.model import CONTROL_FIELDS, MAXIMUM
from carbonquota.trie import Index


def ledger_of(index: Index) -> Ledger | None:
    """A ledger that decides on the series of an index, or None where there is no compiled kernel."""
    if not COMPILED:
        return None
    controls = {name: number for number, name in enumerate(CONTROL_FIELDS)}
    return Ledger(index.table, controls=controls | {"creates": CREATES}, order=[CONTROL_FIELDS[at] for at in STOCKS])


def bind(ledger: Ledger, index: Index, grants: Sequence[Grant]) -> None:
    """Have it decide over the columns as they are now; to be called whenever some were replaced, or the rules."""
    namespaces, quotas, seen = index.namespaces, index.quotas, index.seen
    columns = {
        "quota_of": namespaces.quota,
        "parent": namespaces.parent,
        "held": quotas.namespace,
        **{name: getattr(quotas, name) for name in ("rule", "left", "limit", "enforcing", "throttle")},
    }
    limits = [[_limit(grant, control) for control in CONTROL_FIELDS] for grant in grants]
    ledger.bind(
        columns=columns,
        used=[getattr(namespaces, control) for control in STOCK_CONTROLS],
        dropped=quotas.dropped,
        flows=quotas.flows,
        stocks=quotas.stocks,
        limits=np.array(limits, np.int64).reshape(-1, len(CONTROL_FIELDS)),
        size_number=index.series.size_number,
        seen=None if seen is None else seen.time,
        some_forbid_all=any(grant.throughput < 1 for grant in grants),
    )


def _limit(grant: Grant, control: str) -> int:
    """A rule's limit of one control, as it is for a namespace that is new; 2^63 - 1 where there is none."""
    if control == CONTROL_FIELDS[THROUGHPUT]:
        return grant.throughput
    limit: int | None = getattr(grant.limits, control)
    return MAXIMUM if limit is None else limit
