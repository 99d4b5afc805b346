from __future__ import annotations

import asyncio
import pickle

from carbonquota.limiter.model import Answer, Code, Descriptor, FullAnswer, Limit, Reason, Request, Unit
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock

RULES = """
domain: shop
descriptors:
  - key: client
    rate_limit: {unit: minute, requests_per_unit: 2, algorithm: token_bucket}
  - key: everybody
    value: "yes"
    rate_limit: {unit: second, requests_per_unit: 3}
  - key: watched
    shadow_mode: true
    rate_limit: {unit: second, requests_per_unit: 0}
"""


def limiter(clock: ManualClock) -> Limiter:
    return Limiter(DomainRules.from_text(RULES), clock=clock)


def request(*entries: tuple[str, str], hits: int = 1) -> Request:
    return Request("shop", tuple(Descriptor((entry,)) for entry in entries), hits)


def test_a_bucket_fills_again() -> None:
    clock = ManualClock(1000.0)
    subject = limiter(clock)
    assert [subject.check(request(("client", "a"))).allowed for _ in range(3)] == [True, True, False]
    refused = subject.check(request(("client", "a"))).statuses[0]
    assert (refused.code, refused.reason, refused.remaining) == (Code.OVER_LIMIT, Reason.OVER, 0)
    assert (refused.retry_after, refused.reset) == (30.0, 60.0)
    assert subject.check(request(("client", "b"))).allowed
    clock.advance(30.0)
    assert subject.check(request(("client", "a"))).allowed


def test_a_refused_request_is_charged_nowhere() -> None:
    subject = limiter(ManualClock(1000.0))
    both = request(("client", "a"), ("everybody", "yes"), hits=2)
    assert subject.check(both).allowed
    refused = subject.check(both)
    assert [status.code for status in refused.statuses] == [Code.OVER_LIMIT, Code.OVER_LIMIT]
    assert subject.check(request(("everybody", "yes"))).allowed


def test_a_shadow_rule_refuses_nothing_and_says_that_it_would() -> None:
    answer = limiter(ManualClock(1000.0)).check(request(("watched", "x")))
    assert answer.allowed
    assert answer.statuses[0].shadow


def test_without_a_rule_all_passes() -> None:
    answer = limiter(ManualClock()).check(request(("unknown", "x")))
    assert (answer.code, answer.statuses[0].reason) == (Code.OK, Reason.NO_RULE)


def test_a_limit_that_comes_with_the_request_takes_the_place_of_the_rule() -> None:
    subject = limiter(ManualClock(1000.0))
    own = Descriptor((("client", "a"),), limit=Limit(1, Unit.HOUR))
    answers = [asyncio.run(subject.check_async(Request("shop", (own,)))).code for _ in range(2)]
    assert answers == [Code.OK, Code.OVER_LIMIT]


def test_an_answer_is_what_it_tells_wherever_it_comes_from() -> None:
    subject = limiter(ManualClock(1000.0))
    answers: list[Answer] = [subject.check_one("shop", (("client", "a"),)) for _ in range(3)]
    for answer in answers:
        full = FullAnswer(answer.code, answer.statuses, answer.challenge, answer.leases)
        assert (answer.allowed, answer.tightest, answer.retry_after) == (full.allowed, full.tightest, full.retry_after)
        assert answer == full == pickle.loads(pickle.dumps(answer))  # noqa: S301 - our own
        assert (hash(answer), repr(answer)) == (hash(full), repr(full))
    assert answers[0] != answers[1]
    assert [answer.retry_after for answer in answers] == [0.0, 0.0, 30.0]
