"""`/v1/customers/.../history`: what a customer used over time."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.http.answers import READS
from carbonquota.hub.http.parameters import CustomerName, CustomerReader
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.visible import visible_customer


class MomentDocument(BaseModel):
    """What was used at a time, in seconds since the epoch."""

    time: int
    usage: int


class HistoryDocument(BaseModel):
    """Usage in the order of time. A moment at which no provider had told anything lately is left out."""

    customer: str
    provider: str
    control: str
    moments: list[MomentDocument]


def make_router(hub: Hub) -> APIRouter:
    """The endpoint."""

    def history(
        customer: CustomerName,
        who: CustomerReader,
        control: Annotated[str, Query(max_length=40)] = "bytes",
        provider: Annotated[str, Query(max_length=LONGEST, description="Empty is all of them together")] = "",
        span: Annotated[Literal["minute", "hour"], Query(description="24 hours, or 90 days")] = "minute",
    ) -> HistoryDocument:
        """The last 24 hours at a minute, or the last 90 days at an hour."""
        visible_customer(who, customer)
        found = hub.stored_history.of(customer, control, span, provider)
        moments = [MomentDocument(time=one.time, usage=one.usage) for one in found]
        return HistoryDocument(customer=customer, provider=provider, control=control, moments=moments)

    router = APIRouter(prefix="/v1/customers/{customer}", tags=["writes"], responses=READS)
    router.add_api_route("/history", history, summary="What a customer used over time")
    return router
