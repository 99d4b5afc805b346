"""The application: every topic's endpoints, every error as a problem, and the description of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from carbonquota.hub import pages
from carbonquota.hub.http.answers import STATUSES
from carbonquota.hub.http.routers import ROUTERS
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.description import describe
from carbonquota.web.edge import BugCount, Edge
from carbonquota.web.guard import Guard
from carbonquota.web.make_access import Access, make_access
from carbonquota.web.openapi import finish_openapi
from carbonquota.web.problems import add_problem_handlers, problem

_ABOUT: Final = (
    "The quota service: what customers may hold and do hold over a fleet of stores, and whether they may write on. "
    "Errors are problem documents with the reason as `detail`."
)
_CLOSED: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def make_app(hub: Hub, allowed_hosts: Iterable[str] = (), access: Access | None = None) -> FastAPI:
    """The application that answers from `hub`, to the names of this machine, of loopback, and to `allowed_hosts`.

    Without `access`, everybody may do all until there is a token in the database.
    """
    access = access or make_access(
        AccessSettings(reading="nowhere"), stored=(hub.tokens.find,), is_open=is_open(hub), clock=hub.clock
    )
    app = FastAPI(title="carbonquota hub", description=_ABOUT, version="1", docs_url=None, redoc_url=None)
    for make_router in ROUTERS:
        app.include_router(make_router(hub))
    if access.login is not None:
        app.include_router(access.login.router())
    made = pages.make_pages()
    app.state.prepare = made.prepare
    app.include_router(pages.make_router(hub, made))
    _add_description(app)
    finish_openapi(app)
    add_problem_handlers(app)
    for kind, status in STATUSES.items():
        app.add_exception_handler(kind, _answer(status))
    app.add_middleware(access.around)
    app.add_middleware(
        Guard, allowed=tuple(allowed_hosts), program="quota service", setting="carbonquota serve --allowed-host"
    )
    app.add_middleware(Edge, bugs=BugCount(), program="quota service")
    return app


def is_open(hub: Hub) -> Callable[[], bool]:
    """Whether nobody needs a token, as there is none yet."""
    return lambda: not hub.tokens.any()


def _answer(status: int) -> Callable[[Request, Exception], Response]:
    """Answers one kind of error."""
    headers = {"Retry-After": "1"} if status == 503 else None

    def answer(_: Request, error: Exception) -> Response:
        return problem(status, str(error), headers=headers)

    return answer


def _add_description(app: FastAPI) -> None:
    """`/docs`."""

    def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()), headers=_CLOSED)

    app.add_api_route("/docs", docs, include_in_schema=False, response_model=None)
