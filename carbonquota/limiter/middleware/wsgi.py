"""Middleware for WSGI (PEP 3333): Flask, Django, Pyramid and others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from carbonquota.limiter.faces.headers import Header
from carbonquota.limiter.middleware.requests import Refusal, RequestLimits
from carbonquota.limiter.model import Request

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class WsgiLimits:
    """An application around another, which gets the requests that may pass. May be used from any thread."""

    def __init__(self, app: WSGIApplication, limits: RequestLimits) -> None:
        """Ask `limits` about each request."""
        self._app = app
        self._limits = limits

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, or have it answered."""
        question = self._question(environ)
        if isinstance(question, Refusal):
            return _refuse(start_response, question)
        limiter = self._limits.limiter
        answer = limiter.check(question)
        refusal = self._limits.refusal(answer)
        if refusal is not None:
            return _refuse(start_response, refusal)
        start = _with_headers(start_response, self._limits.headers(answer))
        if not answer.leases:
            return self._app(environ, start)
        try:
            body = self._app(environ, start)
        except BaseException:
            limiter.release(answer)
            raise
        return _Released(body, lambda: limiter.release(answer))

    def _question(self, environ: WSGIEnvironment) -> Request | Refusal:
        fields = {
            name[5:].replace("_", "-").lower(): [value] for name, value in environ.items() if name.startswith("HTTP_")
        }
        target = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        return self._limits.question(environ["REQUEST_METHOD"], target, fields, environ.get("REMOTE_ADDR", ""))


class _Released:
    """A body that gives something back once the server is done with it."""

    def __init__(self, body: Iterable[bytes], release: Callable[[], None]) -> None:
        self._body = body
        self._release = release

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Called by the server in any case."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._release()


def _with_headers(start_response: StartResponse, headers: list[Header]) -> StartResponse:
    """Starts the response with the limiter's headers behind the application's."""

    def start(status: str, own: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:  # noqa: ANN401
        return start_response(status, [*own, *headers], *exc_info)

    return start


def _refuse(start_response: StartResponse, refusal: Refusal) -> Iterable[bytes]:
    start_response(f"{refusal.status} {refusal.reason}", refusal.all_headers)
    return [refusal.body]
