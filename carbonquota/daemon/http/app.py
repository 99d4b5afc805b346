"""The application: how the daemon is, its API, and their description, with every error as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from carbonquota.daemon.http.api import Api
from carbonquota.daemon.http.bugs import BugCount, Edge
from carbonquota.daemon.http.description import describe
from carbonquota.daemon.http.guard import Guard
from carbonquota.daemon.http.operations import Operations
from carbonquota.daemon.http.source import HttpSource
from carbonquota.errors import MetricNameError, QuotaError

_ABOUT: Final = (
    "Quotas on namespaces of Graphite metrics: how the daemon is, and what its namespaces hold. "
    "Errors are JSON with the reason as `detail`."
)
_CLOSED: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""The description needs nothing but itself."""


def make_app(source: HttpSource, allowed_hosts: Iterable[str] = ()) -> FastAPI:
    """The application that answers from `source`; bugs that it survives are counted in the source's health.

    It answers to the names of this machine and of loopback, and to `allowed_hosts`.
    """
    app = FastAPI(title="carbonquota", description=_ABOUT, version="1", docs_url=None, redoc_url=None)
    app.include_router(Operations(source).router())
    app.include_router(Api(source.engine).router())
    _add_description(app)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(MetricNameError, _answer_no_name)
    app.add_exception_handler(QuotaError, _answer_refused)
    bugs = BugCount()
    source.health.add(bugs.health)
    app.add_middleware(Guard, allowed=tuple(allowed_hosts))
    app.add_middleware(Edge, bugs=bugs)
    return app


def _add_description(app: FastAPI) -> None:
    """`/docs`, and the way there from `/`."""

    def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()), headers=_CLOSED)

    app.add_api_route("/docs", docs, include_in_schema=False, response_model=None)
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False, response_model=None)


def _answer_invalid(_: Request, error: Exception) -> JSONResponse:
    """422 with every parameter that is out of range, in one text."""
    problems = cast("RequestValidationError", error).errors()
    return _refusal(422, "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems))


def _answer_no_name(_: Request, error: Exception) -> JSONResponse:
    """400 for what no metric can be called."""
    return _refusal(400, str(error))


def _answer_refused(_: Request, error: Exception) -> JSONResponse:
    """422 for what cannot be worked out, such as sizes past the bounds of the index."""
    return _refusal(422, str(error))


def _refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
