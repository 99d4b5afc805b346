"""Envoy's messages as our values, and our answers as Envoy's messages."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from envoy.service.ratelimit.v3 import rls_pb2
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.limiter.faces.grpc.messages import Messages, read_request, write_answer
from carbonquota.limiter.faces.headers import HeaderStyle
from carbonquota.limiter.model import Code, Descriptor, FullAnswer, Limit, Reason, Request, Status, Unit
from carbonquota.web.grpc.replies import MessageError


def message(**fields: Any) -> Any:  # noqa: ANN401 - the messages come without types
    return json_format.ParseDict(fields, rls_pb2.RateLimitRequest())


ENTRIES = [{"key": "path", "value": "/a"}, {"key": "user"}]


@pytest.mark.parametrize(
    ("fields", "question"),
    [
        pytest.param(
            {"descriptors": [{"entries": ENTRIES}]},
            Request("d", (Descriptor((("path", "/a"), ("user", ""))),)),
            id="plain",
        ),
        pytest.param(
            {"hits_addend": 5, "descriptors": [{"entries": ENTRIES[:1]}, {"entries": ENTRIES[:1], "hits_addend": "0"}]},
            Request("d", (Descriptor((("path", "/a"),)), Descriptor((("path", "/a"),), 0)), 5),
            id="hits of the whole and of one",
        ),
        pytest.param(
            {"descriptors": [{"entries": ENTRIES[:1], "limit": {"requests_per_unit": 7, "unit": "HOUR"}}]},
            Request("d", (Descriptor((("path", "/a"),), None, Limit(7, Unit.HOUR)),)),
            id="a limit of its own",
        ),
    ],
)
def test_a_message_is_read(fields: dict[str, Any], question: Request) -> None:
    raw = message(domain="d", **fields).SerializeToString()
    messages = Messages()
    assert [messages.read(raw), messages.read(raw)] == [question, question]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"descriptors": [{"entries": ENTRIES}]}, "the domain must not be empty"),
        ({"domain": "d"}, "the list of descriptors must not be empty"),
        ({"domain": "d", "descriptors": [{}]}, "a descriptor has no entries"),
        ({"domain": "d", "descriptors": [{"entries": ENTRIES}] * 257}, "there are more than 256 descriptors"),
        (
            {"domain": "d", "descriptors": [{"entries": ENTRIES, "limit": {"requests_per_unit": 1}}]},
            "a descriptor's own limit has no unit that there is",
        ),
    ],
)
def test_a_message_that_asks_nothing_is_told(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MessageError) as error:
        read_request(message(**fields))
    assert str(error.value) == complaint


@given(st.binary(max_size=200))
def test_any_bytes_are_a_question_or_an_error(raw: bytes) -> None:
    with suppress(MessageError):
        assert isinstance(Messages().read(raw), Request)


@pytest.mark.parametrize("unit", list(Unit))
def test_an_answer_has_a_status_a_descriptor(unit: Unit) -> None:
    over = Status(Code.OVER_LIMIT, Reason.OVER, Limit(10, unit, "ten"), 0, 1.5, 1.5, rule="d.a")
    written = write_answer(FullAnswer(Code.OVER_LIMIT, (Status(Code.OK, Reason.NO_RULE), over)), HeaderStyle())
    assert json_format.MessageToDict(written) == {
        "overallCode": "OVER_LIMIT",
        "statuses": [
            {"code": "OK"},
            {
                "code": "OVER_LIMIT",
                "currentLimit": {"name": "ten", "requestsPerUnit": 10, "unit": unit.name},
                "durationUntilReset": "2s",
            },
        ],
        "responseHeadersToAdd": [
            {"key": "ratelimit-policy", "value": f'"ten";q=10;w={unit.seconds}'},
            {"key": "ratelimit", "value": '"ten";r=0;t=2'},
            {"key": "retry-after", "value": "2"},
            {"key": "x-ratelimit-verdict", "value": "limit"},
        ],
    }


def test_what_remains_is_told_as_far_as_the_protocol_can() -> None:
    status = Status(Code.OK, Reason.UNDER, Limit(2**40, Unit.DAY), 2**40 - 1)
    (written,) = write_answer(FullAnswer(Code.OK, (status,)), HeaderStyle()).statuses
    assert (written.current_limit.requests_per_unit, written.limit_remaining) == (2**32 - 1, 2**32 - 1)
