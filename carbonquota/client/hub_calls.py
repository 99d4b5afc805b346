"""The calls of the quota service's gRPC API, and between messages and values: what both clients and the server need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from carbonquota.client.messages import hub_pb2

SERVICE: Final = "carbonquota.hub.v1.QuotaService"


@dataclass(frozen=True, slots=True)
class HubCall:
    """A call by its path, the class of its request and of its reply, and whether requests are a stream."""

    path: str
    request: type[Message]
    reply: type[Message]
    is_stream: bool


def _calls() -> Iterator[tuple[str, HubCall]]:
    service = hub_pb2.DESCRIPTOR.services_by_name["QuotaService"]
    for method in service.methods:
        request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        yield method.name, HubCall(f"/{SERVICE}/{method.name}", request, reply, bool(method.client_streaming))


CALLS: Final[Mapping[str, HubCall]] = dict(_calls())
"""By name, as `proto/carbonquota/hub/v1/hub.proto` has them."""


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """Whether a write may go on (`ok`): `granted` of it may now, for `valid_for` seconds; ask again for the rest.

    Wait `delay` seconds before the next one. Where it was refused, `left` is what the quota leaves (None: not known),
    `retry_after` in how many seconds to ask again, and `reason` is for a person.
    """

    ok: bool
    granted: int
    delay: float
    valid_for: float
    left: int | None
    retry_after: float
    reason: str


@dataclass(frozen=True, slots=True)
class WriteAnswers:
    """The answers to a batch: by position what is granted and how long to wait; `refused` by position."""

    granted: list[int]
    delays: list[float]
    refused: dict[int, WriteAnswer]
    valid_for: float


def write_answer(reply: hub_pb2.WriteReply) -> WriteAnswer:
    """A reply as a value."""
    left = reply.left if reply.HasField("left") else None
    return WriteAnswer(reply.ok, reply.granted, reply.delay, reply.valid_for, left, reply.retry_after, reply.reason)


def write_answers(reply: hub_pb2.WriteBatchReply) -> WriteAnswers:
    """The reply to a batch as a value."""
    granted, delays = list(reply.granted), list(reply.delays)
    refused = {position: write_answer(one) for position, one in reply.refused.items()}
    return WriteAnswers(granted, delays or [0.0] * len(granted), refused, reply.valid_for)


def utilization(
    provider: str,
    customers: Sequence[str],
    amounts: Mapping[str, Sequence[int | None]],
    *,
    time: float | None = None,
    complete: bool = False,
) -> hub_pb2.Utilization:
    """A measurement as a message: by control an amount a customer, None where it is not known."""
    columns = [
        hub_pb2.Utilization.Column(control=control, amounts=[-1 if one is None else one for one in column])
        for control, column in amounts.items()
    ]
    return hub_pb2.Utilization(provider=provider, time=time, complete=complete, customers=customers, columns=columns)


def metadata(token: str) -> tuple[tuple[str, str], ...]:
    """What bears the token of a call."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def stubs(channel: Any) -> dict[str, Any]:  # noqa: ANN401 - a channel of grpc or of grpc.aio, alike in this
    """Something to call, by the name of each call."""
    return {
        name: (channel.stream_unary if call.is_stream else channel.unary_unary)(
            call.path, request_serializer=call.request.SerializeToString, response_deserializer=call.reply.FromString
        )
        for name, call in CALLS.items()
    }
