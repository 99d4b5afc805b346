"""The calls: who may make them, what they do, and errors with their codes.

Calls are handled on the event loop. A write that memory can decide is answered there and then; what has to wait for the
database does so on a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from carbonquota.client.hub_calls import CALLS
from carbonquota.client.messages import hub_pb2
from carbonquota.errors import QuotaError
from carbonquota.hub.domain.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from carbonquota.hub.domain.grants import GrantAnswer
from carbonquota.hub.domain.values import Actor
from carbonquota.hub.grpc import replies
from carbonquota.hub.grpc.callers import Callers, NotAllowed
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.visible import own_provider, visible_customer
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.web.access import Identity, Role
from carbonquota.web.grpc.protocol import Call, CallGoneError
from carbonquota.web.grpc.replies import NOT_GRPC, GrpcStatus, MessageError, Parts, failure, message_of, success

_CODES: Final[tuple[tuple[type[Exception], GrpcStatus], ...]] = (
    (NotFoundError, GrpcStatus.NOT_FOUND),
    (InvalidError, GrpcStatus.INVALID_ARGUMENT),
    (ConflictError, GrpcStatus.ABORTED),
    (UnavailableError, GrpcStatus.UNAVAILABLE),
    (QuotaError, GrpcStatus.INVALID_ARGUMENT),
    (MessageError, GrpcStatus.INVALID_ARGUMENT),
    (NotImplementedError, GrpcStatus.UNIMPLEMENTED),
    (CallGoneError, GrpcStatus.CANCELLED),
)
_EXPECTED: Final = tuple(kind for kind, _ in _CODES)

_MOST_CALLS: Final = 10_000
"""Calls that wait for the database at a time."""

HEALTH: Final = b"/grpc.health.v1.Health/Check"
_SERVING: Final = success(b"\x08\x01")

_PROVIDER: Final = frozenset({Role.PROVIDER, Role.ADMIN})
_READER: Final = frozenset({Role.CUSTOMER, Role.OPERATOR, Role.ADMIN})
_ADMIN: Final = frozenset({Role.ADMIN})

Handler = Callable[[Any, Identity], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class _Method:
    """A call: who may make it, what it does, and how its requests are read; `is_stream` where these are many."""

    roles: frozenset[Role]
    handle: Handler
    read: Callable[[bytes], Message]
    is_stream: bool


class Servicer:
    """Answers the calls of one hub."""

    def __init__(self, hub: Hub, callers: Callers) -> None:
        """Ask `callers` who calls."""
        self._hub = hub
        self._callers = callers
        self.stats = hub.calls
        self._log = BoundedLog(logging.getLogger(__name__), monotonic)
        self._tasks: set[asyncio.Task[None]] = set()
        self._write_path = CALLS["WriteOk"].path.encode()
        self._methods = self._table()
        self._last: tuple[GrantAnswer | None, Parts] = None, _SERVING

    def _table(self) -> dict[bytes, _Method]:
        table: dict[str, tuple[frozenset[Role], Handler]] = {
            "WriteOk": (_PROVIDER, self._write_ok),
            "WriteOkBatch": (_PROVIDER, self._write_ok_batch),
            "Deleted": (_PROVIDER, self._deleted),
            "PushUtilization": (_PROVIDER, self._push),
            "GetUtilization": (_READER, self._utilization),
            "GetQuotas": (_READER, self._quotas),
            "SetQuotas": (_ADMIN, self._set_quotas),
        }
        return {
            CALLS[name].path.encode(): _Method(roles, handle, CALLS[name].request.FromString, CALLS[name].is_stream)
            for name, (roles, handle) in table.items()
        }

    def answer(self, call: Call) -> Parts | None:
        """The answer to a call; None where `call.answer` is called with it later."""
        head = call.stream.head
        if not head.is_grpc:
            return NOT_GRPC
        method = self._methods.get(head.path)
        if method is None:
            return _SERVING if head.path == HEALTH else failure(GrpcStatus.UNIMPLEMENTED, "there is no such call here")
        if head.path == self._write_path and (parts := self._write_at_once(call)) is not None:
            return parts
        if len(self._tasks) >= _MOST_CALLS:
            return failure(GrpcStatus.RESOURCE_EXHAUSTED, "too many calls wait for the database: try again")
        task = asyncio.get_running_loop().create_task(self._answer_later(call, method))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    def _write_at_once(self, call: Call) -> Parts | None:
        """The answer to a write where memory has it; None where something has to be waited for, or is wrong."""
        try:
            who = self._callers.known(call, _PROVIDER)
            if who is None:
                return None
            stream = call.stream
            request = hub_pb2.WriteRequest.FromString(message_of(stream.body, is_plain=stream.head.is_plain))
            own_provider(who, request.provider)
            answer = self._hub.grants.write_ok_here(
                request.customer, request.provider, request.size, request.control or "bytes"
            )
        except Exception:  # noqa: BLE001 - it is told on the way that tells all errors
            return None
        if answer is None:
            return None
        # Most answers are the same object as the one before.
        if answer is not self._last[0]:
            self._last = answer, success(replies.write_reply(answer).SerializeToString())
        return self._last[1]

    async def _answer_later(self, call: Call, method: _Method) -> None:
        """Answer a call, with every error told by its code."""
        try:
            who = await self._callers.find(call, method.roles)
            request = _requests(call, method) if method.is_stream else _request(call, method)
            parts = success((await method.handle(request, who)).SerializeToString())
        except NotAllowed as error:
            parts = failure(error.code, str(error))
        except _EXPECTED as error:
            parts = failure(next(code for kind, code in _CODES if isinstance(error, kind)), str(error))
        except Exception:  # noqa: BLE001 - the edge
            self.stats.faults["bug"] += 1
            self._log.exception("bug", "gRPC: a bug kept a call from being answered")
            parts = failure(GrpcStatus.INTERNAL, "a bug kept this from being answered: see the server's log")
        call.answer(parts)

    async def _write_ok(self, request: hub_pb2.WriteRequest, who: Identity) -> hub_pb2.WriteReply:
        own_provider(who, request.provider)
        arguments = request.customer, request.provider, request.size, request.control or "bytes"
        return replies.write_reply(await asyncio.to_thread(self._hub.grants.write_ok, *arguments))

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
        values = await asyncio.to_thread(self._hub.utilization.of, request.customer)
        return replies.customer_utilization(values, self._hub.synchronizer.age)

    async def _quotas(self, request: hub_pb2.CustomerRequest, who: Identity) -> hub_pb2.Quotas:
        visible_customer(who, request.customer)
        found = await asyncio.to_thread(self._hub.quotas.quotas, request.customer)
        age = max((one.age for one in found), default=0.0)
        return hub_pb2.Quotas(quotas=map(replies.quota_message, found), fresh_within=age)

    async def _set_quotas(self, request: hub_pb2.SetQuotasRequest, who: Identity) -> hub_pb2.Changed:
        changes = list(replies.quota_changes(request))
        version = await asyncio.to_thread(self._hub.quotas.change, Actor(who.name, request.why), changes)
        return hub_pb2.Changed(version=version)


def _request(call: Call, method: _Method) -> Message:
    """The one request of a call; MessageError, NotImplementedError."""
    return _read(message_of(call.stream.body, is_plain=call.stream.head.is_plain), method)


async def _requests(call: Call, method: _Method) -> AsyncIterator[Message]:
    """The requests of a call with many; MessageError, CallGoneError."""
    async for message in call.messages():
        yield _read(message, method)
    if call.stream.body:
        raise MessageError("the last message of the call is not whole")


def _read(raw: bytes, method: _Method) -> Message:
    try:
        return method.read(raw)
    except (DecodeError, UnicodeDecodeError):
        raise MessageError("the message is not one of this call") from None
