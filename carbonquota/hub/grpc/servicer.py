"""The calls: who may make them, what they do, and errors with their codes.

Calls are handled on the event loop. A write that memory grants is answered there and then; what has to wait for the
database does so on a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, Final

import grpc
import grpc.aio

from carbonquota.client.hub_calls import CALLS, SERVICE
from carbonquota.client.messages import hub_pb2
from carbonquota.errors import QuotaError
from carbonquota.hub.domain.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from carbonquota.hub.domain.values import Actor
from carbonquota.hub.grpc import replies
from carbonquota.hub.grpc.callers import Callers, Refused
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.visible import own_provider, visible_customer
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.web.access import Identity, Role

_CODES: Final[tuple[tuple[type[QuotaError], grpc.StatusCode], ...]] = (
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (InvalidError, grpc.StatusCode.INVALID_ARGUMENT),
    (ConflictError, grpc.StatusCode.ABORTED),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (QuotaError, grpc.StatusCode.INVALID_ARGUMENT),
)

Handler = Callable[[Any, Identity], Awaitable[Any]]
Context = grpc.aio.ServicerContext[Any, Any]


class Servicer:
    """Handles the calls of one hub."""

    def __init__(self, hub: Hub, callers: Callers) -> None:
        """Ask `callers` who calls."""
        self._hub = hub
        self._callers = callers
        self._log = BoundedLog(logging.getLogger(__name__), monotonic)

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All calls, for a server to include."""
        provider, reader = frozenset({Role.PROVIDER}), frozenset({Role.CUSTOMER, Role.OPERATOR})
        table: dict[str, tuple[frozenset[Role], Handler]] = {
            "WriteOk": (provider, self._write_ok),
            "WriteOkBatch": (provider, self._write_ok_batch),
            "Deleted": (provider, self._deleted),
            "PushUtilization": (provider, self._push),
            "GetUtilization": (reader, self._utilization),
            "GetQuotas": (reader, self._quotas),
            "SetQuotas": (frozenset(), self._set_quotas),
        }
        handlers = {}
        for name, (roles, handle) in table.items():
            call = CALLS[name]
            make = grpc.stream_unary_rpc_method_handler if call.is_stream else grpc.unary_unary_rpc_method_handler
            handlers[name] = make(
                self._guarded(roles, handle),
                request_deserializer=call.request.FromString,
                response_serializer=call.reply.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _guarded(self, roles: frozenset[Role], handle: Handler) -> Callable[[Any, Context], Awaitable[Any]]:
        """The call for these roles and administrators, with every error told by its code."""
        allowed = roles | {Role.ADMIN}

        async def guarded(request: Any, context: Context) -> Any:  # noqa: ANN401 - a message or an iterator of these
            try:
                return await handle(request, await self._callers.caller(context, allowed))
            except Refused as error:
                code, text = error.code, str(error)
            except QuotaError as error:
                code, text = next(code for kind, code in _CODES if isinstance(error, kind)), str(error)
            except Exception:  # noqa: BLE001 - the edge
                self._log.exception("bug", "gRPC: a bug kept a call from being answered")
                code, text = grpc.StatusCode.INTERNAL, "a bug kept this from being answered: see the server's log"
            return await context.abort(code, text)

        return guarded

    async def _write_ok(self, request: hub_pb2.WriteRequest, who: Identity) -> hub_pb2.WriteReply:
        own_provider(who, request.provider)
        arguments = request.customer, request.provider, request.size, request.control or "bytes"
        answer = self._hub.grants.write_ok_here(*arguments)
        if answer is None:
            answer = await asyncio.to_thread(self._hub.grants.write_ok, *arguments)
        return replies.write_reply(answer)

    async def _write_ok_batch(self, request: hub_pb2.WriteBatchRequest, who: Identity) -> hub_pb2.WriteBatchReply:
        customers, providers = list(request.customers), list(request.providers)
        for provider in set(providers):
            own_provider(who, provider)
        if len(providers) == 1:
            providers *= len(customers)
        control = request.control or "bytes"
        answers = await asyncio.to_thread(
            self._hub.grants.write_ok_many, customers, providers, list(request.sizes), control
        )
        return replies.batch_reply(answers)

    async def _deleted(self, request: hub_pb2.WriteRequest, who: Identity) -> hub_pb2.DeletedReply:
        own_provider(who, request.provider)
        arguments = request.customer, request.provider, request.size, request.control or "bytes"
        return hub_pb2.DeletedReply(given_back=await asyncio.to_thread(self._hub.grants.deleted, *arguments))

    async def _push(self, requests: AsyncIterator[hub_pb2.Utilization], who: Identity) -> hub_pb2.UtilizationReply:
        reply = hub_pb2.UtilizationReply()
        async for request in requests:
            own_provider(who, request.provider)
            taken = await asyncio.to_thread(lambda one: self._hub.utilization.put(replies.measurement(one)), request)
            reply.values += taken.values
            reply.unknown += taken.unknown
            if not reply.such_as:
                reply.such_as.extend(taken.such_as)
        return reply

    async def _utilization(self, request: hub_pb2.CustomerRequest, who: Identity) -> hub_pb2.CustomerUtilization:
        visible_customer(who, request.customer)
        values = self._hub.utilization.of(request.customer)
        return replies.customer_utilization(values, self._hub.synchronizer.age)

    async def _quotas(self, request: hub_pb2.CustomerRequest, who: Identity) -> hub_pb2.Quotas:
        visible_customer(who, request.customer)
        found = await asyncio.to_thread(self._hub.quotas.quotas, request.customer)
        return hub_pb2.Quotas(quotas=map(replies.quota_message, found))

    async def _set_quotas(self, request: hub_pb2.SetQuotasRequest, who: Identity) -> hub_pb2.Changed:
        changes = list(replies.quota_changes(request))
        version = await asyncio.to_thread(self._hub.quotas.change, Actor(who.name, request.why), changes)
        return hub_pb2.Changed(version=version)
