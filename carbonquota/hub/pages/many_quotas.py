"""Many quotas in one step: lines of a table, what they would change, and the change, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.hub.domain.controls import CONTROLS, Amounts
from carbonquota.hub.domain.errors import ConflictError, HubError, UnavailableError
from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.domain.values import Quota, QuotaChange
from carbonquota.hub.pages.fields import actor
from carbonquota.hub.pages.forms import Form, status_of
from carbonquota.hub.pages.quota_lines import QuotaLine, ReadLines, read_lines, write_lines
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.quotas import MOST
from carbonquota.web.access import Identity
from carbonquota.web.page import Pages
from carbonquota.web.page.parameters import number
from carbonquota.web.page.site import link

_SHOWN: Final = 200
"""Changes and mistakes that are shown; all are counted."""
_FILLED: Final = 1000
"""Customers whose quotas in force are written into the form."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What one line changes: the quota as it is (without limits where there is none), and as it shall be."""

    line: QuotaLine
    before: Quota
    after: Amounts

    @property
    def differences(self) -> Iterator[tuple[str, int | None, int | None]]:
        """Controls whose limits change, with the limit before and after."""
        for control, was, becomes in zip(CONTROLS, self.before.limits.values(), self.after.values(), strict=True):
            if was != becomes:
                yield control, was, becomes

    def change(self) -> QuotaChange:
        """As the service takes it."""
        limits = None if self.after == Amounts() else self.after
        return QuotaChange(self.line.customer, limits, self.line.provider, self.before.change)


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """All that a text changes; `seen` stands for the quotas in force, and is another once one of them is changed."""

    changes: Sequence[PlannedChange]
    unchanged: int
    new_customers: int
    seen: str

    @property
    def deleted(self) -> int:
        """Quotas that are not there any more."""
        return sum(one.after == Amounts() for one in self.changes)


class ManyQuotaPages:
    """The form for many quotas."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Change what `hub` keeps."""
        self._hub = hub
        self._pages = pages

    def show(self, request: Request, _: Identity) -> Response:
        """The form, empty or with quotas in force."""
        query = request.query_params
        begin = query.get("from", "").strip()[:LONGEST]
        text = self._in_force(begin) if "from" in query and begin.isascii() and begin.isprintable() else ""
        return self._page(request, text, begin=begin, done=number(query.get("changed"), 0, MOST))

    def _in_force(self, begin: str) -> str:
        found = self._hub.quotas.customers(begin=begin, limit=_FILLED)
        return write_lines(self._hub.quotas.several([one.name for one in found]).values())

    def take(self, request: Request, who: Identity, form: Form) -> Response:
        """Show what the lines would change, or change it."""
        text = form.get("text", "")
        read = read_lines(text, MOST, self._hub.book.providers.__contains__)
        if read.wrong:
            return self._page(request, text, form, read=read)
        plan = self._plan(read.lines)
        if form.get("action") != "apply" or not plan.changes:
            return self._page(request, text, form, plan=plan)
        if form.get("seen") != plan.seen:
            error = ConflictError("somebody changed one of these quotas meanwhile: look at what would change now")
            return self._page(request, text, form, plan=plan, error=error)
        try:
            self._hub.quotas.change(actor(who, form), [one.change() for one in plan.changes])
        except UnavailableError:
            raise
        except HubError as error:
            return self._page(request, text, form, plan=self._plan(read.lines), error=error)
        return RedirectResponse(link("/quotas", changed=len(plan.changes)), 303)

    def _plan(self, lines: Sequence[QuotaLine]) -> ChangePlan:
        """What lines change of what is in force."""
        names = {line.customer for line in lines}
        in_force = self._hub.quotas.several(sorted(names))
        planned = []
        for line in lines:
            before = in_force.get((line.customer, line.provider)) or Quota(line.customer, Amounts(), line.provider)
            planned.append(PlannedChange(line, before, Amounts(**(dict(before.limits.given()) | dict(line.limits)))))
        changes = [one for one in planned if one.after != one.before.limits]
        known = self._hub.holding.ids(sorted(names))
        seen = sha256("\n".join(f"{one.line.number} {one.before.change}" for one in changes).encode()).hexdigest()
        return ChangePlan(changes, len(planned) - len(changes), known.count(0), seen[:32])

    def _page(  # noqa: PLR0913 - what a page may show
        self,
        request: Request,
        text: str,
        form: Form | None = None,
        *,
        read: ReadLines | None = None,
        plan: ChangePlan | None = None,
        error: HubError | None = None,
        begin: str = "",
        done: int = 0,
    ) -> Response:
        values = {
            "text": text,
            "wrong": read.wrong[:_SHOWN] if read else (),
            "all_wrong": len(read.wrong) if read else 0,
            "plan": plan,
            "shown": plan.changes[:_SHOWN] if plan else (),
            "error": error,
            "why": (form or {}).get("why", ""),
            "begin": begin,
            "done": done,
            "most": MOST,
        }
        status = 422 if read is not None else status_of(error) if error else 200
        return self._pages.answer(request, "many_quotas.html", status, values)
