"""More customers than a server holds in memory: all are told of, the least recently asked for are read anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.errors import NotFoundError, UnavailableError
from carbonquota.hub.domain.values import Customer, Provider
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.testing import ManualClock
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub, set_quota

NAMES = [f"c{number}" for number in range(6)]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What is about memory alone is the same on any database."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000.0)


@pytest.fixture
def others(database_url: str, clock: ManualClock) -> Iterator[Hub]:
    """A server that holds all, which has made them: `c0` may hold 1000 bytes, `c1` 1001 and so on."""
    hub = open_hub(database_url, clock)
    hub.providers.put(ADMIN, Provider("ssd"))
    for number, name in enumerate(NAMES):
        set_quota(hub, name, bytes=1000 + number)
    set_quota(hub, "c0", "ssd", bytes=500, metrics=7)
    hub.utilization.put(Measurement("ssd", NAMES, {"bytes": list(range(6))}))
    yield hub
    hub.close()


@pytest.fixture
def hub(others: Hub, database_url: str, clock: ManualClock) -> Iterator[Hub]:
    """One that holds three."""
    hub = open_hub(database_url, clock, most_held=3)
    yield hub
    hub.close()


def held(hub: Hub) -> list[str]:
    return sorted(hub.book.numbers)


def used(hub: Hub, customer: str) -> int:
    return next(one.usage for one in hub.utilization.of(customer) if (one.provider, one.control) == ("ssd", "bytes"))


def test_the_newest_are_read_at_the_start_and_others_when_asked_for(hub: Hub, clock: ManualClock) -> None:
    assert (held(hub), hub.book.total) == (["c3", "c4", "c5"], 6)
    clock.advance(1)
    assert used(hub, "c4") == 4
    clock.advance(1)
    answer = hub.grants.write_ok("c0", "ssd", 600)
    assert (answer.ok, answer.left) == (False, 500)
    assert hub.book.limits_of(hub.book.numbers["c0"], hub.book.provider("ssd")) == Amounts(bytes=500, metrics=7)
    assert held(hub) == ["c0", "c4", "c5"]
    assert hub.grants.write_ok("c0", "ssd", 400).granted == 400
    clock.advance(1)
    batch = hub.grants.write_ok_many(["c1", "nobody", "c2"], ["ssd"] * 3, [1000, 1, 1])
    assert (batch.granted, sorted(batch.refused)) == ([1000, 0, 1], [1])
    # Something is granted of all others, so that they stay.
    assert held(hub) == ["c0", "c1", "c2"]
    with pytest.raises(NotFoundError, match=r"^there is no customer called 'nobody'$"):
        hub.utilization.of("nobody")
    assert Client(make_app(hub)).json("/health") | {"version": ""} == {
        "status": "ok", "detail": "", "fresh_within": 3.0, "customers": 6, "held": 3, "providers": 1, "servers": 2,
        "version": "",
    }  # fmt: skip


def test_what_is_told_and_changed_of_those_away_is_there_when_they_come(
    hub: Hub, others: Hub, clock: ManualClock
) -> None:
    clock.advance(1)
    taken = hub.utilization.put(Measurement("ssd", ["c0", "c5", "nobody"], {"bytes": [70, 75, 1]}))
    assert (taken.values, taken.unknown, held(hub)) == (2, 1, ["c3", "c4", "c5"])
    assert [used(hub, name) for name in ("c0", "c5")] == [70, 75]
    set_quota(others, "c1", bytes=7)
    hub.synchronizer.sync()
    assert hub.book.limits_of(hub.holding.number("c1")).bytes == 7
    # A complete measurement says of those away, too, that they hold nothing.
    clock.advance(1)
    assert hub.utilization.put(Measurement("ssd", ["c2"], {"bytes": [8]}, complete=True)).values == 6
    others.synchronizer.sync()
    for one in (hub, others):
        assert [used(one, name) for name in NAMES] == [0, 0, 8, 0, 0, 0]
    hub.stored_history.record()
    assert [[moment.usage for moment in hub.stored_history.of(name, "bytes")] for name in ("c0", "c2")] == [[0], [8]]


@on_sqlite
def test_a_number_is_another_customers_only_once_nobody_can_be_at_work_with_it(hub: Hub, clock: ManualClock) -> None:
    numbers = {}
    for name in ("c3", "c4", "c0", "c1"):
        clock.advance(1)
        numbers[name] = hub.holding.number(name)
    assert held(hub) == ["c0", "c1", "c4"]
    # Who comes back soon is the same still, also without the database.
    clock.advance(1)
    assert hub.holding.number("c3") == numbers["c3"]
    hub.holding.tend()
    assert held(hub) == ["c0", "c1", "c3"]
    clock.advance(130)
    hub.tend()
    assert hub.holding.number("c2") in {numbers["c4"], hub.book.held.size - 1} | set(range(1, 7)) - set(
        numbers.values()
    )
    assert (used(hub, "c2"), hub.book.limits_of(hub.holding.number("c2"))) == (2, Amounts(bytes=1002))


@on_sqlite
def test_one_that_is_deleted_and_made_again_begins_anew(hub: Hub, others: Hub, clock: ManualClock) -> None:
    others.quotas.delete_customer(ADMIN, "c5")
    hub.synchronizer.sync()
    assert (held(hub), hub.book.total) == (["c3", "c4"], 5)
    with pytest.raises(NotFoundError):
        hub.quotas.quotas("c5")
    others.quotas.put_customer(ADMIN, Customer("c5"))
    hub.synchronizer.sync()
    assert (held(hub), hub.quotas.quotas("c5")) == (["c3", "c4", "c5"], [])
    clock.advance(200)
    hub.tend()
    others.quotas.put_customer(ADMIN, Customer("c6"))
    hub.synchronizer.sync()
    # There is no room, and nobody asked for it.
    assert (held(hub), hub.book.total) == (["c3", "c4", "c5"], 7)
    assert hub.holding.knows("c6")


def test_while_the_database_is_away_those_in_memory_are_decided_on(tmp_path: Path, clock: ManualClock) -> None:
    others = open_hub(f"sqlite:///{tmp_path}/hub.sqlite", clock)
    others.providers.put(ADMIN, Provider("ssd"))
    for name in NAMES:
        set_quota(others, name, bytes=1000)
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite", clock, most_held=3)
    assert hub.grants.write_ok("c5", "ssd", 10).ok
    for file in tmp_path.glob("hub.sqlite*"):
        file.rename(tmp_path / f"away-{file.name}")
    with pytest.raises(UnavailableError, match=r"hub.sqlite: No such file or directory: put it back\): nothing was"):
        hub.synchronizer.sync()
    assert hub.grants.write_ok("c5", "ssd", 10).ok
    for ask in (hub.utilization.of, hub.quotas.quotas, lambda name: hub.grants.write_ok(name, "ssd", 1)):
        with pytest.raises(UnavailableError):
            ask("c0")
    for hub_ in (hub, others):
        hub_.close()
