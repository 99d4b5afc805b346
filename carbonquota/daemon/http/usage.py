"""What the daemon's pages show: its engine through the API, its health, and the last report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray

from carbonquota.daemon.http.api import Api
from carbonquota.daemon.http.orders import by_amount
from carbonquota.daemon.http.source import HttpSource
from carbonquota.rules import Finding
from carbonquota.service.documents import ExplainedMetric
from carbonquota.service.rates import COUNTERS, RateHistory
from carbonquota.service.sorting import ChildSort, Order, QuotaSort
from carbonquota.service.usage_documents import NamespacePage, QuotaPage, RulesDocument, quota_row
from carbonquota.web.page import Pressing, SourceStatus

_UNKNOWN: Final = 404


class DaemonUsage:
    """A `UsageSource` over one daemon."""

    def __init__(self, source: HttpSource, api: Api) -> None:
        """Ask `source`, and `api` for what that answers, too."""
        self._source = source
        self._api = api

    def status(self) -> SourceStatus:
        """How the daemon is."""
        source, status = self._source, self._source.status()
        reasons = (*status.failing, *status.not_ready, *status.degraded)
        counts = dict.fromkeys(COUNTERS, 0)
        for sample in source.health.samples():
            if sample.stat in counts:
                counts[sample.stat] += int(sample.value)
        is_well = not reasons and status.reload.ok
        return SourceStatus(
            status="failing" if status.failing else "ok" if is_well else "degraded",
            reasons=reasons,
            version=status.version,
            uptime=status.uptime,
            metrics=len(source.engine),
            namespaces=source.engine.namespace_count(),
            ruled=len(self._api.recent_quotas()),
            rules=len(source.engine.rules.rules),
            interval=source.interval,
            counts=counts,
            reload_error="" if status.reload.ok else status.reload.error,
        )

    def rates(self) -> RateHistory | None:
        """What came in over the last hour."""
        return self._source.rates

    def pressing(self, most: int) -> Pressing:
        """Who drops the most, in this interval and the one before, and who is nearest to a limit."""
        quotas = self._api.recent_quotas()
        last = self._source.last_over()
        before = {(one.quota.namespace, key): points for one in last for key, points in one.dropped.items()}
        dropping = [quota_row(quotas.value(at)) for at in _largest(quotas.throttle, most) if quotas.throttle[at]]
        # One that is gone since this was taken has no name any more.
        dropping = [row for row in dropping if row.namespace]
        shown = {row.namespace for row in dropping}
        dropping += [quota_row(one.quota) for one in last if one.quota.namespace not in shown][: most - len(dropping)]
        shown |= {row.namespace for row in dropping}
        near = [quota_row(quotas.value(at)) for at in _largest(quotas.pressures(), 2 * most)]
        return Pressing(
            dropping=dropping,
            before=before,
            near=[row for row in near if row.namespace and row.namespace not in shown and row.controls][:most],
            over=int(np.count_nonzero(quotas.are_over())),
        )

    def namespace(
        self, namespace: str, sort: ChildSort, order: Order | None, limit: int, offset: int
    ) -> NamespacePage | None:
        """As the API answers; None where it knows no such namespace."""
        try:
            return self._api.namespace(namespace, sort, order, limit, offset)
        except HTTPException as error:
            if error.status_code != _UNKNOWN:
                raise
            return None

    def quotas(self, *, sort: QuotaSort, order: Order | None, limit: int, offset: int, over: bool) -> QuotaPage:
        """As the API answers."""
        return self._api.quotas(sort=sort, order=order, limit=limit, offset=offset, over=over)

    def explain(self, metric: str, points: int) -> ExplainedMetric:
        """As the API answers."""
        return self._api.explain([metric], points).metrics[0]

    def rules(self) -> RulesDocument:
        """As the API answers."""
        return self._api.rules()

    def findings(self) -> Sequence[Finding]:
        """What looks wrong in the rules in force."""
        return self._source.findings()


def _largest(amounts: NDArray[Any], most: int) -> list[int]:
    """The positions of the largest amounts, the largest first."""
    # Most amounts are alike under an attack, and a stable sort passes over these the quickest.
    found: list[int] = by_amount(amounts, descending=True)[:most].tolist()
    return found
