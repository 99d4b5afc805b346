"""Room for health and readiness when everything else is taken."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from carbonquota.web.problems import problem

RESERVED: Final = frozenset({"/health", "/ready"})
"""What orchestrators ask: a daemon that does not answer it is restarted."""


class Reserve:
    """An application around another that takes so many requests at a time, and `RESERVED` ones always."""

    def __init__(self, application: ASGIApp, most: int) -> None:
        """Take `most` requests at a time of all others; to be used on one event loop."""
        self._application = application
        self._most = most
        self._taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope.get("path") in RESERVED:
            await self._application(scope, receive, send)
        elif self._taken >= self._most:
            detail = f"{self._most} requests are being answered already: ask again in a moment"
            refusal = problem(503, detail, headers={"Retry-After": "1"})
            await refusal(scope, receive, send)
        else:
            self._taken += 1
            try:
                await self._application(scope, receive, send)
            finally:
                self._taken -= 1
