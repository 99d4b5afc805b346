"""`/v1/customers`, and `/v1/quotas` for many at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.domain.values import AGGREGATE, Actor, Customer, QuotaChange
from carbonquota.hub.http.answers import CHANGES, READS
from carbonquota.hub.http.documents import (
    Changed,
    CustomerDocument,
    CustomerOrder,
    CustomerPage,
    CustomerQuotaPage,
    QuotaBatch,
    quota_document,
)
from carbonquota.hub.http.etags import Expected, etag
from carbonquota.hub.http.parameters import Admin, CustomerName, CustomerReader, Limit, Operator, Reason
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.visible import visible_customer


def make_router(hub: Hub) -> APIRouter:
    """The endpoints about customers."""
    endpoints = _CustomerEndpoints(hub)
    router = APIRouter(prefix="/v1", tags=["customers"])
    one = "/customers/{customer}"
    router.add_api_route("/customers", endpoints.all, summary="Customers by name", responses=READS)
    router.add_api_route(one, endpoints.get, summary="A customer", responses=READS)
    router.add_api_route(one, endpoints.put, methods=["PUT"], summary="Make or change a customer", responses=CHANGES)
    router.add_api_route(
        one, endpoints.delete, methods=["DELETE"], status_code=204, summary="Delete a customer", responses=CHANGES
    )
    router.add_api_route("/quotas", endpoints.quotas, summary="Quotas of many customers", responses=READS)
    router.add_api_route(
        "/quotas", endpoints.put_quotas, methods=["PUT"], summary="Change many quotas together", responses=CHANGES
    )
    return router


class _CustomerEndpoints:
    """Plain functions: each runs on a thread of its own."""

    def __init__(self, hub: Hub) -> None:
        self._quotas = hub.quotas

    def all(
        self, _: Operator, after: Annotated[str, Query(max_length=LONGEST)] = "", limit: Limit = 100
    ) -> CustomerPage:
        """Those whose names come behind `after`."""
        found = self._quotas.customers(after=after, limit=limit)
        return CustomerPage(customers=[_document(one) for one in found])

    def get(self, customer: CustomerName, who: CustomerReader, response: Response) -> CustomerDocument:
        """Its namespaces and words; its version is the ETag."""
        visible_customer(who, customer)
        found = self._quotas.customer(customer)
        response.headers["ETag"] = etag(found.change)
        return _document(found)

    def put(
        self, customer: CustomerName, order: CustomerOrder, who: Admin, expect: Expected, response: Response
    ) -> Changed:
        """Its quotas stay as they are."""
        wanted = Customer(customer, tuple(order.namespaces), order.about)
        version = self._quotas.put_customer(Actor(who.name, order.why), wanted, expect)
        response.headers["ETag"] = etag(version)
        return Changed(version=version)

    def delete(self, customer: CustomerName, who: Admin, expect: Expected, why: Reason = "") -> None:
        """With all its quotas."""
        self._quotas.delete_customer(Actor(who.name, why), customer, expect)

    def quotas(
        self,
        _: Operator,
        after: Annotated[str, Query(max_length=LONGEST)] = "",
        begin: Annotated[str, Query(max_length=LONGEST, description="Of customers whose names begin so")] = "",
        limit: Limit = 100,
    ) -> CustomerQuotaPage:
        """All quotas of `limit` customers by name, those behind `after`."""
        names = [one.name for one in self._quotas.customers(after=after, begin=begin, limit=limit)]
        found = [quota_document(one) for one in self._quotas.several(names).values()]
        return CustomerQuotaPage(quotas=found, next=names[-1] if len(names) == limit else None)

    def put_quotas(self, batch: QuotaBatch, who: Admin) -> Changed:
        """All of them are changed or none; customers who are not known are made."""
        changes = [
            QuotaChange(
                one.customer, one.limits.amounts() if one.limits else None, one.provider or AGGREGATE, one.version
            )
            for one in batch.quotas
        ]
        return Changed(version=self._quotas.change(Actor(who.name, batch.why), changes))


def _document(one: Customer) -> CustomerDocument:
    return CustomerDocument(customer=one.name, namespaces=list(one.namespaces), about=one.about, version=one.change)
