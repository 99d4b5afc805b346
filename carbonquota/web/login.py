"""Logging in and out: `POST /session` with a token gives a cookie, `DELETE /session` takes it back."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from carbonquota.web.access import PUBLIC, Identity
from carbonquota.web.authentication import UNAVAILABLE, AuthenticationUnavailable, Authenticators, NotAuthenticated
from carbonquota.web.failed_logins import FailedLogins
from carbonquota.web.problems import ProblemDocument, problem
from carbonquota.web.sessions import Sessions

_LARGEST: Final = 20_000
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ProblemDocument, "description": text}
    for status, text in (
        (401, "The token is not valid"),
        (413, "That is no token"),
        (429, "Too many tokens that are not valid came from this address"),
        (503, "No token can be checked now"),
    )
}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": {"token": {"type": "string"}}, "required": ["token"]}
            }
        },
    }
}


class Login:
    """The two endpoints, of a service with pages."""

    def __init__(self, sessions: Sessions, authenticators: Authenticators, failures: FailedLogins) -> None:
        """Begin `sessions` for whom `authenticators` know; `failures` are those of requests with tokens, too."""
        self._sessions = sessions
        self._authenticators = authenticators
        self._failures = failures

    def router(self) -> APIRouter:
        """The paths, for an application to include."""
        router = APIRouter(tags=["session"])
        router.add_api_route(
            "/session",
            self.begin,
            methods=["POST"],
            summary="Log in",
            status_code=303,
            response_class=Response,
            responses={303: {"description": "Logged in, and on to the page"}, **_ANSWERS},
            openapi_extra=PUBLIC | _BODY,
        )
        router.add_api_route(
            "/session",
            self.end,
            methods=["DELETE"],
            summary="Log out",
            status_code=204,
            response_class=Response,
            openapi_extra=PUBLIC,
        )
        router.add_api_route("/session/end", self.leave, methods=["POST"], include_in_schema=False)
        return router

    async def begin(self, request: Request) -> Response:
        """A session for a token, which is sent as the field `token` of a form; the cookie is good for 12 hours."""
        address = request.client.host if request.client else ""
        if wait := self._failures.wait(address):
            detail = f"too many tokens that are not valid came from {address}: try again in {wait} seconds"
            return problem(429, detail, headers={"Retry-After": str(wait)})
        token = await _token(request)
        if token is None:
            return problem(413, "send a token of at most some thousand characters")
        try:
            identity = await self._identity(token)
        except AuthenticationUnavailable:
            return problem(503, UNAVAILABLE)
        if identity is None:
            self._failures.note(address)
            if "text/html" in request.headers.get("accept", ""):
                return RedirectResponse("/login?wrong=true", 303, headers={"Cache-Control": "no-store"})
            return problem(401, "the token is not valid: it is unknown, revoked or expired")
        cookie = self._sessions.begin(identity, encrypted=request.url.scheme == "https")
        return RedirectResponse("/", 303, headers={"Set-Cookie": cookie, "Cache-Control": "no-store"})

    async def _identity(self, token: str) -> Identity | None:
        try:
            return await asyncio.to_thread(self._authenticators.authenticate, token)
        except NotAuthenticated:
            return None

    async def leave(self, request: Request) -> Response:
        """The same for a form of a page, and back to the page."""
        cookie = self._sessions.end(encrypted=request.url.scheme == "https")
        return RedirectResponse("/", 303, headers={"Set-Cookie": cookie})

    async def end(self, request: Request) -> Response:
        """The end of this browser's session."""
        cookie = self._sessions.end(encrypted=request.url.scheme == "https")
        return Response(status_code=204, headers={"Set-Cookie": cookie})


async def _token(request: Request) -> str | None:
    """The token in a request's body; None where that is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            return None
    text = body.decode("utf-8", "replace")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        token = found.get("token", "") if isinstance(found, dict) else ""
        return token.strip() if isinstance(token, str) else ""
    return parse_qs(text).get("token", [""])[0].strip()
