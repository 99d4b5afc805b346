"""Tokens as pages: who may ask, a new one shown this once, and the end of one."""

from __future__ import annotations

from math import inf
from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.hub.domain.errors import HubError, InvalidError, UnavailableError
from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.pages.fields import actor, decimal, text
from carbonquota.hub.pages.forms import Form, status_of
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Identity, Role
from carbonquota.web.page import Pages

_DAY: Final = 86_400.0
_MOST_DAYS: Final = 36_500.0
_MOST: Final = 1000
"""Tokens that are listed."""


class TokenPages:
    """Tokens, made and revoked."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Change what `hub` keeps."""
        self._hub = hub
        self._pages = pages

    def show(self, request: Request, _: Identity) -> Response:
        """All tokens, the newest first, and the form for a new one."""
        return self._page(request)

    def take(self, request: Request, who: Identity, form: Form) -> Response:
        """Make one, and show it."""
        try:
            role = form.get("role", "")
            if role not in set(Role):
                raise InvalidError(f"role: {role[:40]!r} is none of {', '.join(Role)}")
            name, subject = text(form, "name", LONGEST), text(form, "subject", LONGEST)
            if not name.isprintable() or not name:
                raise InvalidError("name: say whose token it is")
            days = text(form, "days", 20)
            lifetime = decimal("days", days, 1 / 1440, _MOST_DAYS) * _DAY if days else inf
            made, _ = self._hub.tokens.make(actor(who, form), name, Role(role), subject, lifetime)
        except UnavailableError:
            raise
        except HubError as error:
            return self._page(request, form, error)
        return self._page(request, made=made)

    def take_end(self, _: Request, who: Identity, form: Form) -> Response:
        """Have one be good no more."""
        self._hub.tokens.revoke(actor(who, form), text(form, "id", LONGEST))
        return RedirectResponse("/tokens", 303)

    def _page(
        self, request: Request, form: Form | None = None, error: HubError | None = None, made: str = ""
    ) -> Response:
        tokens = self._hub.tokens.all()[::-1]
        is_first = not tokens
        values = {
            "tokens": tokens[:_MOST],
            "total": len(tokens),
            "now": self._hub.clock(),
            "roles": [Role.ADMIN] if is_first else list(Role),
            "is_first": is_first,
            "form": form or {},
            "error": error,
            "made": made,
            "inf": inf,
        }
        return self._pages.answer(request, "tokens.html", status_of(error) if error else 200, values)
