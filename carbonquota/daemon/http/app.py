"""The application: how the daemon is, its API, and their description, with every error as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from carbonquota.daemon.http.api import Api
from carbonquota.daemon.http.operations import Operations
from carbonquota.daemon.http.source import HttpSource
from carbonquota.daemon.http.usage import DaemonUsage
from carbonquota.errors import MetricNameError
from carbonquota.web.access import Role, require
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.description import describe
from carbonquota.web.edge import BugCount, Edge
from carbonquota.web.guard import Guard
from carbonquota.web.make_access import Access, make_access
from carbonquota.web.openapi import finish_openapi
from carbonquota.web.page import Explorer, NavigationEntry, Pages, Site
from carbonquota.web.page.site import ask_for_token
from carbonquota.web.problems import add_problem_handlers, problem

_ABOUT: Final = (
    "Quotas on namespaces of Graphite metrics: how the daemon is, and what its namespaces hold. "
    "Errors are JSON with the reason as `detail`."
)
_CLOSED: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""The description needs nothing but itself."""

_PLACES: Final = (
    NavigationEntry("Now", "/"),
    NavigationEntry("Explore", "/explore"),
    NavigationEntry("Limits", "/limits"),
    NavigationEntry("Explain", "/explain"),
    NavigationEntry("Rules", "/rules"),
    NavigationEntry("API", "/docs"),
)


def make_app(source: HttpSource, allowed_hosts: Iterable[str] = (), access: Access | None = None) -> FastAPI:
    """The application that answers from `source`; bugs that it survives are counted in the source's health.

    It answers to the names of this machine and of loopback, and to `allowed_hosts`. Who may ask what stands in
    `access`; without it everybody may.
    """
    access = access or make_access(AccessSettings())
    app = FastAPI(title="carbonquota", description=_ABOUT, version="1", docs_url=None, redoc_url=None)
    api = Api(source.engine, source.cluster)
    app.include_router(Operations(source).router())
    app.include_router(api.router())
    if access.login is not None:
        app.include_router(access.login.router())
    _add_description(app)
    _add_pages(app, source, api)
    finish_openapi(app)
    add_problem_handlers(app)
    app.add_exception_handler(MetricNameError, _answer_no_name)
    bugs = BugCount()
    source.health.add(bugs.health)
    app.add_middleware(access.around)
    app.add_middleware(Guard, allowed=tuple(allowed_hosts))
    app.add_middleware(Edge, bugs=bugs)
    return app


def _add_pages(app: FastAPI, source: HttpSource, api: Api) -> None:
    """The pages for people, from `/` on."""
    pages = Pages(Site("carbonquota", source.host, _PLACES))
    app.state.prepare = pages.prepare
    app.include_router(pages.router())
    app.include_router(pages.login_router())
    readers = [Depends(ask_for_token), require(Role.OPERATOR)]
    app.include_router(Explorer(DaemonUsage(source, api), pages).router(), dependencies=readers)


def _add_description(app: FastAPI) -> None:
    """`/docs`."""

    def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()), headers=_CLOSED)

    app.add_api_route("/docs", docs, include_in_schema=False, response_model=None)


def _answer_no_name(_: Request, error: Exception) -> Response:
    """400 for what no metric can be called."""
    return problem(400, str(error))
