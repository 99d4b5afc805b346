"""The law of grants: whatever servers, providers and writers do, no quota is ever passed by what was granted.

Servers begin, end and are killed, each with a memory of its own on one database. Writers use a grant wholly, partly or
not at all, in its lifetime. Measurements are made at one moment and arrive at another, in any order, or never.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from carbonquota.cluster.grant_store import GrantStore
from carbonquota.cluster.store import connector
from carbonquota.hub.domain.errors import NotFoundError, UnavailableError
from carbonquota.hub.domain.grants import GrantTerms
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.utilization import usages_of
from carbonquota.testing import ManualClock
from tests.support.hub import ADMIN, set_quota
from tests.support.valkey import ValkeyServer, valkey_server

CUSTOMERS = ("a", "b")
PROVIDERS = ("p", "q")
TERMS = GrantTerms(max_grant=400, lifetime=30.0, skew=1.0, idle=5.0)
IN_ALL, AT_P = 1000, 600
"""The quotas of `a`; `b` has the first one only."""


@dataclass
class Grant:
    """What a writer may still write until then."""

    customer: str
    provider: str
    left: int
    until: float


class Fleet:
    """Some servers, the writers that ask them, and what providers really hold."""

    def __init__(
        self, url: str, chance: random.Random, valkey: ValkeyServer | None = None, most_held: int = 100
    ) -> None:
        self.url, self.chance, self.valkey, self.most_held = url, chance, valkey, most_held
        self.clock = ManualClock(1_000_000.0)
        self.held = {(customer, provider): 0 for customer in CUSTOMERS for provider in PROVIDERS}
        self.grants: list[Grant] = []
        self.on_their_way: list[Measurement] = []
        self.servers: list[Hub] = []
        self.granted = 0
        self.start()
        for name in PROVIDERS:
            self.servers[0].providers.put(ADMIN, Provider(name))
        for customer in CUSTOMERS:
            set_quota(self.servers[0], customer, bytes=IN_ALL)
        set_quota(self.servers[0], "a", "p", bytes=AT_P)

    def start(self) -> None:
        if len(self.servers) < 3:
            store = GrantStore(connector(self.valkey.url, 5.0), self.url) if self.valkey else None
            hub = Hub(Database(self.url), self.clock, self.clock, TERMS, store=store)
            hub.book.held.most = self.most_held
            hub.open()
            self.servers.append(hub)

    def kill(self) -> None:
        if len(self.servers) > 1:
            self.servers.pop(self.chance.randrange(len(self.servers))).close()

    def end(self) -> None:
        if len(self.servers) > 1:
            hub = self.servers.pop(self.chance.randrange(len(self.servers)))
            hub.leases.end()
            hub.close()

    def lose(self) -> None:
        """The store forgets all; servers hear of it now or later."""
        if self.valkey:
            self.valkey.client().flushall()

    def _place(self) -> tuple[str, str]:
        return self.chance.choice(CUSTOMERS), self.chance.choice(PROVIDERS)

    def ask(self) -> None:
        hub, (customer, provider) = self.chance.choice(self.servers), self._place()
        sizes = [self.chance.randrange(700) for _ in range(self.chance.randint(1, 3))]
        if len(sizes) == 1:
            granted = [hub.grants.write_ok(customer, provider, sizes[0]).granted]
        else:
            count = len(sizes)
            granted = hub.grants.write_ok_many([customer] * count, [provider] * count, sizes).granted
        assert all(0 <= one <= min(size, TERMS.max_grant) for one, size in zip(granted, sizes, strict=True))
        self._note(customer, provider, granted)

    def fill(self) -> None:
        hub, place = self.chance.choice(self.servers), self._place()
        for size in (400, 150, 40, 7, 1):
            while granted := hub.grants.write_ok(*place, size).granted:
                self._note(*place, [granted])

    def _note(self, customer: str, provider: str, granted: list[int]) -> None:
        self.granted += sum(granted)
        self.grants += [Grant(customer, provider, one, self.clock() + TERMS.lifetime) for one in granted if one]

    def write(self) -> None:
        for grant in self.grants:
            size = self.chance.choice((0, grant.left, self.chance.randint(0, grant.left)))
            grant.left -= size
            self.held[grant.customer, grant.provider] += size

    def delete(self) -> None:
        place = self._place()
        size = self.chance.choice((self.held[place], self.chance.randint(0, self.held[place])))
        self.held[place] -= size
        assert self.chance.choice(self.servers).grants.deleted(*place, size) <= size

    def measure(self) -> None:
        provider = self.chance.choice(PROVIDERS)
        amounts = {"bytes": [self.held[customer, provider] for customer in CUSTOMERS]}
        self.on_their_way.append(Measurement(provider, CUSTOMERS, amounts, self.clock()))
        # Between a measurement and all else some time goes by.
        self.pass_time(0.01)

    def arrive(self) -> None:
        if self.on_their_way:
            which = self.chance.randrange(len(self.on_their_way))
            self.chance.choice(self.servers).utilization.put(self.on_their_way.pop(which))

    def report(self) -> None:
        self.measure()
        self.chance.choice(self.servers).utilization.put(self.on_their_way.pop())
        self.tend()

    def tend(self) -> None:
        for hub in self.servers:
            hub.tend()

    def look(self) -> None:
        """Whoever is asked for is told of as stored, in memory or not."""
        hub, (customer, _) = self.chance.choice(self.servers), self._place()
        hub.synchronizer.sync()
        assert hub.book.limits_of(hub.holding.number(customer)).bytes == IN_ALL
        with hub.database.reading() as connection:
            number = hub.holding.ids([customer])[0]
            stored = {
                usages.provider: int(usages.of(np.array([number])).amounts.sum())
                for usages, _ in usages_of(connection, list(hub.book.provider_at), [number])
            }
        known = {hub.book.provider(one.provider): one.usage for one in hub.utilization.of(customer) if one.provider}
        assert known == {provider: stored.get(provider, 0) for provider in known}
        with pytest.raises(NotFoundError):
            hub.holding.number("nobody")

    def pass_time(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds or self.chance.choice((0.1, 2.0, 7.0, 14.0, 40.0)))
        self.grants = [grant for grant in self.grants if grant.until >= self.clock() and grant.left]

    def wait(self) -> None:
        for _ in range(7):
            self.pass_time(6.0)
            self.tend()

    def recover(self) -> None:
        """All that anybody may have granted has ended, and providers tell what they hold; then there is room again."""
        self.tend()
        self.wait()
        self.wait()
        for provider in PROVIDERS:
            amounts = {"bytes": [self.held[customer, provider] for customer in CUSTOMERS]}
            self.servers[0].utilization.put(Measurement(provider, CUSTOMERS, amounts, self.clock()))
        self.tend()
        for size in (400, 150, 40, 7, 1):
            while granted := self.servers[0].grants.write_ok("b", "p", size).granted:
                self._note("b", "p", [granted])

    def no_quota_can_be_passed(self) -> None:
        most = self.held.copy()
        for grant in self.grants:
            most[grant.customer, grant.provider] += grant.left
        for customer in CUSTOMERS:
            assert sum(most[customer, provider] for provider in PROVIDERS) <= IN_ALL
        assert most["a", "p"] <= AT_P


STEPS = (
    "start", "kill", "end", "ask", "ask", "fill", "fill", "fill", "write", "write", "delete", "measure", "arrive",
    "report", "report", "tend", "pass_time", "wait", "look",
)  # fmt: skip


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.mark.parametrize("seed", range(6))
def test_no_quota_is_passed_whatever_servers_providers_and_writers_do(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    # Every other fleet holds one customer of the two in memory.
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", chance, most_held=1 + seed % 2)
    for _ in range(80):
        getattr(fleet, chance.choice(STEPS))()
        fleet.no_quota_can_be_passed()
    assert fleet.granted >= IN_ALL
    for hub in fleet.servers:
        hub.close()


@pytest.mark.parametrize("seed", range(4))
def test_neither_is_one_where_servers_reserve_in_a_store_that_may_lose_all(
    tmp_path: Path, valkey: ValkeyServer, seed: int
) -> None:
    chance = random.Random(seed)
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", chance, valkey, most_held=1 + seed // 2)
    steps = STEPS if seed % 2 else (*STEPS, "lose")
    for _ in range(80):
        with suppress(UnavailableError):
            getattr(fleet, chance.choice(steps))()
        fleet.no_quota_can_be_passed()
    fleet.recover()
    assert fleet.granted >= IN_ALL
    for hub in fleet.servers:
        hub.close()


def test_what_was_granted_and_not_written_comes_back_with_the_next_measurement(tmp_path: Path) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0))
    hub = fleet.servers[0]
    assert hub.grants.write_ok("a", "p", 400).granted == 400
    refused = hub.grants.write_ok("a", "p", 300)
    assert (refused.ok, refused.left) == (False, 200)
    assert refused.reason == "300 would pass the quota, which has 200 left"
    fleet.wait()
    hub.utilization.put(Measurement("p", ["a"], {"bytes": [0]}, fleet.clock()))
    hub.tend()
    assert hub.grants.write_ok("a", "p", 400).granted == 400
    hub.close()


def test_what_is_deleted_may_be_written_again_at_once(tmp_path: Path) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0))
    hub = fleet.servers[0]
    hub.utilization.put(Measurement("p", ["a"], {"bytes": [600]}, fleet.clock()))
    assert not hub.grants.write_ok("a", "p", 50).ok
    fleet.clock.advance(1)
    assert hub.grants.deleted("a", "p", 60) == 60
    assert hub.grants.write_ok("a", "p", 50).ok
    hub.close()


def test_what_was_reserved_under_a_lease_that_has_ended_is_not_granted_any_more(tmp_path: Path) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0))
    hub = fleet.servers[0]
    assert hub.grants.write_ok("b", "p", 10).granted == 10
    # 400 are reserved, and count until a measurement of after the lease.
    fleet.clock.advance(20)
    granted = 0
    while answer := hub.grants.write_ok("b", "p", 10).granted:
        granted += answer
    assert granted == 600
    hub.close()


def test_what_a_server_released_because_usage_has_it_is_not_granted_by_one_that_knows_no_such_usage(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0), valkey)
    fleet.start()
    one, other = fleet.servers
    assert one.grants.write_ok("a", "p", 400).granted == 400
    for _ in range(7):
        fleet.clock.advance(6.0)
        one.tend()
    one.utilization.put(Measurement("p", ["a"], {"bytes": [400]}, fleet.clock()))
    one.leases.hand_back(everything=True)
    assert other.book.usage.get(1, 0, 1) == 0
    assert not other.grants.write_ok("a", "p", 201).ok
    assert other.grants.write_ok("a", "p", 200).ok
    for hub in fleet.servers:
        hub.close()


def test_while_the_store_is_away_what_is_reserved_is_granted_and_nothing_more(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0), server)
        hub = fleet.servers[0]
        assert hub.grants.write_ok("b", "p", 10).granted == 10
        server.kill()
        assert hub.grants.write_ok("b", "p", 10).granted == 10
        with pytest.raises(UnavailableError, match=r"^the store cannot be reached: .*try again$"):
            hub.grants.write_ok("b", "p", 395)
        with pytest.raises(UnavailableError):
            hub.tend()
        assert hub.trouble.startswith("the store cannot be reached")
        # Usage goes on to be told, and what is there to be shown.
        hub.utilization.put(Measurement("p", ["b"], {"bytes": [20]}, fleet.clock()))
        assert next(one.usage for one in hub.utilization.of("b") if one.provider == "p") == 20
        fleet.clock.advance(20.0)
        with pytest.raises(UnavailableError):
            hub.grants.write_ok("b", "p", 1)
        # It begins empty, and nobody knows any more what was granted before.
        server.start()
        hub.tend()
        lost = hub.grants.write_ok("b", "p", 1)
        assert (lost.ok, lost.reason) == (
            False, "the store has lost what was granted: nothing is granted here before usage is told anew",
        )  # fmt: skip
        fleet.recover()
        assert hub.trouble == ""
        assert hub.grants.write_ok("b", "q", 1).ok is False
        assert fleet.granted == IN_ALL
        hub.close()


def test_going_from_a_store_to_the_database_and_back_passes_no_quota(tmp_path: Path, valkey: ValkeyServer) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0), valkey)
    granted = fleet.servers[0].grants.write_ok("b", "p", 400).granted
    for store in (None, valkey):
        fleet.servers.pop().close()
        fleet.valkey = store
        fleet.start()
        refused = fleet.servers[0].grants.write_ok("b", "p", 400)
        assert (refused.ok, refused.left, refused.retry_after) == (False, -1, 60.0)
        fleet.held["b", "p"] = granted + fleet.granted
        fleet.recover()
        assert granted + fleet.granted == IN_ALL
    fleet.servers[0].close()


def test_writes_that_are_refused_again_and_again_cost_no_transaction(tmp_path: Path) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", random.Random(0))
    hub = fleet.servers[0]
    hub.utilization.put(Measurement("p", ["a"], {"bytes": [550]}, fleet.clock()))
    begun: list[object] = []
    event.listen(hub.database.engine, "begin", begun.append)
    refused = [hub.grants.write_ok("a", "p", 51 + number) for number in range(100)]
    assert [one.left for one in refused] == [50] * 100
    assert refused[99].reason == "150 would pass the quota, which has 50 left"
    answers = hub.grants.write_ok_many(["a"] * 100, ["p"] * 100, [60] * 100)
    assert len(answers.refused) == 100
    assert len(begun) == 1
    # What fits is granted all the same, and a deletion makes room at once.
    assert hub.grants.write_ok("a", "p", 20).granted == 20
    fleet.clock.advance(0.1)
    assert not hub.grants.write_ok("a", "p", 60).ok
    hub.grants.deleted("a", "p", 100)
    assert hub.grants.write_ok("a", "p", 60).ok
    # Others are heard of within a second.
    assert not hub.grants.write_ok("a", "p", 100).ok
    begun.clear()
    fleet.clock.advance(1.0)
    assert not hub.grants.write_ok("a", "p", 100).ok
    assert len(begun) == 1
    hub.close()
