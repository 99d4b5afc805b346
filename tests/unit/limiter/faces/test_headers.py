"""What an answer says in headers."""

from __future__ import annotations

import pytest

from carbonquota.limiter.faces.headers import HeaderStyle, answer_headers
from carbonquota.limiter.model import Answer, Code, FullAnswer, Limit, Reason, Status, Unit

PASSES = Status(Code.OK, Reason.UNDER, Limit(100, Unit.MINUTE), 42, 17.2, rule="gateway.client")
REFUSED = Status(Code.OVER_LIMIT, Reason.OVER, Limit(5, Unit.SECOND, "burst"), 0, 0.4, 0.4, rule="gateway.route")
HOPELESS = Status(Code.OVER_LIMIT, Reason.OVER, Limit(5, Unit.SECOND), 0, 0.4, None, rule="r")
FREE = Status(Code.OK, Reason.NO_RULE)


@pytest.mark.parametrize(
    ("answer", "headers"),
    [
        pytest.param(FullAnswer(Code.OK, (FREE,)), [], id="no limit"),
        pytest.param(
            FullAnswer(Code.OK, (FREE, PASSES)),
            [("ratelimit-policy", '"gateway.client";q=100;w=60'), ("ratelimit", '"gateway.client";r=42;t=18')],
            id="passes",
        ),
        pytest.param(
            FullAnswer(Code.OVER_LIMIT, (PASSES, REFUSED)),
            [
                ("ratelimit-policy", '"gateway.client";q=100;w=60, "burst";q=5;w=1'),
                ("ratelimit", '"gateway.client";r=42;t=18, "burst";r=0;t=1'),
                ("retry-after", "1"),
                ("x-ratelimit-verdict", "limit"),
            ],
            id="refused",
        ),
        pytest.param(
            FullAnswer(Code.OVER_LIMIT, (HOPELESS,), challenge=True),
            [
                ("ratelimit-policy", '"r";q=5;w=1'),
                ("ratelimit", '"r";r=0;t=1'),
                ("x-ratelimit-verdict", "challenge"),
            ],
            id="waiting does not help",
        ),
    ],
)
def test_headers_tell_policies_what_is_left_and_when_to_come_again(
    answer: Answer, headers: list[tuple[str, str]]
) -> None:
    assert answer_headers(answer, HeaderStyle()) == headers


def test_envoys_own_headers_tell_of_the_tightest_limit() -> None:
    headers = answer_headers(FullAnswer(Code.OVER_LIMIT, (PASSES, REFUSED)), HeaderStyle(ietf=False, x_ratelimit=True))
    assert headers[:3] == [
        ("x-ratelimit-limit", '5, 5;w=1;name="burst"'),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1"),
    ]


def test_no_name_ends_a_header() -> None:
    limit = Limit(1, Unit.SECOND, 'a"\r\nset-cookie: x\\é')
    headers = answer_headers(FullAnswer(Code.OK, (Status(Code.OK, Reason.UNDER, limit, 1),)), HeaderStyle())
    assert headers[0] == ("ratelimit-policy", '"a???set-cookie: x??";q=1;w=1')
