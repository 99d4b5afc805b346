"""The law of grants: whatever servers, providers and writers do, no quota is ever passed by what was granted.

Servers begin, end and are killed, each with a memory of its own on one database. Writers use a grant wholly, partly or
not at all, in its lifetime. Measurements are made at one moment and arrive at another, in any order, or never.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from carbonquota.hub.domain.grants import GrantTerms
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.hub.storage.database import Database
from carbonquota.testing import ManualClock
from tests.support.hub import ADMIN, set_quota

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

    def __init__(self, url: str, chance: random.Random) -> None:
        self.url, self.chance = url, chance
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
            hub = Hub(Database(self.url), self.clock, self.clock, TERMS)
            hub.open()
            self.servers.append(hub)

    def kill(self) -> None:
        if len(self.servers) > 1:
            self.servers.pop(self.chance.randrange(len(self.servers))).database.close()

    def end(self) -> None:
        if len(self.servers) > 1:
            hub = self.servers.pop(self.chance.randrange(len(self.servers)))
            hub.leases.end()
            hub.close()

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

    def pass_time(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds or self.chance.choice((0.1, 2.0, 7.0, 14.0, 40.0)))
        self.grants = [grant for grant in self.grants if grant.until >= self.clock() and grant.left]

    def wait(self) -> None:
        for _ in range(7):
            self.pass_time(6.0)
            self.tend()

    def no_quota_can_be_passed(self) -> None:
        most = self.held.copy()
        for grant in self.grants:
            most[grant.customer, grant.provider] += grant.left
        for customer in CUSTOMERS:
            assert sum(most[customer, provider] for provider in PROVIDERS) <= IN_ALL
        assert most["a", "p"] <= AT_P


STEPS = (
    "start", "kill", "end", "ask", "ask", "fill", "fill", "fill", "write", "write", "delete", "measure", "arrive",
    "report", "report", "tend", "pass_time", "wait",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_no_quota_is_passed_whatever_servers_providers_and_writers_do(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fleet = Fleet(f"sqlite:///{tmp_path}/hub.sqlite", chance)
    for _ in range(80):
        getattr(fleet, chance.choice(STEPS))()
        fleet.no_quota_can_be_passed()
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
