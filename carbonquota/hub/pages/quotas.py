"""Quotas of customers as forms: set or deleted with a reason, and never over what somebody else did meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.hub.domain.controls import CONTROLS, Amounts
from carbonquota.hub.domain.errors import HubError, InvalidError, NotFoundError, UnavailableError
from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.domain.values import Quota, QuotaChange
from carbonquota.hub.pages.fields import actor, amounts, text, whole
from carbonquota.hub.pages.forms import Form, status_of
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Identity
from carbonquota.web.page import Pages
from carbonquota.web.page.site import link


@dataclass(frozen=True, slots=True)
class Field:
    """One limit in the form: as it is written there, as it is in force, and what is used."""

    control: str
    written: str
    limit: int | None
    usage: int | None


class QuotaPages:
    """The form for one quota."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Change what `hub` keeps."""
        self._hub = hub
        self._pages = pages

    def show(self, request: Request, _: Identity) -> Response:
        """The form with what is in force, or an empty one for a customer or place that has none."""
        query = request.query_params
        customer, provider = query.get("customer", "")[:LONGEST].strip(), query.get("provider", "")[:LONGEST].strip()
        there = self._there(customer, provider)
        written = {control: f"{amount:,}" for control, amount in there.limits.given()}
        return self._form(request, there, written)

    def take(self, request: Request, who: Identity, form: Form) -> Response:
        """Set or delete it, if it still is as it was when the form was made."""
        customer, provider = text(form, "customer", LONGEST), text(form, "provider", LONGEST)
        try:
            is_deleted = form.get("action") == "delete"
            limits = None if is_deleted else amounts(form)
            if limits == Amounts():
                raise InvalidError("give at least one limit, or delete the quota")
            change = QuotaChange(customer, limits, provider, whole(form, "expected"))
            self._hub.quotas.change(actor(who, form), [change])
        except UnavailableError:
            raise
        except HubError as error:
            written = {control: form.get(f"limit-{control}", "") for control in CONTROLS}
            there = self._there(customer, provider)
            return self._form(request, there, written, error, form.get("why", ""))
        done = "deleted" if is_deleted else "set"
        return RedirectResponse(link("/customer", name=customer, quota=done), 303)

    def _there(self, customer: str, provider: str) -> Quota:
        """The quota that is in force; one without limits where there is none."""
        try:
            return self._hub.quotas.quota(customer, provider)
        except NotFoundError:
            return Quota(customer, Amounts(), provider)

    def _form(
        self,
        request: Request,
        there: Quota,
        written: Mapping[str, str],
        error: HubError | None = None,
        why: str = "",
    ) -> Response:
        limits, used = dict(there.limits.given()), self._used(there.customer, there.provider)
        values = {
            "quota": there,
            "is_known": self._hub.holding.knows(there.customer),
            "fields": [Field(one, written.get(one, ""), limits.get(one), used.get(one)) for one in CONTROLS],
            "providers": [one.name for one in self._hub.providers.all()],
            "error": error,
            "why": why,
        }
        return self._pages.answer(request, "quota.html", status_of(error) if error else 200, values)

    def _used(self, customer: str, provider: str) -> dict[str, int]:
        """What is known to be used there."""
        if not self._hub.holding.knows(customer):
            return {}
        known = self._hub.utilization.of(customer)
        return {one.control: one.usage for one in known if one.provider == provider and one.age is not None}
