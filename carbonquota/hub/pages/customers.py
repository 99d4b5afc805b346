"""What is told about a customer as a form: its words, its namespaces, and its end."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.hub.domain.errors import HubError, UnavailableError
from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.domain.values import Customer
from carbonquota.hub.pages.fields import ABOUT, actor, text, whole
from carbonquota.hub.pages.forms import Form, status_of
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Identity
from carbonquota.web.page import Pages
from carbonquota.web.page.site import link

_NAMESPACES = 1_000_000
"""Characters of a customer's patterns."""


class CustomerPages:
    """The form for one customer."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Change what `hub` keeps."""
        self._hub = hub
        self._pages = pages

    def show(self, request: Request, _: Identity) -> Response:
        """The form with what there is."""
        name = request.query_params.get("name", "")[:LONGEST].strip()
        return self._form(request, self._hub.quotas.customer(name))

    def take(self, request: Request, who: Identity, form: Form) -> Response:
        """Change or delete it, if it still is as it was when the form was made."""
        there = self._hub.quotas.customer(text(form, "name", LONGEST))
        wanted = there
        try:
            expected = whole(form, "expected")
            if form.get("action") == "delete":
                self._hub.quotas.delete_customer(actor(who, form), there.name, expected)
                return RedirectResponse("/customers", 303)
            patterns = tuple(text(form, "namespaces", _NAMESPACES).split())
            wanted = replace(there, namespaces=patterns, about=text(form, "about", ABOUT))
            self._hub.quotas.put_customer(actor(who, form), wanted, expected)
        except UnavailableError:
            raise
        except HubError as error:
            return self._form(request, wanted, error, form.get("why", ""))
        return RedirectResponse(link("/customer", name=there.name), 303)

    def _form(self, request: Request, customer: Customer, error: HubError | None = None, why: str = "") -> Response:
        values = {"customer": customer, "error": error, "why": why}
        return self._pages.answer(request, "customer_edit.html", status_of(error) if error else 200, values)
