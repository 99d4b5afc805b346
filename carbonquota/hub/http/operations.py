"""`/v1/audit`, and `/health`: what was changed by whom, and how this server is."""

from __future__ import annotations

import math
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query

from carbonquota.hub.http.answers import READS
from carbonquota.hub.http.documents import AuditDocument, AuditPage, StatusDocument
from carbonquota.hub.http.parameters import Limit, Operator
from carbonquota.hub.service.hub import Hub
from carbonquota.model import MAXIMUM
from carbonquota.web.access import PUBLIC


def make_router(hub: Hub) -> APIRouter:
    """The endpoints for whoever runs the service."""
    endpoints = _OperationEndpoints(hub)
    router = APIRouter(tags=["operations"])
    router.add_api_route("/v1/audit", endpoints.audit, summary="What was changed, by whom and why", responses=READS)
    router.add_api_route("/health", endpoints.health, summary="How this server is", openapi_extra=PUBLIC)
    return router


class _OperationEndpoints:
    """Plain functions: each runs on a thread of its own."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._version = version("carbonquota")

    def audit(
        self,
        _: Operator,
        before: Annotated[int | None, Query(ge=0, le=MAXIMUM)] = None,
        subject: Annotated[str, Query(max_length=500, description="Such as customer/acme")] = "",
        limit: Limit = 100,
    ) -> AuditPage:
        """The newest first."""
        entries = self._hub.writing.entries(before=before, limit=limit, subject=subject)
        return AuditPage(entries=[AuditDocument(**asdict(one)) for one in entries])

    def health(self) -> StatusDocument:
        """`ok`, or `degraded` while the database or the store is away: what is in memory is told on."""
        hub, trouble = self._hub, self._hub.trouble
        age = hub.synchronizer.age
        return StatusDocument(
            status="degraded" if trouble else "ok",
            detail=trouble,
            fresh_within=age if math.isfinite(age) else None,
            customers=hub.book.total,
            held=len(hub.book.numbers),
            providers=len(hub.book.providers),
            servers=hub.leases.servers,
            version=self._version,
        )
