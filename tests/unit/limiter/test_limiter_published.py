"""What envoyproxy/ratelimit documents of its rules, and the shapes of its example files, as cases written anew."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from carbonquota.errors import ConfigError
from carbonquota.limiter.model import UNLIMITED, Code, Descriptor, Limit, Reason, Request, Unit
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.stores import StoreCounters, StoreSettings
from carbonquota.testing import ManualClock

Entries = tuple[tuple[str, str], ...]


def entries(text: str) -> Entries:
    """`a=1,b=2` as entries."""
    return tuple((key, value) for key, _, value in (part.partition("=") for part in text.split(",")))


@dataclass(frozen=True)
class Case:
    """Rules of the domain `d`, and how many of 30 requests with the same descriptors pass, in this order."""

    rules: str
    passed: tuple[tuple[str, int], ...]


def limiter(rules: str) -> Limiter:
    return Limiter(DomainRules.from_text(f"domain: d\ndescriptors:\n{rules}"), clock=ManualClock(1_000_000.0))


def request(text: str, hits: int = 1) -> Request:
    return Request("d", tuple(Descriptor(entries(one)) for one in text.split(" ")), hits)


TWO_VALUES = """
  - {key: table, value: orders, rate_limit: {unit: second, requests_per_unit: 7}}
  - {key: table, value: stock, rate_limit: {unit: second, requests_per_unit: 7}}
"""
NESTED = """
  - key: mail
    value: news
    descriptors:
      - {key: reader, rate_limit: {unit: day, requests_per_unit: 3}}
  - {key: reader, rate_limit: {unit: day, requests_per_unit: 11}}
"""
SPECIAL = """
  - {key: address, rate_limit: {unit: second, requests_per_unit: 6}}
  - {key: address, value: 198.51.100.9, rate_limit: {unit: second, requests_per_unit: 0}}
"""
OTHER_DEPTH = "  - {key: a, value: b, rate_limit: {unit: second, requests_per_unit: 4}}\n"
OWN_DEPTH = """
  - key: a
    value: b
    descriptors:
      - {key: c, rate_limit: {unit: second, requests_per_unit: 4}}
"""
NO_LIMIT = """
  - {key: directory, rate_limit: {unlimited: true}}
  - {key: mailbox, rate_limit: {unit: minute, requests_per_unit: 8}}
"""
SHADOW = """
  - key: service
    descriptors:
      - {key: user, value: ann, shadow_mode: true, rate_limit: {unit: second, requests_per_unit: 4}}
      - {key: user, value: bob, rate_limit: {unit: second, requests_per_unit: 9}}
"""
REPLACED = """
  - key: read
    descriptors:
      - {key: user, rate_limit: {name: usual, unit: second, requests_per_unit: 4}}
  - key: file
    descriptors:
      - {key: user, rate_limit: {replaces: [{name: usual}], unit: second, requests_per_unit: 9}}
"""
DETAILED = """
  - {key: page, detailed_metric: true, rate_limit: {unit: minute, requests_per_unit: 5}}
  - {key: page, value: home, rate_limit: {unit: minute, requests_per_unit: 9}}
"""
GLOB = "  - {key: path, value: item*, rate_limit: {unit: minute, requests_per_unit: 6}}\n"
ALL_KINDS = """
  - key: from
    value: edge
    descriptors:
      - {key: to, value: stub, rate_limit: {unit: minute, requests_per_unit: 1}}
  - key: one
    rate_limit: {unit: minute, requests_per_unit: 2}
    descriptors:
      - {key: two, rate_limit: {unit: minute, requests_per_unit: 3}}
      - {key: two, value: never, rate_limit: {unit: minute, requests_per_unit: 0}}
      - {key: three, rate_limit: {unit: second, requests_per_unit: 1}}
      - {key: free, rate_limit: {unlimited: true}}
      - {key: three, value: watched, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}
  - {key: free, rate_limit: {unlimited: true}}
"""
QUOTAS = """
  - {key: service, value: small, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}
  - {key: service, value: large, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 2}}
"""

FREE = """
  - {key: to, value: here}
  - {key: to, rate_limit: {unit: minute, requests_per_unit: 4}}
"""
CASES_OF_UNITS = """
  - {key: a, rate_limit: {unit: MINUTE, requests_per_unit: 3}}
  - {key: b, rate_limit: {unit: Hour, requests_per_unit: 2}}
