"""`/v1/providers`: the stores of the fleet, and what they measure."""

from __future__ import annotations

from fastapi import APIRouter, Response

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.values import Actor, Provider
from carbonquota.hub.http.answers import CHANGES, READS
from carbonquota.hub.http.documents import (
    Changed,
    MetricMapping,
    ProviderDocument,
    ProviderList,
    ProviderOrder,
    UtilizationOrder,
    UtilizationTaken,
)
from carbonquota.hub.http.etags import Expected, etag
from carbonquota.hub.http.parameters import Admin, Operator, ProviderName, ProviderWriter, Reason
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.hub.service.visible import own_provider


def make_router(hub: Hub) -> APIRouter:
    """The endpoints about providers."""
    endpoints = _ProviderEndpoints(hub)
    router = APIRouter(prefix="/v1/providers", tags=["providers"])
    router.add_api_route("", endpoints.all, summary="All providers", responses=READS)
    router.add_api_route("/{provider}", endpoints.get, summary="A provider", responses=READS)
    router.add_api_route(
        "/{provider}", endpoints.put, methods=["PUT"], summary="Make or change a provider", responses=CHANGES
    )
    router.add_api_route(
        "/{provider}", endpoints.delete, methods=["DELETE"], status_code=204, summary="Delete a provider",
        responses=CHANGES,
    )  # fmt: skip
    router.add_api_route(
        "/{provider}/utilization", endpoints.put_utilization, methods=["PUT"], summary="Tell what customers hold there",
        responses=READS,
    )  # fmt: skip
    return router


class _ProviderEndpoints:
    """Plain functions: each runs on a thread of its own."""

    def __init__(self, hub: Hub) -> None:
        self._providers = hub.providers
        self._utilization = hub.utilization

    def all(self, _: Operator) -> ProviderList:
        """By name."""
        return ProviderList(providers=[_document(one) for one in self._providers.all()])

    def get(self, provider: ProviderName, _: Operator, response: Response) -> ProviderDocument:
        """Its version is the ETag."""
        found = self._providers.provider(provider)
        response.headers["ETag"] = etag(found.change)
        return _document(found)

    def put(
        self, provider: ProviderName, order: ProviderOrder, who: Admin, expect: Expected, response: Response
    ) -> Changed:
        """What it measured stays."""
        wanted = Provider(
            provider,
            order.kind,
            order.url,
            order.interval,
            order.stale_after,
            tuple(one.model_dump() for one in order.mapping),
            order.about,
        )
        version = self._providers.put(Actor(who.name, order.why), wanted, expect)
        response.headers["ETag"] = etag(version)
        return Changed(version=version)

    def delete(self, provider: ProviderName, who: Admin, expect: Expected, why: Reason = "") -> None:
        """With all that it measured, and with quotas there."""
        self._providers.delete(Actor(who.name, why), provider, expect)

    def put_utilization(self, provider: ProviderName, order: UtilizationOrder, who: ProviderWriter) -> UtilizationTaken:
        """All of it is stored, or nothing; customers that nobody knows are passed over, and told."""
        own_provider(who, provider)
        amounts = {control: column for control in CONTROLS if (column := getattr(order, control)) is not None}
        taken = self._utilization.put(Measurement(provider, order.customers, amounts, order.time, order.complete))
        return UtilizationTaken(values=taken.values, unknown=taken.unknown, such_as=list(taken.such_as))


def _document(one: Provider) -> ProviderDocument:
    return ProviderDocument(
        provider=one.name,
        kind=one.kind,
        url=one.url,
        mapping=[MetricMapping(**row) for row in one.mapping],
        interval=one.interval,
        stale_after=one.stale_after,
        about=one.about,
        version=one.change,
    )
