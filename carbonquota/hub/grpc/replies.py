"""Between messages and what the service has."""

from __future__ import annotations

from collections.abc import Iterator

from carbonquota.client.messages import hub_pb2
from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.grants import Answers, GrantAnswer
from carbonquota.hub.domain.values import Quota, QuotaChange
from carbonquota.hub.service.utilization import KnownValue, Measurement


def write_reply(answer: GrantAnswer) -> hub_pb2.WriteReply:
    """The answer to one write."""
    if answer.ok:
        return hub_pb2.WriteReply(ok=True, granted=answer.granted, delay=answer.delay, valid_for=answer.valid_for)
    left = answer.left if answer.left >= 0 else None
    return hub_pb2.WriteReply(left=left, retry_after=answer.retry_after, reason=answer.reason)


def batch_reply(answers: Answers) -> hub_pb2.WriteBatchReply:
    """The answers to a batch; delays are left out where there are none."""
    delays = answers.delays if any(answers.delays) else ()
    refused = {position: write_reply(one) for position, one in answers.refused.items()}
    return hub_pb2.WriteBatchReply(granted=answers.granted, delays=delays, refused=refused, valid_for=answers.valid_for)


def measurement(message: hub_pb2.Utilization) -> Measurement:
    """What a provider tells."""
    amounts = {column.control: [None if one < 0 else one for one in column.amounts] for column in message.columns}
    time = message.time if message.HasField("time") else None
    return Measurement(message.provider, list(message.customers), amounts, time, message.complete)


def customer_utilization(values: list[KnownValue], age: float) -> hub_pb2.CustomerUtilization:
    """What a customer holds."""
    found = [
        hub_pb2.CustomerUtilization.Value(
            provider=one.provider, control=one.control, usage=one.usage, limit=one.limit, age=one.age, stale=one.stale
        )
        for one in values
    ]
    return hub_pb2.CustomerUtilization(values=found, fresh_within=age)


def quota_message(quota: Quota) -> hub_pb2.Quota:
    """A quota in force."""
    limits = hub_pb2.Limits(**dict(quota.limits.given()))
    return hub_pb2.Quota(customer=quota.customer, provider=quota.provider, limits=limits, version=quota.change)


def quota_changes(request: hub_pb2.SetQuotasRequest) -> Iterator[QuotaChange]:
    """Quotas as they shall be."""
    for one in request.quotas:
        limits = None
        if one.HasField("limits"):
            limits = Amounts(**{field.name: value for field, value in one.limits.ListFields()})
        expected = one.version if one.HasField("version") else None
        yield QuotaChange(one.customer, limits, one.provider, expected)
