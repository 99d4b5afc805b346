"""Middleware for ASGI: Starlette, FastAPI, Django and others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from carbonquota.limiter.faces.headers import Header
from carbonquota.limiter.middleware.requests import Refusal, RequestLimits
from carbonquota.limiter.model import Answer, Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_TRY_AGAIN_LATER = 1013
"""The code of a WebSocket that is closed for want of room."""


class AsgiLimits:
    """An application around another, which gets the requests that may pass; as `add_middleware` makes it."""

    def __init__(self, app: Application, limits: RequestLimits) -> None:
        """Ask `limits` about each request and each WebSocket."""
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        question = self._question(scope)
        if isinstance(question, Refusal):
            await _refuse(scope, receive, send, question)
            return
        limiter = self._limits.limiter
        answer = limiter.check(question) if limiter.is_local else await limiter.check_async(question)
        refusal = self._limits.refusal(answer)
        if refusal is not None:
            await _refuse(scope, receive, send, refusal)
            return
        try:
            await self._app(scope, receive, _with_headers(send, self._limits.headers(answer)))
        finally:
            await self._release(answer)

    def _question(self, scope: Scope) -> Request | Refusal:
        fields: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        client = scope.get("client")
        target = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
        return self._limits.question(scope.get("method", "GET"), target, fields, client[0] if client else "")

    async def _release(self, answer: Answer) -> None:
        """Give back its places among the requests in flight."""
        if answer.leases:
            await self._limits.limiter.release_async(answer)


def _with_headers(send: Send, headers: list[Header]) -> Send:
    """Sends on what the application answers, with the limiter's headers."""
    added = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]

    async def send_on(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.accept"}:
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return send_on


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    """Tell the client; a WebSocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": refusal.reason})
        return
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in refusal.all_headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
