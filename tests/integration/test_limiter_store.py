"""The limiter's store on a real Valkey: the same answers as in process, and its troubles told apart."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings

from carbonquota.cluster.store import connector
from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge, ChargeKind, Decision
from carbonquota.limiter.model import Descriptor, Lease, Reason, Request
from carbonquota.limiter.reference import PlainCounters
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.stores import SharedSwitches, StoreCounters, StoreSettings
from carbonquota.limiter.stores.calls import StoreCalls
from carbonquota.testing import ManualClock
from tests.support.limit_spending import ENDLESS, spend
from tests.support.limits import EPOCH, STEPS, Step
from tests.support.proxies import TcpProxy
from tests.support.valkey import ValkeyServer, valkey_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("limits") / "valkey") as running:
        yield running


def test_the_store_decides_as_the_process_does(server: ValkeyServer) -> None:
    client = server.client()

    @given(STEPS)
    @settings(max_examples=60, deadline=None)
    def check(steps: list[Step]) -> None:
        client.flushdb()
        clock = ManualClock(EPOCH / 1e6)
        plain = PlainCounters(clock)
        now = EPOCH
        calls = StoreCalls(lambda: client, "test", lambda: now)
        for step in steps:
            now += step.wait
            clock.set(now / 1e6)
            ours, theirs = plain.decide(step.charges), calls.decide(step.charges)
            assert (ours.passes, list(ours.outcomes)) == (theirs.passes, list(theirs.outcomes))

    check()


def counters(server: ValkeyServer, name: str, *, processes: int = 1, slices: bool = True) -> StoreCounters:
    return StoreCounters(StoreSettings(server.url, name, timeout=0.25, processes=processes, slices=slices))


def charge(kind: int = 0, key: str = "k") -> list[Charge]:
    return [Charge(f"d\x1f{key}", ENDLESS, 1, kind)]


def test_three_processes_let_no_more_than_the_limit_pass(server: ValkeyServer) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        passed = pool.starmap(spend, [(server.url, "three", 667)] * 3)
    assert sum(passed) == 100


def test_requests_that_come_together_are_asked_together_and_each_is_decided_by_itself(server: ValkeyServer) -> None:
    async def ask() -> list[bool]:
        subject = counters(server, "together")
        asked = await asyncio.gather(*(subject.decide_async(charge()) for _ in range(2_000)))
        subject.close()
        return [decision.passes for decision in asked]

    assert sum(asyncio.run(ask())) == 100


def test_a_refused_key_is_refused_from_memory(server: ValkeyServer) -> None:
    subject = counters(server, "memory", slices=False)
    assert sum(subject.decide(charge()).passes for _ in range(100)) == 100
    assert not subject.decide(charge()).passes
    before = server.client().info("commandstats")["cmdstat_fcall"]["calls"]
    refused = [subject.decide(charge()) for _ in range(50)]
    assert server.client().info("commandstats")["cmdstat_fcall"]["calls"] == before
    assert not any(decision.passes for decision in refused)
    assert refused[-1].outcomes[0].retry > 0


def test_a_busy_key_is_answered_from_slices(server: ValkeyServer) -> None:
    subject = counters(server, "slices")
    large = [Charge("d\x1fbusy", policy_of(Algorithm.TOKEN_BUCKET, 100_000, 3_600.0))]
    assert all(subject.decide(large).passes for _ in range(2_000))
    answered = {
        sample.labels[0]: sample.value for sample in subject.samples() if sample.stat == "limiter_local_answers"
    }
    assert answered["slice"] > 1_500


def test_requests_in_flight_are_counted_over_processes_and_given_back(server: ValkeyServer) -> None:
    one, other = counters(server, "flight"), counters(server, "flight")
    places = [Charge("d\x1fjobs", policy_of(Algorithm.CONCURRENCY, 3, 60.0), 1)]
    held = [one.decide(places), one.decide(places), other.decide(places)]
    assert [decision.passes for decision in held] == [True] * 3
    assert not other.decide(places).passes
    one.release(Lease("d\x1fjobs", held[2].tokens[0]))
    assert other.decide(places).passes
    assert not one.decide(places).passes
    dying = [Charge("d\x1fdying", policy_of(Algorithm.CONCURRENCY, 1, 0.2), 1)]
    assert one.decide(dying).passes
    assert not other.decide(dying).passes
    wait_for(lambda: other.decide(dying).passes)


def test_who_gives_up_while_the_store_is_asked_holds_no_place(server: ValkeyServer) -> None:
    rules = "domain: d\ndescriptors: [{key: j, rate_limit: {algorithm: concurrency, unit: hour, requests_per_unit: 1}}]"
    subject = Limiter(DomainRules.from_text(rules), counters=counters(server, "gives-up"))
    job = Request("d", (Descriptor((("j", "x"),)),))

    async def ask() -> None:
        given_up = asyncio.create_task(subject.check_async(job))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        deadline = time.monotonic() + 15
        while not (answer := await subject.check_async(job)).allowed:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert len(answer.leases) == 1
        subject.close()

    asyncio.run(ask())


def wait_for(condition: Callable[[], object], within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kinds(subject: StoreCounters) -> set[str]:
    return {sample.labels[0] for sample in subject.samples() if sample.stat == "limiter_store_errors"}


OPEN, CLOSED, SHARE = charge(ChargeKind.FAIL_OPEN, "open"), charge(ChargeKind.FAIL_CLOSED, "closed"), charge(0, "share")


def test_a_store_that_was_killed_lets_nothing_in_twice_where_a_rule_is_closed(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as server:
        subject = counters(server, "killed", processes=4, slices=False)
        for some in (OPEN, CLOSED, SHARE):
            assert all(subject.decide(some).passes for _ in range(60))
        server.kill()
        # Without the store: all, nothing, a quarter of the limit.
        assert sum(subject.decide(OPEN).passes for _ in range(200)) == 200
        assert sum(subject.decide(CLOSED).passes for _ in range(200)) == 0
        assert sum(subject.decide(SHARE).passes for _ in range(200)) == 25
        assert "cannot be reached" in subject.troubles[0]
        assert kinds(subject) == {"away"}
        # It comes back with nothing: no functions, no counters.
        server.start()
        wait_for(lambda: subject.decide(OPEN).passes and not subject.troubles)
        assert sum(subject.decide(OPEN).passes for _ in range(200)) < 101
        assert sum(subject.decide(CLOSED).passes for _ in range(200)) == 0
        # Nor by a process that never knew the store that was.
        assert sum(counters(server, "killed").decide(CLOSED).passes for _ in range(200)) == 0


@pytest.mark.parametrize("algorithm", [Algorithm.TOKEN_BUCKET, Algorithm.FIXED_WINDOW, Algorithm.SLIDING_WINDOW])
def test_what_a_replica_that_took_over_may_have_missed_counts_as_used_where_a_rule_is_closed(
    server: ValkeyServer, algorithm: Algorithm
) -> None:
    subject, policy = counters(server, f"replica{algorithm}", slices=False), policy_of(algorithm, 100, 86_400 * 365)
    some = {kind: [Charge(f"d\x1f{kind}", policy, 1, kind)] for kind in (ChargeKind.FAIL_CLOSED, ChargeKind.FAIL_OPEN)}
    for charges in some.values():
        assert all(subject.decide(charges).passes for _ in range(60))
    # Another run than the one that wrote what is there.
    server.client().hset(f"{{cql:replica{algorithm}:d}}:server", "run", "another")
    server.client().function_flush()
    assert sum(subject.decide(some[ChargeKind.FAIL_OPEN]).passes for _ in range(200)) == 40
    assert sum(subject.decide(some[ChargeKind.FAIL_CLOSED]).passes for _ in range(200)) == 0


def test_a_store_that_hangs_is_not_waited_for_again_and_again(server: ValkeyServer) -> None:
    subject = counters(server, "hangs", slices=False)
    assert subject.decide(CLOSED).passes
    os.kill(server.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        decisions = [subject.decide(CLOSED) for _ in range(500)]
        # To wait for each would take two minutes.
        assert time.monotonic() - started < 30.0
        assert not any(decision.passes for decision in decisions)
        assert all(decision.outage for decision in decisions)
        assert kinds(subject) == {"slow"}
    finally:
        os.kill(server.pid, signal.SIGCONT)
    wait_for(lambda: subject.decide(CLOSED).passes)
    assert subject.troubles == ()


def test_a_slow_store_is_told_apart_and_what_it_charged_too_late_passes_at_no_other_time(server: ValkeyServer) -> None:
    proxy = TcpProxy(server.port)
    url = f"valkey://127.0.0.1:{proxy.port}"
    subject = StoreCounters(StoreSettings(url, "late", timeout=0.15, slices=False))
    try:
        passed = sum(subject.decide(CLOSED).passes for _ in range(30))
        proxy.delay = 0.2
        assert not any(subject.decide(CLOSED).passes for _ in range(100))
        assert kinds(subject) == {"slow"}
        assert "did not answer in time" in subject.troubles[0]
        proxy.mend()
        wait_for(lambda: not subject.decide(charge(0, "another")).outage)
        passed += sum(subject.decide(CLOSED).passes for _ in range(200))
    finally:
        subject.close()
        proxy.close()
    # What was charged, and answered too late, did not pass.
    assert 30 < passed < 100


def test_a_full_store_is_told_apart_and_recovered_from(server: ValkeyServer) -> None:
    subject = counters(server, "full", slices=False)
    assert subject.decide(CLOSED).passes
    server.client().config_set("maxmemory", "1")
    try:
        assert not subject.decide(CLOSED).passes
        assert kinds(subject) == {"full"}
        assert sum(subject.decide(SHARE).passes for _ in range(200)) == 100
    finally:
        server.client().config_set("maxmemory", "0")
    wait_for(lambda: subject.decide(CLOSED).passes)


def test_functions_that_are_gone_are_loaded_again(server: ValkeyServer) -> None:
    subject = counters(server, "gone", slices=False)
    assert subject.decide(charge()).passes
    server.client().function_flush()
    assert subject.decide(charge()).passes
    server.client().function_flush()

    async def ask() -> list[Decision]:
        asked = await asyncio.gather(*(subject.decide_async(charge()) for _ in range(20)))
        subject.close()
        return asked

    assert all(decision.passes for decision in asyncio.run(ask()))
    assert kinds(subject) == set()
    # Once for all who found that they were missing.
    assert {one.value for one in subject.samples() if one.stat == "limiter_store_loads"} == {2}


def test_a_bug_is_heard_of_by_all_who_wait_and_the_next_go_on(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(subject: StoreCounters) -> list[Decision | BaseException]:
        return await asyncio.gather(*(subject.decide_async(charge()) for _ in range(3)), return_exceptions=True)

    settings_ = StoreSettings(server.url, "bug", timeout=0.25, slices=False)
    subject = StoreCounters(settings_, connect=connector(server.url, 0.25))
    with monkeypatch.context() as patched:
        patched.setattr(StoreCalls, "decide_many", lambda *_: 1 / 0)
        assert [type(one) for one in asyncio.run(ask(subject))] == [ZeroDivisionError] * 3
    assert all(isinstance(one, Decision) and one.passes for one in asyncio.run(ask(subject)))


def test_every_key_has_an_end(server: ValkeyServer) -> None:
    calls = StoreCalls(connector(server.url, 1.0), "ends")
    for algorithm in Algorithm:
        calls.decide([Charge(f"d\x1f{algorithm}", policy_of(algorithm, 3, 10.0))])
    client = server.client()
    keys = [key for key in client.keys("{cql:ends:d}:*") if not key.endswith(b":server")]
    assert len(keys) == len(Algorithm)
    assert all(0 < client.pttl(key) <= 13_700 for key in keys)


def test_a_limiter_says_why_it_decided_without_its_store(tmp_path: Path) -> None:
    rules = """
    domain: d
    descriptors:
      - {key: a, on_outage: fail-open, rate_limit: {unit: hour, requests_per_unit: 1}}
      - {key: b, on_outage: fail-closed, rate_limit: {unit: hour, requests_per_unit: 1}}
      - {key: c, on_outage: share, rate_limit: {unit: hour, requests_per_unit: 1}}
    """
    away = StoreCounters(StoreSettings("valkey://127.0.0.1:1", timeout=0.1))
    subject = Limiter(DomainRules.from_text(rules), counters=away)
    told = [subject.check(Request("d", (Descriptor(((key, "x"),)),))).statuses[0].reason for key in "abcc"]
    assert told == [Reason.FAIL_OPEN, Reason.FAIL_CLOSED, Reason.UNDER, Reason.SHARE]
    assert not subject.is_local


def test_bans_and_brownouts_hold_in_all_limiters_and_survive_a_store_that_forgot(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as server:
        limiters = [Limiter(DomainRules.from_text("domain: d\n")) for _ in range(3)]
        shared = [
            SharedSwitches(connector(server.url, 1.0), "all", one.bans, one.brownout, time.time) for one in limiters
        ]

        def step() -> list[bool]:
            return [one.step() for one in shared]

        first, second, third = limiters
        first.bans.add("mallory", 600, "scans", by="ops")
        first.bans.add("trudy", 600, "scans", by="ops")
        second.brownout.set("free", 0.5, 600)
        assert step() == step() == [True] * 3
        assert [{ban.client for ban in one.bans.listed()} for one in limiters] == [{"mallory", "trudy"}] * 3
        assert [one.brownout.factor("free") for one in limiters] == [Fraction(1, 2)] * 3
        # It is lifted by whomever, and each has it in its audit.
        third.bans.lift("mallory")
        second.brownout.lift("free")
        step(), step()
        assert [{ban.client for ban in one.bans.listed()} for one in limiters] == [{"trudy"}] * 3
        assert [one.brownout.factor("free") for one in limiters] == [None] * 3
        assert [one.bans.audit()[-1].what for one in limiters] == ["lifted"] * 3
        server.kill()
        second.bans.add("eve", 600, "scans", by="ops")
        assert step() == [False] * 3
        server.start()
        wait_for(lambda: all(step()))
        step()
        assert [{ban.client for ban in one.bans.listed()} for one in limiters] == [{"trudy", "eve"}] * 3
        # One that starts is told at once.
        late = Limiter(DomainRules.from_text("domain: d\n"))
        assert SharedSwitches(connector(server.url, 1.0), "all", late.bans, late.brownout, time.time).step()
        assert {ban.client for ban in late.bans.listed()} == {"trudy", "eve"}
        for one in shared:
            one.close()