"""
STARS = """
  - {key: path, value: /v1/*/run, rate_limit: {unit: minute, requests_per_unit: 3}}
  - {key: way, value: a*-*-*c, rate_limit: {unit: minute, requests_per_unit: 2}}
"""
SHARED = """
  - {key: own, value: f/*, share_threshold: false, rate_limit: {unit: hour, requests_per_unit: 4}}
  - {key: all, value: f/*, share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 4}}
  - key: deep
    value: f/*
    share_threshold: true
    descriptors:
      - {key: method, rate_limit: {unit: hour, requests_per_unit: 2}}
"""
TWICE_REPLACED = """
  - {key: user, rate_limit: {name: usual, unit: minute, requests_per_unit: 2}}
  - {key: part, value: a, rate_limit: {replaces: [{name: usual}, {name: nothing}], unit: minute, requests_per_unit: 6}}
  - {key: part, value: b, rate_limit: {replaces: [{name: usual}], unit: minute, requests_per_unit: 7}}
"""
FORBIDDEN = """
  - {key: what, value: bad, rate_limit: {name: never, unit: minute, requests_per_unit: 0}}
  - {key: who, value: special, rate_limit: {replaces: [{name: never}], unit: minute, requests_per_unit: 2}}
"""
TEXTS = """
  - {key: at, value: "[::1]:80", rate_limit: {unit: minute, requests_per_unit: 2}}
"""

CASES = {
    "the same key with two values has two limits": Case(
        TWO_VALUES, (("table=orders", 7), ("table=stock", 7), ("table=other", 30))
    ),
    "keys and values know upper and lower case": Case(TWO_VALUES, (("table=Orders", 30), ("Table=orders", 30))),
    "a key without a value holds any, each by itself": Case(
        NESTED, (("mail=news,reader=1", 3), ("mail=news,reader=2", 3), ("reader=1", 11), ("reader=2", 11))
    ),
    "a place without a limit limits nothing": Case(NESTED, (("mail=news", 30), ("mail=other,reader=1", 30))),
    "all descriptors of a request are limited, and one refuses it": Case(NESTED, (("mail=news,reader=1 reader=1", 3),)),
    "key and value come before the key alone": Case(
        SPECIAL, (("address=198.51.100.1", 6), ("address=198.51.100.9", 0))
    ),
    "more entries than a rule has levels are held by none": Case(OTHER_DEPTH, (("a=b,c=d", 30), ("a=b", 4))),
    "as many entries as levels are held": Case(OWN_DEPTH, (("a=b,c=d", 4), ("a=b", 30), ("a=x,c=d", 30))),
    "an unlimited descriptor is never refused": Case(NO_LIMIT, (("directory=x", 30), ("mailbox=x", 8))),
    "a shadow is never refused": Case(SHADOW, (("service=auth,user=ann", 30), ("service=auth,user=bob", 9))),
    "a limit that replaces another takes its place": Case(
        REPLACED,
        # The last one: what was replaced was not charged meanwhile.
        (("file=f,user=u", 9), ("read=r,user=v file=f,user=v", 9), ("read=r,user=v", 4)),
    ),
    "detailed metrics change no limit": Case(DETAILED, (("page=a", 5), ("page=b", 5), ("page=home", 9))),
    "a star in a value holds what begins so": Case(GLOB, (("path=item1", 6), ("path=item2", 6), ("path=other", 30))),
    "a file with all kinds": Case(
        ALL_KINDS,
        (
            ("from=edge,to=stub", 1),
            ("one=x", 2),
            ("one=x,two=y", 3),
            ("one=x,two=never", 0),
            ("one=x,three=y", 1),
            ("one=x,three=watched", 30),
            ("one=x,free=y", 30),
            ("free=y", 30),
        ),
    ),
    "a request passes while one of its quotas has room": Case(
        # Both have room once, and then the second one once more.
        QUOTAS,
        (("service=small service=large", 2), ("service=small", 0), ("service=large", 0)),
    ),
    "a request passes by one quota alone": Case(QUOTAS, (("service=small", 1), ("service=large", 2))),
    "a descriptor without limit and without others below it is free, also beside a limit of its key": Case(
        FREE, (("to=here", 30), ("to=there", 4), ("to=here,by=car", 30))
    ),
    "units are written in any case": Case(CASES_OF_UNITS, (("a=x", 3), ("b=x", 2))),
    "a star stands anywhere in a value, and for nothing as well": Case(
        STARS,
        (
            ("path=/v1/x/run", 3),
            ("path=/v1//run", 3),
            ("path=/v1/x/y/run", 3),
            ("path=/v1/x/walk", 30),
            ("way=a-b-c", 2),
            ("way=a--c", 2),
            ("way=a-c", 30),
            ("way=ab-b-bc", 2),
        ),
    ),
    "each value of a star is counted by itself": Case(SHARED, (("own=f/1", 4), ("own=f/2", 4))),
    "what all values of a star share is used up by any": Case(SHARED, (("all=f/1", 4), ("all=f/2", 0))),
    "they share it with other levels below, too": Case(
        SHARED, (("deep=f/1,method=get", 2), ("deep=f/2,method=get", 0), ("deep=f/2,method=put", 2))
    ),
    "a limit that is replaced by one of two rules is not charged": Case(
        TWICE_REPLACED, (("user=u part=a", 6), ("user=u part=b", 7), ("user=u", 2))
    ),
    "what is forbidden by a limit of 0 passes where another limit takes its place": Case(
        FORBIDDEN, (("what=bad", 0), ("what=bad who=any", 0), ("what=bad who=special", 2))
    ),
    "hosts and ports in a value are text": Case(TEXTS, (("at=[::1]:80", 2), ("at=a.b:80", 30))),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_as_many_pass_as_is_documented(case: Case) -> None:
    subject = limiter(case.rules)
    passed = tuple((text, sum(subject.check(request(text)).allowed for _ in range(30))) for text, _ in case.passed)
    assert passed == case.passed


def test_an_unlimited_descriptor_is_told_apart_from_one_that_there_is_not() -> None:
    subject = limiter(NO_LIMIT)
    known = subject.check(request("directory=x")).statuses[0]
    assert (known.code, known.reason, known.remaining) == (Code.OK, Reason.UNLIMITED, UNLIMITED)
    assert UNLIMITED == 2**32 - 1
    assert subject.check(request("nothing=x")).statuses[0].reason is Reason.NO_RULE


def test_what_a_shadow_would_have_refused_is_counted() -> None:
    subject = limiter(SHADOW)
    for _ in range(10):
        subject.check(request("service=auth,user=ann"))
    assert subject.counts.rows() == {("d.service.user_ann", "", ""): (4, 0, 6)}


def test_a_detailed_metric_is_named_by_the_value() -> None:
    subject = limiter(DETAILED)
    for value in ("a", "b", "home"):
        subject.check(request(f"page={value}"))
    assert {rule for rule, _, _ in subject.counts.rows()} == {"d.page_a", "d.page_b", "d.page_home"}


def test_a_quota_that_is_used_up_says_so_while_another_has_room() -> None:
    subject = limiter(QUOTAS)
    answers = [subject.check(request("service=small service=large")) for _ in range(3)]
    assert [answer.allowed for answer in answers] == [True, True, False]
    codes = [[status.code for status in answer.statuses] for answer in answers]
    assert codes == [[Code.OK] * 2, [Code.OVER_LIMIT, Code.OK], [Code.OVER_LIMIT] * 2]


def test_a_quota_that_is_charged_when_a_request_is_done_is_asked_with_no_hits() -> None:
    subject = limiter(QUOTAS)
    both = request("service=small service=large", hits=0)
    served = []
    for _ in range(6):
        answer = subject.check(both)
        room = [name for name, status in zip(("small", "large"), answer.statuses, strict=True) if status.remaining > 0]
        if room:
            served += room[:1]
            subject.check(request(f"service={room[0]}"))
    # One of the small one, and two of the large one.
    assert served == ["small", "large", "large"]


NAMED = """
  - key: route
    value_to_metric: true
    descriptors:
      - key: method
        value_to_metric: true
        descriptors:
          - {key: subject, rate_limit: {unit: minute, requests_per_unit: 9}}
      - key: plain
        descriptors:
          - {key: subject, detailed_metric: true, rate_limit: {unit: minute, requests_per_unit: 9}}
  - key: known
    value: yes
    value_to_metric: true
    rate_limit: {unit: minute, requests_per_unit: 9}
  - key: file
    value: f/*
    value_to_metric: true
    rate_limit: {unit: minute, requests_per_unit: 9}
  - key: many
    value: m/*
    share_threshold: true
    value_to_metric: true
    descriptors:
      - {key: method, value_to_metric: true, rate_limit: {unit: minute, requests_per_unit: 9}}
  - key: most
    value: m/*
    share_threshold: true
    detailed_metric: true
    rate_limit: {unit: minute, requests_per_unit: 9}
"""


@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        ("route=api,method=GET,subject=7", "d.route_api.method_GET.subject"),
        ("route=api,plain=p,subject=7", "d.route_api.plain_p.subject_7"),
        ("known=yes", "d.known_yes"),
        ("file=f/1", "d.file_f/1"),
        ("many=m/1,method=GET", "d.many_m/*.method_GET"),
        ("most=m/1", "d.most_m/*"),
    ],
)
def test_counts_are_named_by_the_values_that_a_rule_says(asked: str, counted: str) -> None:
    subject = limiter(NAMED.replace("value: yes", 'value: "yes"'))
    assert subject.check(request(asked)).statuses[0].rule == counted
    assert set(subject.counts.rows()) == {(counted, "", "")}


def test_a_descriptor_without_a_key_a_domain_without_a_name_and_a_shared_value_without_a_star_are_errors() -> None:
    with pytest.raises(ConfigError, match='a descriptor without "key"'):
        limiter("  - {value: a, rate_limit: {unit: minute, requests_per_unit: 1}}\n")
    with pytest.raises(ConfigError, match='"share_threshold" needs a value with a \\*'):
        limiter("  - {key: a, value: b, share_threshold: true, rate_limit: {unit: day, requests_per_unit: 1}}\n")
    with pytest.raises(ConfigError, match="this must not be empty"):
        DomainRules.from_text('domain: ""\n')
    with pytest.raises(ConfigError, match='"one" cannot replace itself'):
        limiter("  - {key: a, rate_limit: {name: one, replaces: [{name: one}], unit: day, requests_per_unit: 1}}\n")
    with pytest.raises(ConfigError, match='"unit" beside "unlimited"'):
        limiter("  - {key: a, rate_limit: {unlimited: true, unit: day}}\n")
    with pytest.raises(ConfigError, match='unknown unit "moon"'):
        limiter("  - {key: a, rate_limit: {unit: moon, requests_per_unit: 1}}\n")


def test_metadata_of_a_descriptor_may_be_anything() -> None:
    said = "{backend: {name: a, weights: [1, 2, {x: y}]}, any: null}"
    subject = limiter(f"  - {{key: a, metadata: {said}, rate_limit: {{unit: day, requests_per_unit: 1}}}}\n")
    assert [subject.check(request("a=b")).allowed for _ in range(2)] == [True, False]


def test_an_unlimited_descriptor_asks_no_store() -> None:
    counters = StoreCounters(StoreSettings("valkey://127.0.0.1:1", timeout=0.1))
    subject = Limiter(DomainRules.from_text(f"domain: d\ndescriptors:\n{NO_LIMIT}"), counters=counters)
    assert subject.check(request("directory=x")).statuses[0].reason is Reason.UNLIMITED
    assert subject.troubles == ()


def test_a_request_counts_as_many_hits_as_it_says_and_each_descriptor_its_own() -> None:
    subject = limiter(NESTED)
    assert [subject.check(request("reader=1", 5)).allowed for _ in range(3)] == [True, True, False]
    own = Request("d", (Descriptor(entries("reader=2"), hits=6),))
    assert [subject.check(own).allowed for _ in range(2)] == [True, False]


def test_a_limit_that_a_descriptor_brings_along_holds_it() -> None:
    subject = limiter(NESTED)
    own = Request("d", (Descriptor(entries("reader=1"), limit=Limit(1, Unit.HOUR)),))
    assert [subject.check(own).allowed for _ in range(2)] == [True, False]


def test_a_domain_is_told_apart_from_others_and_stands_in_one_file() -> None:
    subject = limiter(TWO_VALUES)
    other = Request("other", request("table=orders").descriptors)
    assert all(subject.check(other).allowed for _ in range(30))
    with pytest.raises(ConfigError, match=r'"d\.table_orders" stands twice'):
        DomainRules.from_texts([(name, f"domain: d\ndescriptors:\n{TWO_VALUES}") for name in ("a.yaml", "b.yaml")])


@pytest.mark.parametrize("hits", [-1, -(2**40)])
def test_hits_below_0_give_nothing_back(hits: int) -> None:
    subject = limiter("  - {key: a, rate_limit: {unit: hour, requests_per_unit: 2}}\n")
    assert subject.check(request("a=b", 2)).allowed
    assert subject.check(request("a=b", hits)).statuses[0].remaining == 0
    assert not subject.check(request("a=b")).allowed
