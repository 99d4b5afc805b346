"""`/v1/write-ok` and `/v1/deleted`: may a customer write on? And what one holds, `/v1/customers/.../utilization`."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response

from carbonquota.hub.domain.grants import GrantAnswer
from carbonquota.hub.http.answers import READS
from carbonquota.hub.http.documents import (
    CustomerUsageDocument,
    DeletedAnswer,
    RefusedWrite,
    UsageValue,
    WriteAnswerDocument,
    WriteAnswersDocument,
    WriteBatch,
    WriteOrder,
)
from carbonquota.hub.http.freshness import warn
from carbonquota.hub.http.parameters import CustomerName, CustomerReader, ProviderWriter
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.visible import own_provider, visible_customer


def make_router(hub: Hub) -> APIRouter:
    """The endpoints about writes."""
    endpoints = _WriteEndpoints(hub)
    router = APIRouter(prefix="/v1", tags=["writes"], responses=READS)
    router.add_api_route("/write-ok", endpoints.write_ok, methods=["POST"], summary="May a customer write on?")
    router.add_api_route(
        "/write-ok/batch", endpoints.write_ok_many, methods=["POST"], summary="The same for many small writes"
    )
    router.add_api_route("/deleted", endpoints.deleted, methods=["POST"], summary="A customer has deleted something")
    router.add_api_route("/customers/{customer}/utilization", endpoints.utilization, summary="What a customer holds")
    return router


class _WriteEndpoints:
    """Plain functions: each runs on a thread of its own, as the database may have to be waited for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def write_ok(self, order: WriteOrder, who: ProviderWriter) -> WriteAnswerDocument:
        """A large write is granted in slices: write what is granted, and ask again for the rest."""
        own_provider(who, order.provider)
        return _document(self._hub.grants.write_ok(order.customer, order.provider, order.size, order.control))

    def write_ok_many(self, batch: WriteBatch, who: ProviderWriter) -> WriteAnswersDocument:
        """Writes of customers or providers that nobody knows are refused, all others are decided."""
        for provider in set(batch.providers):
            own_provider(who, provider)
        answers = self._hub.grants.write_ok_many(batch.customers, batch.providers, batch.sizes, batch.control)
        refused = [
            RefusedWrite(position=position, left=_known(one.left), retry_after=one.retry_after, reason=one.reason)
            for position, one in sorted(answers.refused.items())
        ]
        return WriteAnswersDocument(
            granted=answers.granted, delays=answers.delays, refused=refused, valid_for=answers.valid_for
        )

    def deleted(self, order: WriteOrder, who: ProviderWriter) -> DeletedAnswer:
        """A deletion needs no leave; told here, what it frees may be written again at once."""
        own_provider(who, order.provider)
        amount = self._hub.grants.deleted(order.customer, order.provider, order.size, order.control)
        return DeletedAnswer(given_back=amount)

    def utilization(self, customer: CustomerName, who: CustomerReader, response: Response) -> CustomerUsageDocument:
        """By provider and control, the sums over all providers first; from memory, also while the database is away."""
        visible_customer(who, customer)
        values = [UsageValue(**asdict(value)) for value in self._hub.utilization.of(customer)]
        age = self._hub.synchronizer.age
        if self._hub.synchronizer.trouble:
            warn(response, age)
        return CustomerUsageDocument(customer=customer, values=values, fresh_within=age)


def _known(left: int) -> int | None:
    return left if left >= 0 else None


def _document(answer: GrantAnswer) -> WriteAnswerDocument:
    return WriteAnswerDocument(
        ok=answer.ok,
        granted=answer.granted,
        delay=answer.delay,
        valid_for=answer.valid_for,
        left=_known(answer.left),
        retry_after=None if answer.ok else answer.retry_after,
        reason=answer.reason,
    )
