"""Rules as envoyproxy/ratelimit has them, case by case of what it documents, and our own keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.errors import ConfigError
from carbonquota.limiter.model import UNLIMITED, Code, Descriptor, Limit, Reason, Request, Unit
from carbonquota.limiter.rules import DomainRules, lint, load_rules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock

Entries = tuple[tuple[str, str], ...]


def limiter(text: str) -> Limiter:
    return Limiter(DomainRules.from_text(text, "limits.yaml"), clock=ManualClock(1_000_000.0))


def request(*descriptors: Entries, tier: str = "", address: str = "", hits: int = 1) -> Request:
    return Request("d", tuple(map(Descriptor, descriptors)), hits, tier, address)


def passes(subject: Limiter, *descriptors: Entries, times: int = 20) -> int:
    """How many of so many requests pass."""
    return sum(subject.check(request(*descriptors)).allowed for _ in range(times))


MATCHING = """
domain: d
descriptors:
  - key: database
    value: users
    rate_limit: {unit: second, requests_per_unit: 5}
  - key: database
    rate_limit: {unit: second, requests_per_unit: 3}
  - key: kind
    value: marketing
    descriptors:
      - key: number
        rate_limit: {unit: day, requests_per_unit: 2}
  - key: number
    rate_limit: {unit: day, requests_per_unit: 4}
  - key: address
    rate_limit: {unit: second, requests_per_unit: 10}
  - key: address
    value: 50.0.0.5
    rate_limit: {unit: second, requests_per_unit: 0}
  - key: plain
    value: one
    rate_limit: {unit: second, requests_per_unit: 6}
  - key: ldap
    rate_limit: {unlimited: true}
  - key: path
    value: /api/*
    rate_limit: {unit: minute, requests_per_unit: 7}
  - key: path
    value: /a*z
    rate_limit: {unit: minute, requests_per_unit: 8}
  - key: path
    value: /api/exact
    rate_limit: {unit: minute, requests_per_unit: 9}
  - key: white
    value: listed
  - key: white
    rate_limit: {unit: minute, requests_per_unit: 1}
  - key: number_as_text
    value: 5
    rate_limit: {unit: MINUTE, requests_per_unit: 1}
"""


@pytest.mark.parametrize(
    ("entries", "limit"),
    [
        ((("database", "users"),), 5),
        ((("database", "other"),), 3),
        ((("kind", "marketing"), ("number", "1")), 2),
        ((("kind", "other"), ("number", "1")), 20),
        ((("kind", "marketing"),), 20),
        ((("number", "1"),), 4),
        ((("address", "50.0.0.1"),), 10),
        ((("address", "50.0.0.5"),), 0),
        ((("plain", "one"), ("sub", "x")), 20),
        ((("ldap", "x"),), 20),
        ((("path", "/api/x/y"),), 7),
        ((("path", "/a-z"),), 8),
        ((("path", "/api/exact"),), 9),
        ((("path", "/other"),), 20),
        ((("white", "listed"),), 20),
        ((("white", "x"),), 1),
        ((("number_as_text", "5"),), 1),
        ((("database_users", ""),), 20),
    ],
)
def test_the_most_special_rule_of_exactly_its_depth_holds(entries: Entries, limit: int) -> None:
    assert passes(limiter(MATCHING), entries) == limit


def test_each_combination_of_values_is_counted_by_itself() -> None:
    subject = limiter(MATCHING)
    for number in ("1", "2"):
        assert passes(subject, (("kind", "marketing"), ("number", number))) == 2


def test_all_descriptors_must_pass() -> None:
    subject = limiter(MATCHING)
    assert passes(subject, (("kind", "marketing"), ("number", "1")), (("number", "1"),)) == 2
    assert passes(subject, (("number", "1"),)) == 2


def test_an_unlimited_descriptor_says_so() -> None:
    status = limiter(MATCHING).check(request((("ldap", "x"),))).statuses[0]
    assert (status.code, status.reason, status.remaining) == (Code.OK, Reason.UNLIMITED, UNLIMITED)


REPLACES = """
domain: d
descriptors:
  - key: one
    descriptors:
      - key: user
        rate_limit: {name: specific, unit: second, requests_per_unit: 5}
  - key: two
    descriptors:
      - key: user
        rate_limit:
          replaces: [{name: specific}]
          unit: second
          requests_per_unit: 10
"""


def test_a_limit_that_is_replaced_neither_counts_nor_refuses() -> None:
    one, two = (("one", "1"), ("user", "u")), (("two", "2"), ("user", "u"))
    subject = limiter(REPLACES)
    assert passes(subject, one, two) == 10
    assert subject.check(request(one, two)).statuses[0].reason is Reason.REPLACED
    assert passes(subject, one) == 5


OURS = """
domain: d
algorithm: token_bucket
allow: [{user: root}, 10.0.0.0/8]
deny: [{key: "leaked*"}, "2001:db8::/32", 192.0.2.1]
descriptors:
  - key: user
    rate_limit: {unit: minute, requests_per_unit: 2}
    tiers:
      basic: {requests_per_unit: 4}
      pro: {requests_per_unit: 4, burst: 6}
      staff: {unlimited: true}
  - key: key
    rate_limit:
      - {unit: second, requests_per_unit: 3}
      - {unit: day, requests_per_unit: 4, algorithm: sliding_window}
  - key: dear
    rate_limit: {unit: minute, requests_per_unit: 10, cost: 4}
  - key: shared
    value: "g*"
    share_threshold: true
    rate_limit: {unit: minute, requests_per_unit: 3}
  - key: detailed
    detailed_metric: true
    rate_limit: {unit: week, unit_multiplier: 2, requests_per_unit: 3}
  - key: counted
    quota_mode: true
    rate_limit: {unit: minute, requests_per_unit: 1}
  - key: asked
    challenge: true
    rate_limit: {unit: minute, requests_per_unit: 1}
"""


@pytest.mark.parametrize(("tier", "limit"), [("", 2), ("unknown", 2), ("basic", 4), ("pro", 6), ("staff", 20)])
def test_a_tier_has_limits_of_its_own(tier: str, limit: int) -> None:
    subject = limiter(OURS)
    assert sum(subject.check(request((("user", "u"),), tier=tier)).allowed for _ in range(20)) == limit
    subject = limiter(OURS)
    named = request((("user", "u"),), (("tier", tier),))
    assert sum(subject.check(named).allowed for _ in range(20)) == limit


def test_who_is_on_the_allow_list_always_passes_and_on_the_deny_list_never() -> None:
    subject = limiter(OURS)
    assert passes(subject, (("user", "root"),)) == 20
    assert subject.check(request((("user", "u"),), address="10.1.2.3")).statuses[0].reason is Reason.ALLOWED
    for one in (
        request((("key", "leaked-1"),)),
        request((("user", "u"),), address="2001:db8::5"),
        request((("user", "root"),), address="192.0.2.1"),
        request((("remote_address", "::ffff:192.0.2.1"),)),
    ):
        answer = subject.check(one)
        assert (answer.allowed, answer.statuses[0].reason, answer.retry_after) == (False, Reason.DENIED, None)


def test_a_rule_may_have_several_limits_and_all_hold() -> None:
    clock = ManualClock(1_000_000.0)
    subject = Limiter(DomainRules.from_text(OURS), clock=clock)
    assert passes(subject, (("key", "k"),)) == 3
    clock.advance(5.0)
    assert passes(subject, (("key", "k"),)) == 1
    told = subject.check(request((("key", "k"),))).statuses[0].limit
    assert told is not None
    assert told.unit is Unit.DAY


def test_a_hit_has_its_cost() -> None:
    assert passes(limiter(OURS), (("dear", "x"),)) == 2


def test_values_of_a_glob_may_share_one_limit() -> None:
    subject = limiter(OURS)
    assert sum(passes(subject, (("shared", value),)) for value in ("ga", "gb")) == 3


def test_a_detailed_rule_is_named_by_the_value() -> None:
    status = limiter(OURS).check(request((("detailed", "x"),))).statuses[0]
    assert status.rule == "d.detailed_x"
    assert status.limit is not None
    assert status.limit.seconds == 14 * 86_400


QUOTA_AND_LIMIT = """
domain: d
descriptors:
  - {key: backend, value: a, quota_mode: true, rate_limit: {unit: year, requests_per_unit: 1}}
  - {key: backend, value: b, quota_mode: true, rate_limit: {unit: year, requests_per_unit: 3}}
  - {key: client, rate_limit: {unit: year, requests_per_unit: 5}}
"""


def test_a_quota_that_is_used_up_refuses_nothing_by_itself_and_the_other_limits_are_charged() -> None:
    subject = limiter(QUOTA_AND_LIMIT)
    a, b, client = (("backend", "a"),), (("backend", "b"),), (("client", "x"),)
    # Both quotas have room once, then b alone, and behind its three nobody has.
    assert [subject.check(request(a, b, client)).allowed for _ in range(5)] == [True, True, True, False, False]
    assert [status.is_over for status in subject.check(request(a, b, client)).statuses] == [True, True, False]
    # What was refused charged the client nothing, and what passed did.
    assert subject.peek(request(client)).statuses[0].remaining == 2


def test_a_rule_may_ask_for_a_challenge() -> None:
    subject = limiter(OURS)
    assert passes(subject, (("asked", "x"),)) == 1
    assert subject.check(request((("asked", "x"),))).challenge


GUARANTEE = """
domain: d
descriptors:
  - key: client
    guarantee: {alice: 6, bob: 3}
    rate_limit: {unit: second, requests_per_unit: 10}
"""


def test_others_borrow_what_is_idle_and_the_owner_gets_it_back_at_once() -> None:
    clock = ManualClock(1_000.0)
    subject = Limiter(DomainRules.from_text(GUARANTEE), clock=clock)
    assert passes(subject, (("client", "carol"),)) == 10
    assert passes(subject, (("client", "alice"),)) == 6
    assert passes(subject, (("client", "bob"),)) == 3
    clock.advance(1.0)
    assert passes(subject, (("client", "alice"),), times=4) == 4
    assert passes(subject, (("client", "carol"),)) == 6


S3 = """
domain: d
algorithm: token_bucket
descriptors:
  - key: user
    descriptors:
      - key: operation
        value: write
        rate_limit: {unit: second, requests_per_unit: 5}
  - key: bucket
    descriptors:
      - key: bytes
        rate_limit: {unit: second, requests_per_unit: 1000}
"""


def test_users_and_buckets_are_charged_both_or_none() -> None:
    subject = limiter(S3)
    user, bucket = (("user", "u"), ("operation", "write")), (("bucket", "b"), ("bytes", "in"))
    put = Request("d", (Descriptor(user, 1), Descriptor(bucket, 400)))
    assert [subject.check(put).allowed for _ in range(4)] == [True, True, False, False]
    # The two that the bucket refused left the user what he had.
    assert passes(subject, user) == 3


DENIED = """
domain: d
descriptors:
  - key: strict
    charge_denied: true
    rate_limit: {unit: minute, requests_per_unit: 2, algorithm: sliding_window}
"""


def test_a_rule_may_charge_what_it_refuses() -> None:
    clock = ManualClock(960.0)
    subject = Limiter(DomainRules.from_text(DENIED), clock=clock)
    assert passes(subject, (("strict", "x"),), times=2) == 2
    clock.advance(50.0)
    assert passes(subject, (("strict", "x"),), times=2) == 0
    clock.advance(20.0)
    assert passes(subject, (("strict", "x"),), times=1) == 0
    clock.advance(80.0)
    assert passes(subject, (("strict", "x"),), times=1) == 1


IN_FLIGHT = """
domain: d
descriptors:
  - key: job
    rate_limit: {algorithm: concurrency, unit: minute, requests_per_unit: 2}
"""


def test_a_place_in_flight_is_given_back_or_runs_out() -> None:
    clock = ManualClock(1_000.0)
    subject = Limiter(DomainRules.from_text(IN_FLIGHT), clock=clock)
    job = request((("job", "x"),))
    first, _ = subject.check(job), subject.check(job)
    assert not subject.check(job).allowed
    subject.release(first)
    assert subject.check(job).allowed
    assert subject.check(job).retry_after == 60.0
    clock.advance(60.0)
    assert [subject.check(job).allowed for _ in range(3)] == [True, True, False]


ERRORS = [
    ("", 'limits.yaml: this file is empty\n  it takes a line "domain: NAME" at least'),
    (
        "domain: d\ndescriptors:\n  - key: a\n    rate_limt: {unit: day}\n",
        (
            'limits.yaml:4:5: unknown key "rate_limt" in a descriptor\n'
            "        rate_limt: {unit: day}\n        ^^^^^^^^^\n"
            '  did you mean "rate_limit"?'
        ),
    ),
    (
        "domain: d\ndescriptors:\n  - key: a\n    rate_limit: {unit: minutes, requests_per_unit: -1}\n",
        (
            'limits.yaml:4:24: unknown unit "minutes"\n'
            "        rate_limit: {unit: minutes, requests_per_unit: -1}\n                           ^^^^^^^\n"
            '  did you mean "minute"?\n'
            'limits.yaml:4:52: "-1" is not a whole number from 0 to 4,294,967,295\n'
            "        rate_limit: {unit: minutes, requests_per_unit: -1}\n"
            "                                                       ^^"
        ),
    ),
    (
        "domain: d\ndescriptors:\n  - key: a\n    rate_limit: {unit: day}\n",
        (
            'limits.yaml:4:17: a limit without "requests_per_unit"\n'
            "        rate_limit: {unit: day}\n                    ^^^^^^^^^^^\n"
            '  for no limit, write "unlimited: true"'
        ),
    ),
    (
        "domain: d\ndescriptors:\n  - key: a\n    value: x\n  - key: a\n    value: x\n",
        (
            'limits.yaml:6:12: "d.a_x" stands twice\n        value: x\n               ^\n'
            "  merge the two descriptors, or remove one"
        ),
    ),
    (
        "domain: d\ndescriptors:\n  - value: x\n",
        ('limits.yaml:3:5: a descriptor without "key"\n      - value: x\n        ^'),
    ),
    (
        "descriptors: []\n",
        ('limits.yaml:1:1: there is no "domain"\n    descriptors: []\n    ^\n  write a line "domain: NAME"'),
    ),
    (
        "domain: d\ndescriptors: [{key: a, rate_limit: {unlimited: true, unit: day}}]\n",
        (
            'limits.yaml:2:60: "unit" beside "unlimited"\n'
            "    descriptors: [{key: a, rate_limit: {unlimited: true, unit: day}}]\n"
            "                                                               ^^^\n  remove one of the two"
        ),
    ),
    (
        "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1, burst: 5}}]\n",
        (
            'limits.yaml:2:77: "burst" has no meaning for fixed_window\n'
            "    descriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1, burst: 5}}]\n"
            "                                                                                ^\n"
            '  write "algorithm: token_bucket" beside it'
        ),
    ),
    (
        "domain: d\ndeny: [nobody]\n",
        (
            'limits.yaml:2:8: "nobody" is no network\n    deny: [nobody]\n           ^^^^^^\n'
            "  a client by name is written as key: value"
        ),
    ),
    (
        "domain: d\ndescriptors:\n  - key: a\n   value: b\n",
        (
            "limits.yaml:4:4: this is no YAML: while parsing a block collection, expected <block end>, but found "
            "'<block mapping start>'\n       value: b\n       ^"
        ),
    ),
    (
        "domain: d\ndescriptors: &a [{key: x, descriptors: *a}]\n",
        (
            "limits.yaml:2:18: this is nested more than 64 deep, or repeated without end\n"
            "    descriptors: &a [{key: x, descriptors: *a}]\n                     ^^^^^^^^^^^^^^^^^^^^^^^^^"
        ),
    ),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=range(len(ERRORS)))
def test_an_error_has_its_place_and_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DomainRules.from_text(text, "limits.yaml")
    assert str(caught.value) == message


def test_a_directory_is_read_whole_and_domains_may_be_split(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(
        "domain: d\ndescriptors: [{key: b, rate_limit: {unit: day, requests_per_unit: 1}}]\n"
    )
    (tmp_path / "a.yaml").write_text(
        "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 2}}]\n"
    )
    (tmp_path / "c.txt").write_text("no rules")
    (tmp_path / ".d.yaml").write_text("neither")
    rules = load_rules([str(tmp_path)])
    assert [rule.name for rule in rules.rules()] == ["d.a", "d.b"]
    (tmp_path / "e.yaml").write_text("domain: d\ndescriptors: [{key: a, value: }, {key: b}]\n")
    with pytest.raises(ConfigError, match=r'e.yaml:2:3[01]: "d.a" stands twice'):
        load_rules([str(tmp_path)])


LINTED = [
    ("{key: a, rate_limit: {unit: second, requests_per_unit: 1, burst: 20, algorithm: token_bucket}}",
     "R001 a burst of 20 is 20 s of 1 a second"),
    ("{key: a, rate_limit: {unit: second, requests_per_unit: 1, burst: 0, algorithm: token_bucket}}",
     "R002 a hit costs 1 and at most 0 fit: nothing ever passes"),
    ("{key: a, rate_limit: [{unit: second, requests_per_unit: 1}, {unit: minute, requests_per_unit: 60}]}",
     "R003 60 a minute can never be reached, as 1 a second grants less"),
    ("{key: a, value: x*, rate_limit: {unlimited: true}}, {key: a, value: xy*, rate_limit: {unlimited: true}}",
     'R004 it never matches, as "x*" stands before it and matches all of its values'),
    ("{key: a, rate_limit: {unit: day, requests_per_unit: 1, replaces: [{name: b}]}}",
     'R005 it replaces "b", and no limit of this domain is called so'),
    ("{key: a, rate_limit: {unit: day, requests_per_unit: 0}}", "R007 requests_per_unit: 0 refuses everything"),
]  # fmt: skip


@pytest.mark.parametrize(("descriptors", "message"), LINTED, ids=[message[:4] for _, message in LINTED])
def test_what_looks_wrong_is_found(descriptors: str, message: str) -> None:
    findings = lint(DomainRules.from_text(f"domain: d\ndescriptors: [{descriptors}]\n", "limits.yaml"))
    assert [f"{found.code} {found.problem.message}" for found in findings] == [message]


def test_lists_that_contradict_each_other_are_found() -> None:
    text = "domain: d\nallow: [{u: x}, 10.0.0.0/8]\ndeny: [{u: x}, 10.0.0.0/8]\n"
    found = [finding.problem.message for finding in lint(DomainRules.from_text(text))]
    assert found == [
        'domain "d": u: x is allowed and denied: it is denied',
        'domain "d": a network of /8 is allowed and denied: it is denied',
    ]


def test_a_text_without_end_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"limits.yaml: this is nested too deep"):
        DomainRules.from_text("[" * 20_000, "limits.yaml")


MERGED = """
domain: d
descriptors:
  - key: a
    rate_limit: &base {unit: minute, requests_per_unit: 5}
  - key: b
    rate_limit:
      <<: *base
      requests_per_unit: 3
  - key: c
    value: ~
    rate_limit: *base
"""


def test_what_a_file_refers_to_is_put_in_but_for_what_stands_there_itself() -> None:
    subject = limiter(MERGED)
    assert [passes(subject, ((key, "x"),)) for key in "abc"] == [5, 3, 5]


@pytest.mark.parametrize(
    ("merged", "message"),
    [("&x {<<: *x, key: a}", '"key" stands twice'), ("{<<: 5, key: a}", '"<<" must refer to keys with values')],
)
def test_a_reference_to_itself_or_to_nothing_is_an_error(merged: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DomainRules.from_text(f"domain: d\ndescriptors: [{merged}]\n")


def test_a_value_with_separators_spends_no_counter_of_another() -> None:
    text = """
    domain: d
    descriptors:
      - key: a
        rate_limit: {unit: day, requests_per_unit: 1}
        descriptors: [{key: b, rate_limit: {unit: day, requests_per_unit: 1}}]
    """
    subject = limiter(text)
    assert passes(subject, (("a", "x\x1fb\x1fy"),)) == 1
    assert passes(subject, (("a", "x\x1e1b\x1e1y"),)) == 1
    assert passes(subject, (("a", "x"), ("b", "y"))) == 1


def test_a_limit_of_an_unknown_domain_is_none() -> None:
    own = Descriptor((("a", "x"),), limit=Limit(0, Unit.DAY))
    assert limiter("domain: d\n").check(Request("another", (own,))).allowed
