"""What envoyproxy/ratelimit documents of its rules, and the shapes of its example files, as cases written anew."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from carbonquota.errors import ConfigError
from carbonquota.limiter.model import UNLIMITED, Code, Descriptor, Limit, Reason, Request, Unit
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
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
    "quotas are told, and let pass": Case(QUOTAS, (("service=small", 30), ("service=large", 30))),
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


def test_a_quota_that_is_used_up_says_so() -> None:
    subject = limiter(QUOTAS)
    codes = [subject.check(request("service=large")).statuses[0].code for _ in range(3)]
    assert codes == [Code.OK, Code.OK, Code.OVER_LIMIT]


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
