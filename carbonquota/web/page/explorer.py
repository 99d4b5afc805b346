"""The explorer: who is near a limit and being dropped, namespaces to drill down, why a name is rejected, the rules.

Each page is asked for by one GET, answered on a thread of its own, and bounded in all that it shows. What stands in an
address is taken as far as it makes sense: a page is for people, and a slip in an address is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast, get_args

from fastapi import APIRouter, Request
from starlette.responses import Response

from carbonquota.errors import QuotaError
from carbonquota.metric_name import LONGEST
from carbonquota.model import MAXIMUM, ROOT
from carbonquota.service.usage_documents import NamespacePage
from carbonquota.web.page.charts import Chart, Line, chart
from carbonquota.web.page.limits import dropping_rows, most_pressing_rows, tone_of
from carbonquota.web.page.paging import paging_of
from carbonquota.web.page.site import Pages
from carbonquota.web.page.tiles import Treemap, treemap
from carbonquota.web.page.usage_source import ChildSort, Order, QuotaSort, UsageSource

MOST_PRESSING: Final = 20
"""Rows of each table of the first page."""
PAGE: Final = 50
"""Rows of a page of a table."""
MOST_FINDINGS: Final = 100

_TREEMAPS: Final = ((960, 300), (340, 420))
"""The frames of treemaps, for wide windows and for narrow ones."""


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
            ("/explore", self.explore),
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
            "standing": self._source.standing(),
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
        lines = [Line(name, rates.per_second[name], tone) for name, tone in tones.items()]
        return chart("Data points a second", rates.times, lines)

    def explore(self, request: Request) -> Response:
        """One namespace: what it holds, its limits, and its children as a treemap and as a table."""
        query = request.query_params
        sort = _choice(query.get("sort"), get_args(ChildSort), "metrics")
        order = _choice(query.get("order"), get_args(Order), None)
        offset = _number(query.get("offset"), 0, MAXIMUM)
        name = query.get("namespace", ROOT)[: LONGEST + 1].strip() or ROOT
        try:
            found = self._source.namespace(name, cast("ChildSort", sort), cast("Order | None", order), PAGE, offset)
        except QuotaError as error:
            return self._pages.refuse(request, 400, "No namespace can be called so", str(error))
        if found is None:
            detail = f"No metric lies in a namespace called {name!r}. Namespaces without metrics are not kept."
            return self._pages.refuse(request, 404, "No such namespace", detail)
        control = "metrics" if sort in {"name", "throughput"} else cast("str", sort)
        kept = {"namespace": found.namespace, "sort": sort, "order": order}
        values = {
            "found": found,
            "sort": sort,
            "order": order or ("asc" if sort == "name" else "desc"),
            "control": control,
            "treemaps": self._treemaps(found, cast("str", sort), order, control),
            "paging": paging_of("/explore", kept, offset, PAGE, found.total),
            "trail": _trail(found.namespace),
            "tone_of": tone_of,
        }
        return self._pages.answer(request, "explore.html", values=values)

    def _treemaps(self, found: NamespacePage, sort: str, order: str | None, control: str) -> Sequence[Treemap]:
        """The children that hold the most of a control, for each width of a window."""
        children = found.children
        if found.offset or sort != control or order == "asc":
            largest = self._source.namespace(found.namespace, cast("ChildSort", control), None, PAGE, 0)
            children = largest.children if largest is not None else ()
        total = getattr(found.usage, control)
        maps = (treemap(children, control, total, size) for size in _TREEMAPS)
        return [made for made in maps if made is not None]

    def limits(self, request: Request) -> Response:
        """All namespaces under rules, page by page."""
        query = request.query_params
        sort = _choice(query.get("sort"), get_args(QuotaSort), "percent")
        order = _choice(query.get("order"), get_args(Order), None)
        offset = _number(query.get("offset"), 0, MAXIMUM)
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
        points = _number(request.query_params.get("points"), 1, MAXIMUM, least=1)
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
        offset = _number(request.query_params.get("offset"), 0, MAXIMUM)
        findings = list(self._source.findings())
        values = {
            "rows": rows[offset : offset + PAGE],
            "findings": findings[:MOST_FINDINGS],
            "more_findings": max(len(findings) - MOST_FINDINGS, 0),
            "standing": self._source.standing(),
            "paging": paging_of("/rules", {}, offset, PAGE, len(rows)),
        }
        return self._pages.answer(request, "rules.html", values=values)


def _trail(namespace: str) -> list[tuple[str, str]]:
    """The way from the root to a namespace: what each step is called, and its full name."""
    steps = [("/", ROOT)]
    if namespace != ROOT:
        parts = namespace.split(".")
        steps += [(part, ".".join(parts[: number + 1])) for number, part in enumerate(parts)]
    return steps


def _choice(given: str | None, choices: tuple[str, ...], otherwise: str | None) -> str | None:
    return given if given in choices else otherwise


def _number(given: str | None, otherwise: int, most: int, least: int = 0) -> int:
    """A whole number in its range, or another one."""
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 19:
        return otherwise
    return min(max(int(given), least), most)
