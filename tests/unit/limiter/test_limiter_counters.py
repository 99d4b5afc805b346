"""Counters of a process: exact under threads, bounded, and they forget what matters least."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge, ChargeKind
from carbonquota.limiter.counters import local_counters
from carbonquota.limiter.model import Descriptor, Request
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock
from tests.support.limit_counters import BOTH, NATIVE, Make, needs_native, plain

HOUR = policy_of(Algorithm.FIXED_WINDOW, 2, 3_600)
PLACES = policy_of(Algorithm.CONCURRENCY, 1, 60)


def once(key: str) -> list[Charge]:
    return [Charge(key, HOUR)]


@pytest.mark.parametrize("make", BOTH)
def test_of_2000_at_once_a_hundred_pass(make: Make) -> None:
    subject, policy = make(lambda: 1_000.0), policy_of(Algorithm.TOKEN_BUCKET, 100, 3_600)
    start = threading.Barrier(8)

    def spend(_: int) -> int:
        start.wait()
        return sum(subject.decide([Charge("k", policy)]).passes for _ in range(250))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 100


@pytest.mark.parametrize("make", BOTH)
def test_a_flood_of_new_keys_drives_out_neither_who_is_limited_nor_who_comes_again(make: Make) -> None:
    subject = make(lambda: 1_000.0, 500)
    limited = [f"limited-{number}" for number in range(50)]
    for key in limited:
        for _ in range(3):
            subject.decide(once(key))
    known = [f"known-{number}" for number in range(50)]
    for key in known:
        subject.decide(once(key))
    for number in range(5_000):
        subject.decide(once(f"new-{number}"))
        if number % 200 == 0:
            for key in known:
                subject.decide([Charge(key, HOUR, 0)])
    assert not any(subject.decide(once(key)).passes for key in limited)
    # Who is known has one hit left, and not two.
    assert all(subject.decide(once(key)).passes for key in known)
    assert not any(subject.decide(once(key)).passes for key in known)
    counts = {sample.stat: sample.value for sample in subject.samples()}
    assert counts["limiter_keys"] == 500
    assert counts["limiter_evicted"] == 4_600


@pytest.mark.parametrize("make", BOTH)
def test_where_all_are_limited_there_is_room_all_the_same(make: Make) -> None:
    subject = make(lambda: 1_000.0, 100)
    for number in range(1_000):
        answers = [subject.decide(once(f"k{number}")).passes for _ in range(3)]
        assert answers == [True, True, False]


@pytest.mark.parametrize("make", BOTH)
def test_what_has_expired_goes_first(make: Make) -> None:
    clock = ManualClock(7_200.0)
    subject = make(clock, 100)
    for number in range(100):
        subject.decide([Charge(f"short-{number}", policy_of(Algorithm.FIXED_WINDOW, 2, 1))])
    clock.advance(1.0)
    for number in range(100):
        subject.decide(once(f"long-{number}"))
    for number in range(100):
        assert subject.decide(once(f"long-{number}")).outcomes[0].remaining == 0


@pytest.mark.parametrize("make", BOTH)
def test_places_in_flight_and_hits_are_taken_both_or_none(make: Make) -> None:
    subject = make(lambda: 7_200.0)
    both = [Charge("job", PLACES), Charge("hits", HOUR)]
    first = subject.decide(both)
    assert first.passes
    assert set(first.tokens) == {0}
    refused = subject.decide(both)
    assert [outcome.fits for outcome in refused.outcomes] == [False, True]
    # The hits of the refused one were not charged; the place is not taken where hits are over.
    assert subject.decide(once("hits")).passes
    assert not subject.decide([Charge("other job", PLACES), Charge("hits", HOUR)]).passes
    assert subject.decide([Charge("other job", PLACES)]).passes


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("key", ["", "ключ", "\ud800", "x" * 10_000, "a\0b"])
def test_any_text_is_a_key(make: Make, key: str) -> None:
    subject = make(lambda: 7_200.0)
    assert [subject.decide(once(key)).passes for _ in range(3)] == [True, True, False]
    assert subject.decide(once(key + "x")).passes


@pytest.mark.parametrize("make", BOTH)
def test_two_charges_on_one_key_add_up(make: Make) -> None:
    subject = make(lambda: 7_200.0)
    assert not subject.decide([Charge("k", HOUR, 2), Charge("k", HOUR, 1)]).passes
    assert subject.decide([Charge("k", HOUR, 1), Charge("k", HOUR, 1)]).passes


@pytest.mark.parametrize("make", BOTH)
def test_a_guarantee_forces_what_comes_behind_it(make: Make) -> None:
    subject = make(lambda: 7_200.0)
    assert subject.decide([Charge("total", HOUR, 2)]).passes
    own = [Charge("own", HOUR, 1, ChargeKind.GUARANTEE), Charge("total", HOUR, 1)]
    assert [subject.decide(own).passes for _ in range(3)] == [True, True, False]


@needs_native
def test_the_compiled_table_takes_at_most_64_bytes_a_key_and_checks_many_as_one_by_one() -> None:
    table = import_module(NATIVE).Table(10_000, lambda: 1_000.0)
    assert table.memory / 10_000 <= 64
    limit = table.limit(policy_of(Algorithm.TOKEN_BUCKET, 3, 60))
    keys = [f"k{number % 40}" for number in range(200)]
    assert sum(limit.check_many(keys)) == 120
    assert not limit.check("k1")
    assert limit.ask(b"other") == (True, 2, 20_000_000, 0)
    with pytest.raises(ValueError, match="hits are from 0 on"):
        limit.check("k", -1)
    with pytest.raises(TypeError, match="a key is str or bytes, not int"):
        limit.check(5)
    with pytest.raises(ValueError, match="a table is for 1 to"):
        import_module(NATIVE).Table(0)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("value", ["alice", "ключ", "x" * 150], ids=["short", "not ascii", "long"])
def test_a_keyed_limit_shares_the_counters_of_its_rule(make: Make, value: str) -> None:
    text = "domain: d\ndescriptors: [{key: user, rate_limit: {unit: hour, requests_per_unit: 3}}]\n"
    subject = Limiter(DomainRules.from_text(text), counters=make(lambda: 7_200.0))
    keyed = subject.keyed("d", "user")
    assert keyed.check(value)
    assert subject.check(Request("d", (Descriptor((("user", value),)),))).allowed
    assert list(keyed.check_many([value, value, "bob"])) == [1, 0, 1]
    assert not keyed.ask(value).fits
    with pytest.raises(KeyError):
        subject.keyed("d", "other")


@needs_native
def test_a_compiled_table_goes_round_as_keys_come_and_go() -> None:
    clock = ManualClock(1_000.0)
    table = import_module(NATIVE).Table(64, clock)
    limit = table.limit(policy_of(Algorithm.FIXED_WINDOW, 1, 10))
    for number in range(20_000):
        clock.advance(0.25)
        assert limit.check(f"k{number}")
        assert not limit.check(f"k{number}")
    assert len(table) <= 64
    assert table.evicted == 0


def test_the_counters_in_use_are_those_of_the_kernel_in_use() -> None:
    assert local_counters().is_local


@needs_native
def test_where_all_of_many_are_limited_one_of_the_next_goes() -> None:
    table = import_module(NATIVE).Table(20_000, lambda: 1_000.0)
    limit = table.limit(policy_of(Algorithm.FIXED_WINDOW, 1, 3_600))
    for number in range(20_000):
        assert limit.check(f"limited-{number}")
        assert not limit.check(f"limited-{number}")
    assert all(limit.check(f"new-{number}") for number in range(1_000))
    assert table.evicted == 1_000
    assert table.evicted_limited <= 5


def test_places_in_flight_that_have_run_out_take_no_memory() -> None:
    clock = ManualClock(1_000.0)
    subject = plain(clock, 1_000_000)
    jobs = policy_of(Algorithm.CONCURRENCY, 1, 10.0)
    for number in range(30_000):
        clock.advance(0.01)
        assert subject.decide([Charge(f"job-{number}", jobs)]).passes
    # A thousand run at a time; some more are kept while there are few.
    assert all(one.value <= 1_100 for one in subject.samples() if one.stat == "limiter_keys")
    assert not subject.decide([Charge("job-29999", jobs)]).passes
