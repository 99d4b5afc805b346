"""What operators ask of a limiter and tell it, over HTTP: health, metrics, offenders, denied clients, brownout.

It is answered by a thread of its own, so that a limiter whose event loop stands can still say so.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import Body, FastAPI, Header, HTTPException, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from carbonquota.limiter.process.page import LimiterPage
from carbonquota.limiter.process.parts import LimiterParts, own_version
from carbonquota.web.access import PUBLIC, Role, require
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.description import describe
from carbonquota.web.edge import BugCount, Edge
from carbonquota.web.guard import Guard
from carbonquota.web.make_access import Access, make_access
from carbonquota.web.openapi import finish_openapi
from carbonquota.web.problems import add_problem_handlers

_ABOUT: Final = "How a rate limiter is, whom it denies, and its switches. Errors are JSON with the reason as `detail`."
_CLOSED: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_FAILING: Final = 5.0
"""Seconds without a turn of the event loop after which only a restart is likely to help."""

Name = Annotated[str, Field(min_length=1, max_length=300)]
RequestedWith = Annotated[str, Header(alias="X-Requested-With", max_length=200)]
ContentType = Annotated[str, Header(max_length=200)]


class BanOrder(BaseModel):
    """Deny a client for a while."""

    client: Name
    seconds: Annotated[float, Field(gt=0, le=31_536_000)]
    reason: Annotated[str, Field(max_length=300)] = ""
    by: Annotated[str, Field(min_length=1, max_length=100)] = "an operator"


class BrownoutOrder(BaseModel):
    """Multiply the limits of a tier, or of all (`*`), for a while."""

    tier: Name
    factor: Annotated[float, Field(ge=0, le=10)]
    seconds: Annotated[float, Field(gt=0, le=31_536_000)]


class Admin:
    """The answers."""

    def __init__(self, parts: LimiterParts) -> None:
        """Answer for these parts."""
        self._parts = parts

    def add_to(self, app: FastAPI) -> None:
        """The paths, for everybody, for those who read, and for those who change something."""
        for path, answer in (("/health", self.health), ("/ready", self.ready)):
            app.add_api_route(path, answer, response_model=None, openapi_extra=PUBLIC)
            app.add_api_route(path, answer, methods=["HEAD"], response_model=None, include_in_schema=False)
        reads = [require(Role.OPERATOR)]
        app.add_api_route("/metrics", self.metrics, response_class=Response, response_model=None, dependencies=reads)
        for path, read in (
            ("/api/limits", self.limits),
            ("/api/offenders", self.offenders),
            ("/api/bans", self.bans),
            ("/api/brownout", self.brownouts),
        ):
            app.add_api_route(path, read, response_model=None, dependencies=reads)
        for path, change, method, status in (
            ("/api/reload", self.reload, "POST", 200),
            ("/api/bans", self.ban, "POST", 201),
            ("/api/bans", self.lift_ban, "DELETE", 204),
            ("/api/brownout", self.set_brownout, "PUT", 200),
            ("/api/brownout", self.lift_brownout, "DELETE", 204),
        ):
            app.add_api_route(
                path,
                change,
                methods=[method],
                status_code=status,
                response_model=None,
                dependencies=[require(Role.ADMIN)],
            )

    def health(self, response: Response) -> dict[str, Any]:
        """`ok`, `degraded` (it works, and a restart would not help) or `failing` (503)."""
        parts = self._parts
        failing = parts.status.failing(_FAILING)
        reasons = (*failing, *parts.troubles)
        response.status_code = 503 if failing else 200
        return {
            "status": "failing" if failing else "degraded" if reasons else "ok",
            "reasons": reasons,
            "ready": parts.is_ready,
            "rules": len(parts.limiter.rules.rules()),
            "version": own_version(),
            "uptime": time.time() - parts.status.started,
        }

    def ready(self) -> dict[str, bool]:
        """200 while it serves, else 503 with what is waited for."""
        if not self._parts.is_ready:
            raise HTTPException(503, "; ".join(self._parts.status.waits_for))
        return {"ready": True}

    def metrics(self) -> Response:
        """All values for Prometheus."""
        return Response(self._parts.exposition.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def reload(self, x_requested_with: RequestedWith = "", content_type: ContentType = "") -> dict[str, Any]:
        """Read the rules anew; 422 with every problem where they are bad, and those in force stay.

        Send `Content-Type: application/json` or any `X-Requested-With`; the body is not read.
        """
        if content_type.partition(";")[0].strip().lower() != "application/json" and not x_requested_with:
            raise HTTPException(415, "send the header `Content-Type: application/json` or `X-Requested-With`")
        result = self._parts.rulebook.reload("a request over HTTP")
        if not result.ok:
            raise HTTPException(422, result.error)
        return {"ok": True, "outcome": result.outcome.value, "rules": result.rules}

    def limits(self) -> list[dict[str, Any]]:
        """What became of descriptors, by rule, route and tier."""
        return [
            {"rule": rule, "route": route, "tier": tier, "allowed": allowed, "blocked": blocked, "shadow": shadow}
            for (rule, route, tier), (allowed, blocked, shadow) in sorted(self._parts.limiter.counts.rows().items())
        ]

    def offenders(self, most: Annotated[int, Query(ge=1, le=1000)] = 20) -> list[dict[str, Any]]:
        """Who is blocked most; `blocked` may be too high, and is at least `least`."""
        return [
            {"client": one.client, "blocked": one.blocked, "least": one.least}
            for one in self._parts.limiter.offenders.top(most)
        ]

    def bans(self) -> dict[str, Any]:
        """Who is denied now, and what was done before."""
        bans = self._parts.limiter.bans
        audit = [{"time": event.time, "what": event.what} | asdict(event.ban) for event in reversed(bans.audit())]
        return {"bans": [asdict(one) for one in bans.listed()], "audit": audit}

    def ban(self, order: Annotated[BanOrder, Body()]) -> dict[str, Any]:
        """Deny a client for a while."""
        return asdict(self._parts.limiter.bans.add(order.client, order.seconds, order.reason, order.by))

    def lift_ban(self, client: Annotated[str, Query(min_length=1, max_length=300)]) -> None:
        """Deny a client no more; 404 where it was not denied."""
        if not self._parts.limiter.bans.lift(client):
            raise HTTPException(404, f'"{client}" is not denied')

    def brownouts(self) -> list[dict[str, Any]]:
        """The switches that are on."""
        return [
            {"tier": one.tier, "factor": float(one.factor), "until": one.until}
            for one in self._parts.limiter.brownout.listed()
        ]

    def set_brownout(self, order: Annotated[BrownoutOrder, Body()]) -> dict[str, Any]:
        """Multiply the limits of a tier for a while."""
        one = self._parts.limiter.brownout.set(order.tier, order.factor, order.seconds)
        return {"tier": one.tier, "factor": float(one.factor), "until": one.until}

    def lift_brownout(self, tier: Annotated[str, Query(min_length=1, max_length=300)]) -> None:
        """Have the limits of a tier be as the rules say; 404 where they are."""
        if not self._parts.limiter.brownout.lift(tier):
            raise HTTPException(404, f'no brownout is on for "{tier}"')


def make_admin(parts: LimiterParts, access: Access | None = None) -> FastAPI:
    """The application; it answers to the names of this machine, and to those that the settings allow.

    Who may ask what stands in `access`; without it everybody may do all.
    """
    access = access or make_access(AccessSettings())
    app = FastAPI(title="carbonquota limiter", description=_ABOUT, version="1", docs_url=None, redoc_url=None)
    Admin(parts).add_to(app)
    if access.login is not None:
        app.include_router(access.login.router())
    app.include_router(LimiterPage(parts).router())

    def docs() -> HTMLResponse:
        return HTMLResponse(describe(app.openapi()), headers=_CLOSED)

    app.add_api_route("/docs", docs, include_in_schema=False, response_model=None)
    finish_openapi(app)
    add_problem_handlers(app)
    section = parts.settings.admin
    app.add_middleware(access.around)
    app.add_middleware(
        Guard,
        allowed=(section.listen.host, *section.allowed_hosts),
        program="limiter",
        setting="[admin] allowed-hosts",
    )
    app.add_middleware(Edge, bugs=BugCount(), program="limiter")
    return app
