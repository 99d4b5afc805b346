"""Counts, offenders, bans and brownout, as the limiter has them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from carbonquota.errors import ConfigError
from carbonquota.limiter.abuse import BanEvent, Offenders
from carbonquota.limiter.abuse.counts import Counts
from carbonquota.limiter.model import Code, Descriptor, Reason, Request, Status
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.stats import STATS
from carbonquota.testing import ManualClock

RULES = """
domain: d
ban: {blocked: 5, within: 60, for: 600}
descriptors:
  - key: user
    rate_limit: {unit: minute, requests_per_unit: 2}
    tiers:
      free: {requests_per_unit: 4}
  - key: watched
    shadow_mode: true
    rate_limit: {unit: minute, requests_per_unit: 1}
  - key: bytes
    rate_limit: {unit: minute, requests_per_unit: 100, algorithm: token_bucket}
"""


def request(key: str, value: str, *, tier: str = "", route: str = "", client: str = "", hits: int = 1) -> Request:
    return Request("d", (Descriptor(((key, value),)),), hits, tier, "", client, route)


def test_what_is_decided_is_counted_by_rule_route_and_tier() -> None:
    subject = Limiter(DomainRules.from_text(RULES), clock=ManualClock(6_000.0))
    for _ in range(3):
        subject.check(request("user", "u", route="GET /x"))
    for _ in range(2):
        subject.check(request("watched", "w"))
    subject.check(request("user", "u", tier="free"))
    assert subject.counts.rows() == {
        ("d.user", "GET /x", ""): (2, 1, 0),
        ("d.watched", "", ""): (1, 0, 1),
        ("d.user", "", "free"): (1, 0, 0),
    }


def test_rows_of_counts_are_bounded() -> None:
    counts = Counts()
    for number in range(20_000):
        counts.note([Status(Code.OK, Reason.UNDER, rule=f"d.{number}")], "", "")
    assert len(counts.rows()) == 10_001
    assert sum(allowed for allowed, _, _ in counts.rows().values()) == 20_000


def test_the_top_offenders_are_found_among_many() -> None:
    offenders = Offenders()
    for number in range(30_000):
        offenders.note(f"one-{number}")
        if number % 30 == 0:
            offenders.note("often")
    first = offenders.top(1)[0]
    assert first.client == "often"
    assert first.least <= 1_000 <= first.blocked


def test_who_is_blocked_too_often_is_denied_for_a_while_which_is_audited() -> None:
    clock, events = ManualClock(6_000.0), list[BanEvent]()
    subject = Limiter(DomainRules.from_text(RULES), clock=clock, on_ban=events.append)
    for _ in range(2 + 5 + 1):
        answer = subject.check(request("user", "u", client="mallory"))
        assert answer.statuses[0].reason in {Reason.UNDER, Reason.OVER}
    clock.advance(500.0)
    answer = subject.check(request("user", "another", client="mallory"))
    assert (answer.allowed, answer.statuses[0].reason, answer.retry_after) == (False, Reason.BANNED, 100.0)
    assert subject.check(request("user", "another", client="alice")).allowed
    clock.advance(100.0)
    assert subject.check(request("user", "third", client="mallory")).allowed
    assert [event.what for event in events] == ["banned", "ended"]
    assert events == subject.bans.audit()
    assert events[0].ban.reason == "blocked more than 5 times in 60 s"


def test_a_ban_is_made_and_lifted_by_hand() -> None:
    subject = Limiter(DomainRules.from_text(RULES.replace("ban:", "# ban:")), clock=ManualClock(6_000.0))
    subject.bans.add("192.0.2.7", 3_600, "scans us", by="ops")
    scan = Request("d", (Descriptor((("remote_address", "192.0.2.7"),)),))
    assert not subject.check(scan).allowed
    assert [(ban.client, ban.by, ban.reason) for ban in subject.bans.listed()] == [("192.0.2.7", "ops", "scans us")]
    assert subject.bans.lift("192.0.2.7")
    assert not subject.bans.lift("192.0.2.7")
    assert subject.check(scan).allowed


@pytest.mark.parametrize(("switch", "tier", "limit"), [("free", "free", 2), ("free", "", 2), ("*", "", 1)])
def test_a_brownout_multiplies_the_limits_of_a_tier(switch: str, tier: str, limit: int) -> None:
    clock = ManualClock(6_000.0)
    subject = Limiter(DomainRules.from_text(RULES), clock=clock)
    subject.brownout.set(switch, 0.5, 30.0)
    passed = [subject.check(request("user", "u", tier=tier, client=f"{n}")).allowed for n in range(10)]
    assert sum(passed) == limit
    clock.advance(30.0)
    usual = 4 if tier else 2
    assert (
        sum(subject.check(request("user", "u", tier=tier, client=f"{n}")).allowed for n in range(10)) == usual - limit
    )
    assert subject.brownout.listed() == []


def test_a_brownout_keeps_what_is_used_of_a_bucket() -> None:
    subject = Limiter(DomainRules.from_text(RULES), clock=ManualClock(6_000.0))
    assert subject.check(request("bytes", "b", hits=40)).allowed
    subject.brownout.set("*", Fraction(1, 2), 30.0)
    status = subject.peek(request("bytes", "b")).statuses[0]
    assert status.remaining == 10
    assert status.limit is not None
    assert status.limit.requests == 50
    assert subject.brownout.lift("*")
    assert subject.peek(request("bytes", "b")).statuses[0].remaining == 60


@pytest.mark.parametrize(("factor", "seconds"), [(-1.0, 10.0), (11.0, 10.0), (0.5, 0.0)])
def test_a_brownout_that_means_nothing_is_refused(factor: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="a brownout has a factor from 0 to 10"):
        Limiter(DomainRules()).brownout.set("free", factor, seconds)


def test_all_samples_are_of_the_table() -> None:
    subject = Limiter(DomainRules.from_text(RULES), clock=ManualClock(6_000.0))
    subject.brownout.set("free", 0.5, 10)
    for _ in range(9):
        subject.check(request("user", "u"))
    for sample in subject.samples():
        assert len(sample.labels) == len(STATS[sample.stat].labels)


def test_a_ban_that_lacks_something_is_an_error() -> None:
    with pytest.raises(ConfigError, match='"ban" without "for"'):
        DomainRules.from_text("domain: d\nban: {blocked: 5, within: 60}\n")


def test_nobody_is_denied_for_what_others_share() -> None:
    subject = Limiter(DomainRules.from_text(RULES), clock=ManualClock(6_000.0))
    for _ in range(50):
        subject.check(request("user", "shared"))
    assert subject.bans.listed() == []
    assert subject.offenders.top(1)[0].client == "user=shared"


def test_any_text_is_an_offender() -> None:
    offenders = Offenders()
    offenders.note("\ud800")
    assert offenders.top()[0].blocked == 1
