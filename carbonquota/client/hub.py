"""The quota service for programs: ask before a write, tell what was deleted, and what customers hold.

`HubClient` waits for each answer, `AsyncHubClient` is for asyncio; both have the same calls. Errors are `grpc.RpcError`
with a code and a text for a person, as `proto/carbonquota/hub/v1/hub.proto` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from carbonquota.client import hub_calls
from carbonquota.client.hub_calls import WriteAnswer, WriteAnswers
from carbonquota.client.messages import hub_pb2

_MOST: Final = 16 * 1024 * 1024
_OPTIONS: Final = (("grpc.max_receive_message_length", _MOST),)

Amounts = Mapping[str, Sequence[int | None]]


class HubClient:
    """Asks a server of the quota service. May be used from any thread."""

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 5.0,
    ) -> None:
        """Ask the server at `address` (`host:port`), with TLS by `credentials`; each call has `timeout` seconds."""
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=_OPTIONS)
        self._calls = hub_calls.stubs(self._channel)
        self._sent: dict[str, Any] = {"metadata": hub_calls.metadata(token), "timeout": timeout}

    def write_ok(self, customer: str, provider: str, size: int, control: str = "bytes") -> WriteAnswer:
        """Whether a customer may write so much at a provider, and how much of it now."""
        request = hub_pb2.WriteRequest(customer=customer, provider=provider, size=size, control=control)
        return hub_calls.write_answer(self._calls["WriteOk"](request, **self._sent))

    def write_ok_many(
        self, customers: Sequence[str], providers: Sequence[str], sizes: Sequence[int], control: str = "bytes"
    ) -> WriteAnswers:
        """The same for many small writes, by position; one provider is that of all."""
        request = hub_pb2.WriteBatchRequest(customers=customers, providers=providers, sizes=sizes, control=control)
        return hub_calls.write_answers(self._calls["WriteOkBatch"](request, **self._sent))

    def deleted(self, customer: str, provider: str, size: int, control: str = "bytes") -> int:
        """Something was deleted; how much of it may be written again at once."""
        request = hub_pb2.WriteRequest(customer=customer, provider=provider, size=size, control=control)
        return int(self._calls["Deleted"](request, **self._sent).given_back)

    def push(self, measurements: Iterable[hub_pb2.Utilization]) -> hub_pb2.UtilizationReply:
        """Tell what a provider measured; `hub_calls.utilization` makes a measurement."""
        reply: hub_pb2.UtilizationReply = self._calls["PushUtilization"](iter(measurements), **self._sent)
        return reply

    def utilization(self, customer: str) -> hub_pb2.CustomerUtilization:
        """What a customer holds."""
        request = hub_pb2.CustomerRequest(customer=customer)
        reply: hub_pb2.CustomerUtilization = self._calls["GetUtilization"](request, **self._sent)
        return reply

    def quotas(self, customer: str) -> list[hub_pb2.Quota]:
        """All quotas of a customer."""
        request = hub_pb2.CustomerRequest(customer=customer)
        return list(self._calls["GetQuotas"](request, **self._sent).quotas)

    def set_quotas(self, quotas: Iterable[hub_pb2.Quota], why: str = "") -> int:
        """Set or delete quotas, all of them or none; the number of the change."""
        request = hub_pb2.SetQuotasRequest(quotas=quotas, why=why)
        return int(self._calls["SetQuotas"](request, **self._sent).version)

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the connection."""
        self.close()


class AsyncHubClient:
    """The same calls for asyncio; used on one event loop."""

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 5.0,
    ) -> None:
        """As of `HubClient`."""
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._calls = hub_calls.stubs(self._channel)
        self._sent: dict[str, Any] = {"metadata": hub_calls.metadata(token), "timeout": timeout}

    async def write_ok(self, customer: str, provider: str, size: int, control: str = "bytes") -> WriteAnswer:
        """Whether a customer may write so much at a provider, and how much of it now."""
        request = hub_pb2.WriteRequest(customer=customer, provider=provider, size=size, control=control)
        return hub_calls.write_answer(await self._calls["WriteOk"](request, **self._sent))

    async def write_ok_many(
        self, customers: Sequence[str], providers: Sequence[str], sizes: Sequence[int], control: str = "bytes"
    ) -> WriteAnswers:
        """The same for many small writes, by position; one provider is that of all."""
        request = hub_pb2.WriteBatchRequest(customers=customers, providers=providers, sizes=sizes, control=control)
        return hub_calls.write_answers(await self._calls["WriteOkBatch"](request, **self._sent))

    async def deleted(self, customer: str, provider: str, size: int, control: str = "bytes") -> int:
        """Something was deleted; how much of it may be written again at once."""
        request = hub_pb2.WriteRequest(customer=customer, provider=provider, size=size, control=control)
        return int((await self._calls["Deleted"](request, **self._sent)).given_back)

    async def push(self, measurements: Iterable[hub_pb2.Utilization]) -> hub_pb2.UtilizationReply:
        """Tell what a provider measured; `hub_calls.utilization` makes a measurement."""
        reply: hub_pb2.UtilizationReply = await self._calls["PushUtilization"](iter(measurements), **self._sent)
        return reply

    async def utilization(self, customer: str) -> hub_pb2.CustomerUtilization:
        """What a customer holds."""
        request = hub_pb2.CustomerRequest(customer=customer)
        reply: hub_pb2.CustomerUtilization = await self._calls["GetUtilization"](request, **self._sent)
        return reply

    async def quotas(self, customer: str) -> list[hub_pb2.Quota]:
        """All quotas of a customer."""
        request = hub_pb2.CustomerRequest(customer=customer)
        return list((await self._calls["GetQuotas"](request, **self._sent)).quotas)

    async def set_quotas(self, quotas: Iterable[hub_pb2.Quota], why: str = "") -> int:
        """Set or delete quotas, all of them or none; the number of the change."""
        request = hub_pb2.SetQuotasRequest(quotas=quotas, why=why)
        return int((await self._calls["SetQuotas"](request, **self._sent)).version)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the connection."""
        await self.close()
