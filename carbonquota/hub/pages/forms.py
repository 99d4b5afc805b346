"""What a browser sends from a form, read within bounds, and who it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from carbonquota.errors import ConfigError
from carbonquota.hub.domain.errors import ConflictError, HubError, NotFoundError, UnavailableError
from carbonquota.web.access import Identity, Role, identity_of
from carbonquota.web.page import Pages

LARGEST: Final = 13 * 1024 * 1024
"""Bytes of a form: the longest text of rules, escaped."""

Form = Mapping[str, str]
Show = Callable[[Request, Identity], Response]
Take = Callable[[Request, Identity, Form], Response]
Endpoint = Callable[[Request], Awaitable[Response]]

_STATUSES: Final[dict[type[HubError], int]] = {NotFoundError: 404, ConflictError: 412, UnavailableError: 503}


def status_of(error: HubError) -> int:
    """The status of a page that shows an error."""
    return _STATUSES.get(type(error), 422)


class PageGate:
    """Lets those in who may see a page, and answers whatever goes wrong with a page that says so."""

    def __init__(self, pages: Pages) -> None:
        """Answer with `pages`."""
        self._pages = pages

    def shown(self, show: Show, *roles: Role) -> Endpoint:
        """A page for these roles and administrators."""

        async def endpoint(request: Request) -> Response:
            """Show it, or say why not."""
            who = self._who(request, roles)
            if isinstance(who, Response):
                return who
            return await self._tried(request, lambda: show(request, who))

        return endpoint

    def taken(self, take: Take, *roles: Role) -> Endpoint:
        """What a form of a page does."""

        async def endpoint(request: Request) -> Response:
            """Take it, or say why not."""
            who = self._who(request, roles)
            if isinstance(who, Response):
                return who
            form = await read_form(request)
            if form is None:
                return self._pages.refuse(
                    request, 413, "That is too much", "A form has at most some million characters."
                )
            return await self._tried(request, lambda: take(request, who, form))

        return endpoint

    def _who(self, request: Request, roles: tuple[Role, ...]) -> Identity | Response:
        who = identity_of(request)
        if who is None:
            return RedirectResponse("/login", 303, headers={"Cache-Control": "no-store"})
        if who.role is not Role.ADMIN and who.role not in roles:
            return self._pages.refuse(request, 403, "Not for you", f"This page is not for the role {who.role}.")
        return who

    async def _tried(self, request: Request, make: Callable[[], Response]) -> Response:
        try:
            return await run_in_threadpool(make)
        except ConfigError as error:
            return self._pages.refuse(request, 422, "These rules cannot be", str(error))
        except HubError as error:
            return self._pages.refuse(request, status_of(error), "That cannot be done", str(error))


async def read_form(request: Request) -> Form | None:
    """The fields of a form by name, the last of each; None where it is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            return None
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}
