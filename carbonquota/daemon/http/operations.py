"""How the daemon is, for those who run it: orchestrators, Prometheus, and whoever changed the rules."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response

from carbonquota.daemon.http.documents import (
    Answers,
    HealthDocument,
    ReadyDocument,
    ReloadDocument,
    ReloadState,
    Stats,
)
from carbonquota.daemon.http.recent import TOO_OLD, RecentStats
from carbonquota.daemon.http.source import DaemonStatus, HttpSource
from carbonquota.service.exposition import CONTENT_TYPE
from carbonquota.web.access import PUBLIC, Role, require
from carbonquota.web.problems import ProblemDocument
from carbonquota.web.shared_page import SharedPage

_TEXT: Final[Answers] = {200: {"content": {"text/plain": {}}, "description": "The page"}}
_FAILING: Final[Answers] = {503: {"model": HealthDocument, "description": "It is failing"}}
_NOT_READY: Final[Answers] = {503: {"model": ProblemDocument, "description": "It is not, and why"}}
_REFUSED: Final[Answers] = {
    415: {"model": ProblemDocument, "description": "The header is missing that a form in a browser cannot send"},
    422: {"model": ProblemDocument, "description": "Every problem of the files in full; the rules in force stay"},
}


class Operations:
    """Answers from a source."""

    def __init__(self, source: HttpSource) -> None:
        """Read `source`, and reload by it."""
        self._source = source
        self._recent = RecentStats(source.health.samples)
        self._metrics = SharedPage(CONTENT_TYPE, source.metrics)

    def router(self) -> APIRouter:
        """The paths, for an application to include."""
        router = APIRouter(tags=["operation"])
        reading = [require(Role.OPERATOR)]
        router.add_api_route(
            "/health",
            self.health,
            summary="How the daemon is",
            response_model=HealthDocument,
            responses=_FAILING,
            openapi_extra=PUBLIC,
        )
        router.add_api_route(
            "/ready", self.ready, summary="Whether data points are taken", responses=_NOT_READY, openapi_extra=PUBLIC
        )
        router.add_api_route(
            "/metrics",
            self.metrics,
            summary="All values for Prometheus",
            response_class=Response,
            responses=_TEXT,
            dependencies=reading,
        )
        router.add_api_route(
            "/api/reload",
            self.reload,
            methods=["POST"],
            summary="Read the rules anew",
            responses=_REFUSED,
            dependencies=[require(Role.ADMIN)],
        )
        # As some load balancers ask.
        router.add_api_route("/health", self.health, methods=["HEAD"], include_in_schema=False)
        router.add_api_route("/ready", self.ready, methods=["HEAD"], include_in_schema=False)
        router.add_api_route("/metrics", self.metrics, methods=["HEAD"], include_in_schema=False, dependencies=reading)
        return router

    async def health(self) -> Response:
        """How the daemon is, and why: 200 for `ok` and also for `degraded`, 503 for `failing`.

        A daemon that is degraded still works, and a restart would not help: its rules file is bad, its destination is
        away, its state cannot be written. One that is failing has an event loop that does not turn; that is answered by
        a thread of its own, within a second.
        """
        stats, is_new = await self._recent.stats()
        status = self._source.status()
        document = _health_document(status, stats, () if is_new else (TOO_OLD,))
        return JSONResponse(jsonable_encoder(document), 503 if status.failing else 200)

    async def ready(self) -> ReadyDocument:
        """200 once the index is ready and the listeners are open, else 503 with what is waited for."""
        status = self._source.status()
        if not status.ready:
            raise HTTPException(503, "; ".join(status.not_ready) or "starting")
        return ReadyDocument(ready=True)

    async def metrics(self, request: Request) -> Response:
        """Quotas and the daemon's own values, in the text format of Prometheus, gzipped where that is asked for."""
        return await self._metrics.answer(request)

    def reload(
        self,
        content_type: Annotated[str, Header(max_length=200)] = "",
        x_requested_with: Annotated[str, Header(max_length=200)] = "",
    ) -> ReloadDocument:
        """Put in force what the files of rules say now, all of it or, where anything is wrong, nothing.

        Send `Content-Type: application/json` or any `X-Requested-With`; the body is not read.
        """
        # A page of another site can make a browser post a form here, but with neither of these.
        if content_type.partition(";")[0].strip().lower() != "application/json" and not x_requested_with:
            raise HTTPException(415, "send the header `Content-Type: application/json` or `X-Requested-With`")
        outcome = self._source.reload()
        if not outcome.ok:
            raise HTTPException(422, outcome.text)
        return ReloadDocument(ok=True, text=outcome.text)


def _health_document(status: DaemonStatus, stats: Stats, more: tuple[str, ...]) -> HealthDocument:
    reasons = (*status.failing, *_degraded(status), *more)
    return HealthDocument(
        status="failing" if status.failing else "degraded" if reasons else "ok",
        detail="; ".join(reasons),
        reasons=reasons,
        ready=status.ready,
        reload=ReloadState(status.reload.ok, status.reload.time, status.reload.error),
        kernel=status.kernel,
        version=status.version,
        uptime=status.uptime,
        stats=stats,
    )


def _degraded(status: DaemonStatus) -> tuple[str, ...]:
    """Why the daemon works less well."""
    reasons = list(status.degraded)
    if not status.reload.ok:
        first = status.reload.error.partition("\n")[0]
        reasons.insert(0, f"the rules in force are not those of the files: {first}")
    return tuple(reasons)
