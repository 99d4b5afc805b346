"""Namespaces to drill down: what each holds, its limits where there are some, its children as a map and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, cast, get_args

from fastapi import Request
from starlette.responses import Response

from carbonquota.control import HELD, SHOWN
from carbonquota.errors import QuotaError
from carbonquota.metric_name import LONGEST
from carbonquota.model import MAXIMUM, ROOT
from carbonquota.service.sorting import ChildSort, Order
from carbonquota.service.usage_documents import NamespacePage
from carbonquota.web.page.limits import tone_of
from carbonquota.web.page.paging import paging_of
from carbonquota.web.page.parameters import choice, number
from carbonquota.web.page.site import Pages
from carbonquota.web.page.tiles import Treemap, treemap

PAGE: Final = 50
"""Rows of a page of a table."""

_HELD: Final = [control for control in SHOWN if control.stat in HELD]

_COLUMNS: Final = (
    ("name", "Namespace"),
    *((control.stat, control.title) for control in _HELD),
    ("throughput", "Points in this interval"),
)
"""What the table of children has, by what it is sorted by, and the headings."""

_TREEMAPS: Final = ((960, 300), (340, 420))
"""The frames of treemaps, for wide windows and for narrow ones."""


class NamespaceSource(Protocol):
    """Whose namespaces are shown: one daemon's, or a fleet's. From any thread."""

    def namespace(
        self, namespace: str, sort: ChildSort, order: Order | None, limit: int, offset: int
    ) -> NamespacePage | None:
        """A namespace with a page of its children; None where no metric lies in it, MetricNameError where none can."""


class NamespacePages:
    """The page on one namespace."""

    def __init__(self, source: NamespaceSource, pages: Pages, *, with_limits: bool = True) -> None:
        """Show `source` in the frame of `pages`; without limits where sums over daemons have none."""
        self._source = source
        self._pages = pages
        self._with_limits = with_limits

    def explore(self, request: Request) -> Response:
        """One namespace: what it holds, its limits, and its children as a treemap and as a table."""
        query = request.query_params
        sort = cast("ChildSort", choice(query.get("sort"), get_args(ChildSort), "metrics"))
        order = choice(query.get("order"), get_args(Order), None)
        offset = number(query.get("offset"), 0, MAXIMUM)
        name = query.get("namespace", ROOT)[: LONGEST + 1].strip() or ROOT
        try:
            found = self._source.namespace(name, sort, cast("Order | None", order), PAGE, offset)
        except QuotaError as error:
            return self._pages.refuse(request, 400, "No namespace can be called so", str(error))
        if found is None:
            detail = f"No metric lies in a namespace called {name!r}. Namespaces without metrics are not kept."
            return self._pages.refuse(request, 404, "No such namespace", detail)
        control = "metrics" if sort in {"name", "throughput"} else sort
        kept = {"namespace": found.namespace, "sort": sort, "order": order}
        values = {
            "found": found,
            "held_controls": _HELD,
            "columns": _COLUMNS,
            "sort": sort,
            "order": order or ("asc" if sort == "name" else "desc"),
            "control": control,
            "treemaps": self._treemaps(found, sort, order, control),
            "paging": paging_of("/explore", kept, offset, PAGE, found.total),
            "trail": _trail(found.namespace),
            "tone_of": tone_of,
            "with_limits": self._with_limits,
        }
        return self._pages.answer(request, "explore.html", values=values)

    def _treemaps(self, found: NamespacePage, sort: str, order: str | None, control: str) -> Sequence[Treemap]:
        """The children that hold the most of a control, for each width of a window."""
        children = found.children
        if found.offset or sort != control or order == "asc":
            largest = self._source.namespace(found.namespace, control, None, PAGE, 0)
            children = largest.children if largest is not None else ()
        total = getattr(found.usage, control)
        maps = (treemap(children, control, total, size) for size in _TREEMAPS)
        return [made for made in maps if made is not None]


def _trail(namespace: str) -> list[tuple[str, str]]:
    """The way from the root to a namespace: what each step is called, and its full name."""
    steps = [("/", ROOT)]
    if namespace != ROOT:
        parts = namespace.split(".")
        steps += [(part, ".".join(parts[: number + 1])) for number, part in enumerate(parts)]
    return steps
