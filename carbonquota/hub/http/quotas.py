"""`/v1/customers/.../quota`: what a customer may hold, in all and at one provider."""

from __future__ import annotations

from fastapi import APIRouter, Response

from carbonquota.hub.domain.values import AGGREGATE, Actor, QuotaChange
from carbonquota.hub.http.answers import CHANGES, READS
from carbonquota.hub.http.documents import Changed, QuotaDocument, QuotaList, QuotaOrder, quota_document
from carbonquota.hub.http.etags import Expected, etag
from carbonquota.hub.http.freshness import warn
from carbonquota.hub.http.parameters import Admin, CustomerName, CustomerReader, ProviderName, Reason
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.visible import visible_customer
from carbonquota.web.access import Identity


def make_router(hub: Hub) -> APIRouter:
    """The endpoints about quotas."""
    endpoints = _QuotaEndpoints(hub)
    router = APIRouter(prefix="/v1/customers/{customer}", tags=["quotas"])
    router.add_api_route("/quotas", endpoints.all, summary="All quotas of a customer", responses=READS)
    for path, what in (("/quota", "over all providers"), ("/quotas/{provider}", "at a provider")):
        place = "aggregate" if path == "/quota" else "at_provider"
        get, put, delete = (getattr(endpoints, f"{verb}_{place}") for verb in ("get", "put", "delete"))
        router.add_api_route(path, get, summary=f"The quota of a customer {what}", responses=READS)
        router.add_api_route(path, put, methods=["PUT"], summary=f"Set it {what}", responses=CHANGES)
        router.add_api_route(path, delete, methods=["DELETE"], status_code=204, summary=f"Delete it {what}",
                             responses=CHANGES)  # fmt: skip
    return router


class _QuotaEndpoints:
    """Plain functions: each runs on a thread of its own, as the database may have to be waited for."""

    def __init__(self, hub: Hub) -> None:
        self._quotas = hub.quotas

    def all(self, customer: CustomerName, who: CustomerReader, response: Response) -> QuotaList:
        """That over all providers comes first."""
        visible_customer(who, customer)
        found = self._quotas.quotas(customer)
        if age := max((one.age for one in found), default=0.0):
            warn(response, age)
        return QuotaList(quotas=[quota_document(one) for one in found])

    def get_aggregate(self, customer: CustomerName, who: CustomerReader, response: Response) -> QuotaDocument:
        """What a customer may hold in all; its version is the ETag."""
        return self._get(customer, AGGREGATE, who, response)

    def get_at_provider(
        self, customer: CustomerName, provider: ProviderName, who: CustomerReader, response: Response
    ) -> QuotaDocument:
        """What a customer may hold there; its version is the ETag."""
        return self._get(customer, provider, who, response)

    def put_aggregate(
        self, customer: CustomerName, order: QuotaOrder, who: Admin, expect: Expected, response: Response
    ) -> Changed:
        """Limits that are not given are none. A customer who is not known is made."""
        return self._put(QuotaChange(customer, order.limits.amounts(), AGGREGATE, expect), order, who, response)

    def put_at_provider(
        self,
        customer: CustomerName,
        provider: ProviderName,
        order: QuotaOrder,
        who: Admin,
        expect: Expected,
        response: Response,
    ) -> Changed:
        """The same at one provider, beside what holds over all of them."""
        return self._put(QuotaChange(customer, order.limits.amounts(), provider, expect), order, who, response)

    def delete_aggregate(self, customer: CustomerName, who: Admin, expect: Expected, why: Reason = "") -> None:
        """From then on nothing limits the customer in all; quotas at providers stay."""
        self._quotas.change(Actor(who.name, why), [QuotaChange(customer, None, AGGREGATE, expect)])

    def delete_at_provider(
        self, customer: CustomerName, provider: ProviderName, who: Admin, expect: Expected, why: Reason = ""
    ) -> None:
        """From then on only the quota over all providers limits the customer there."""
        self._quotas.change(Actor(who.name, why), [QuotaChange(customer, None, provider, expect)])

    def _get(self, customer: str, provider: str, who: Identity, response: Response) -> QuotaDocument:
        visible_customer(who, customer)
        quota = self._quotas.quota(customer, provider)
        response.headers["ETag"] = etag(quota.change)
        if quota.age:
            warn(response, quota.age)
        return quota_document(quota)

    def _put(self, change: QuotaChange, order: QuotaOrder, who: Identity, response: Response) -> Changed:
        version = self._quotas.change(Actor(who.name, order.why), [change])
        response.headers["ETag"] = etag(version)
        return Changed(version=version)
