"""The explorer: who is near a limit and being dropped, namespaces to drill down, why a name is rejected, the rules.

Each page is asked for by one GET, answered on a thread of its own, and bounded in all that it shows. What stands in an
address is taken as far as it makes sense: a page is for people, and a slip in an address is no error.
"""

from __future__ import annotations

from typing import Any, Final, cast, get_args

from fastapi import APIRouter, Request
from starlette.responses import Response

from carbonquota.errors import QuotaError
from carbonquota.metric_name import LONGEST
from carbonquota.model import MAXIMUM
from carbonquota.service.sorting import Order, QuotaSort
from carbonquota.web.page.charts import Chart, ChartLine, chart
from carbonquota.web.page.limits import dropping_rows, most_pressing_rows, tone_of
from carbonquota.web.page.namespaces import PAGE, NamespacePages
from carbonquota.web.page.paging import paging_of
from carbonquota.web.page.parameters import choice, number
from carbonquota.web.page.site import Pages
from carbonquota.web.page.usage_source import UsageSource

MOST_PRESSING: Final = 20
"""Rows of each table of the first page."""
MOST_FINDINGS: Final = 100


class Explorer:
    """The pages on one source of usage."""

    def __init__(self, source: UsageSource, pages: Pages) -> None:
        """Show `source` in the frame of `pages`."""
        self._source = source
        self._pages = pages

    def router(self) -> APIRouter:
        """The paths, for an application to include."""
        router = APIRouter(include_in_schema=False)
        for path, answer in (
            ("/", self.now),
            ("/explore", NamespacePages(self._source, self._pages).explore),
            ("/limits", self.limits),
            ("/explain", self.explain),
            ("/rules", self.rules),
        ):
            router.add_api_route(path, answer, response_model=None)
        return router

    def now(self, request: Request) -> Response:
        """What is near its quota, and what is being dropped."""
        pressing = self._source.pressing(MOST_PRESSING)
        values = {
            "source": self._source.status(),
            "chart": self._chart(),
            "dropping": list(dropping_rows(pressing.dropping, pressing.before))[:MOST_PRESSING],
            "near": list(most_pressing_rows(pressing.near)),
            "over": pressing.over,
        }
        return self._pages.answer(request, "now.html", values=values)

    def _chart(self) -> Chart | None:
        history = self._source.rates()
        if history is None:
            return None
        rates = history.rates()
        tones = {"received": "first", "accepted": "good", "dropped": "bad"}
        lines = [ChartLine(name, rates.per_second[name], tone) for name, tone in tones.items()]
        return chart("Data points a second", rates.times, lines)

    def limits(self, request: Request) -> Response:
        """All namespaces under rules, page by page."""
        query = request.query_params
        sort = choice(query.get("sort"), get_args(QuotaSort), "percent")
        order = choice(query.get("order"), get_args(Order), None)
        offset = number(query.get("offset"), 0, MAXIMUM)
        over = query.get("over", "") not in {"", "0", "false"}
        found = self._source.quotas(
            sort=cast("QuotaSort", sort), order=cast("Order | None", order), limit=PAGE, offset=offset, over=over
        )
        kept = {"sort": sort, "order": order, "over": "1" if over else None}
        values = {
            "rows": list(most_pressing_rows(found.quotas)),
            "sort": sort,
            "order": order or ("asc" if sort == "namespace" else "desc"),
            "only_over": over,
            "paging": paging_of("/limits", kept, offset, PAGE, found.total),
        }
        return self._pages.answer(request, "limits.html", values=values)

    def explain(self, request: Request) -> Response:
        """Why a metric is accepted or rejected."""
        metric = request.query_params.get("metric", "")[: LONGEST + 1].strip()
        points = number(request.query_params.get("points"), 1, MAXIMUM, least=1)
        values: dict[str, Any] = {"metric": metric, "points": points, "explained": None, "error": ""}
        status = 200
        if metric:
            try:
                values["explained"] = self._source.explain(metric, points)
            except QuotaError as error:
                values["error"], status = str(error), 400
        return self._pages.answer(request, "explain.html", status, values | {"tone_of": tone_of})

    def rules(self, request: Request) -> Response:
        """The rules in force, and what looks wrong in them."""
        rows = self._source.rules().rules
        offset = number(request.query_params.get("offset"), 0, MAXIMUM)
        findings = list(self._source.findings())
        values = {
            "rows": rows[offset : offset + PAGE],
            "findings": findings[:MOST_FINDINGS],
            "more_findings": max(len(findings) - MOST_FINDINGS, 0),
            "source": self._source.status(),
            "paging": paging_of("/rules", {}, offset, PAGE, len(rows)),
        }
        return self._pages.answer(request, "rules.html", values=values)
