"""What customers hold and may write, over HTTP on both databases; several servers; a database away; migrations."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.hub.storage.migrate import current, migrate
from carbonquota.hub.storage.tables import metadata
from carbonquota.testing import ManualClock
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub, set_quota


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000.0)


@pytest.fixture
def hub(database_url: str, clock: ManualClock) -> Iterator[Hub]:
    opened = open_hub(database_url, clock)
    for name in ("ssd", "tape"):
        opened.providers.put(ADMIN, Provider(name))
    set_quota(opened, "acme", bytes=1000)
    yield opened
    opened.close()


@pytest.fixture
def client(hub: Hub) -> Client:
    return Client(make_app(hub))


def _values(client: Client, customer: str) -> dict[tuple[str, str], Any]:
    document = client.json(f"/v1/customers/{customer}/utilization")
    return {(one["provider"], one["control"]): one for one in document["values"]}


def test_what_providers_tell_is_told_on_with_its_age_and_a_late_one_is_stale(
    hub: Hub, client: Client, clock: ManualClock
) -> None:
    set_quota(hub, "initech", bytes=1)
    order = {"customers": ["acme", "nobody", "initech"], "bytes": [300, 5, None], "metrics": [7, 5, 1]}
    answer = client.request("PUT", "/v1/providers/ssd/utilization", json=order)
    assert (answer.status_code, answer.json()) == (200, {"values": 3, "unknown": 1, "such_as": ["nobody"]})
    clock.advance(100)
    client.request("PUT", "/v1/providers/tape/utilization", json={"customers": ["acme"], "bytes": [50]})
    clock.advance(100)
    values = _values(client, "acme")
    assert values["", "bytes"] == {"provider": "", "control": "bytes", "usage": 350, "limit": 1000, "age": 200.0,
                                   "stale": True}  # fmt: skip
    assert (values["ssd", "bytes"]["usage"], values["ssd", "bytes"]["age"], values["ssd", "bytes"]["stale"]) == (
        300, 200.0, True,
    )  # fmt: skip
    assert (values["tape", "bytes"]["age"], values["tape", "bytes"]["stale"]) == (100.0, False)


def test_what_is_older_than_what_is_known_changes_nothing_and_complete_leaves_nobody_out(
    hub: Hub, client: Client, clock: ManualClock, database_url: str
) -> None:
    set_quota(hub, "initech", bytes=1)
    hub.utilization.put(Measurement("ssd", ["acme", "initech"], {"bytes": [300, 4]}, clock()))
    hub.utilization.put(Measurement("ssd", ["acme"], {"bytes": [200]}, clock() - 10))
    assert _values(client, "acme")["ssd", "bytes"]["usage"] == 300
    hub.utilization.put(Measurement("ssd", ["acme"], {"bytes": [301]}, clock() + 1, complete=True))
    assert _values(client, "initech")["ssd", "bytes"]["usage"] == 0
    other = open_hub(database_url, clock)
    assert other.utilization.of("acme") == hub.utilization.of("acme")
    assert other.utilization.of("initech") == hub.utilization.of("initech")
    other.close()


def test_history_is_a_day_at_a_minute_and_three_months_at_an_hour_written_once_and_pruned(
    database_url: str, hub: Hub, client: Client, clock: ManualClock
) -> None:
    def moments(**query: object) -> list[tuple[int, int]]:
        document = client.json("/v1/customers/acme/history", **query)
        return [(one["time"], one["usage"]) for one in document["moments"]]

    start = 1_000_800
    other = open_hub(database_url, clock)
    for minute in range(3):
        clock.set(start + 60.0 * minute + 1)
        hub.utilization.put(Measurement("ssd", ["acme"], {"bytes": [100 + minute]}))
        if not minute:
            hub.utilization.put(Measurement("tape", ["acme"], {"bytes": [1000]}))
        other.synchronizer.sync()
        for server in (other, hub):
            server.stored_history.record()
    assert moments() == [(start, 1100), (start + 60, 1101), (start + 120, 1102)]
    assert moments(provider="ssd", span="minute") == [(start, 100), (start + 60, 101), (start + 120, 102)]
    # Late providers leave a gap.
    clock.set(start + 240.0)
    hub.stored_history.record()
    assert moments(provider="tape") == [(start, 1000), (start + 60, 1000), (start + 120, 1000)]
    assert moments()[-1] == (start + 240, 102)
    clock.set(start + 86_400.0 + 61)
    hub.stored_history.record()
    assert moments(provider="ssd")[0] == (start + 120, 102)
    assert moments(span="hour") == [(start // 3600 * 3600, 1100)]
    clock.set(start + 91 * 86_400.0)
    hub.stored_history.record()
    assert moments(span="hour") == []
    other.close()


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"customers": ["acme"], "bytes": [1, 2]}, "bytes: there are 2 amounts for 1 customers: give one each"),
        ({"customers": ["a", "a"], "bytes": [1, 2]}, "customers: 'a' stands twice: give each once"),
        ({"customers": ["acme"], "bytes": [-1]},
         "bytes.0: Input should be greater than or equal to 0"),
        ({"customers": ["acme"], "bytes": [1], "time": 2_000_000},
         "time: 2000000 is not in the past, in seconds since the epoch; it is 1000000 here"),
    ],
    ids=["lengths", "twice", "negative", "future"],
)  # fmt: skip
def test_what_no_measurement_can_be_is_told_and_nothing_is_stored(
    hub: Hub, client: Client, order: dict[str, object], said: str
) -> None:
    answer = client.request("PUT", "/v1/providers/ssd/utilization", json=order)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert {value.provider for value in hub.utilization.of("acme")} == {""}


def test_a_large_write_is_granted_in_slices_the_last_ones_slowly_and_none_beyond(
    database_url: str, hub: Hub, client: Client
) -> None:
    slice_, quota = 10 * 1024 * 1024, 100 * 1024 * 1024
    set_quota(hub, "acme", bytes=quota)
    granted, delays = 0, []
    while (answer := _ask(client, size=quota - granted))["ok"] and granted < quota:
        granted += answer["granted"]
        delays.append(answer["delay"])
        assert answer["granted"] <= slice_
    assert granted == quota
    assert delays[0] == 0.0
    assert delays[-1] > delays[-2] > 0.0
    refused = _ask(client, size=1)
    assert refused == {"ok": False, "granted": 0, "delay": 0.0, "valid_for": 0.0, "left": 0, "retry_after": 60.0,
                       "reason": "1 would pass the quota, which has 0 left"}  # fmt: skip


def test_a_large_write_that_cannot_be_is_told_what_usage_and_grants_leave(hub: Hub, client: Client) -> None:
    mega = 1024 * 1024
    set_quota(hub, "acme", bytes=100 * mega)
    assert _ask(client, 25 * mega)["granted"] == 10 * mega
    for _ in range(2):
        assert _ask(client, 101 * mega)["left"] == 90 * mega
    assert hub.grants.counts.rounds == 2, "one refusal is asked for, and told again for a second"
    batch = hub.grants.write_ok_many(["acme"] * 2, ["ssd"] * 2, [mega, 200 * mega])
    assert (batch.granted, batch.refused[1].left) == ([mega, 0], 90 * mega)


def _ask(client: Client, size: int) -> dict[str, Any]:
    order = {"customer": "acme", "provider": "ssd", "size": size}
    answer: dict[str, Any] = client.request("POST", "/v1/write-ok", json=order).json()
    return answer


def test_of_a_batch_each_write_is_decided_and_who_is_not_known_refused(hub: Hub, client: Client) -> None:
    order = {"customers": ["acme", "nobody", "acme", "acme"], "providers": ["ssd", "ssd", "moon", "ssd"],
             "sizes": [600, 1, 1, 500]}  # fmt: skip
    answer = client.request("POST", "/v1/write-ok/batch", json=order).json()
    assert answer["granted"] == [600, 0, 0, 0]
    assert [(one["position"], one["left"], one["reason"]) for one in answer["refused"]] == [
        (1, None, "there is no such customer or provider"),
        (2, None, "there is no such customer or provider"),
        (3, 400, "500 would pass the quota, which has 400 left"),
    ]
    deleted = client.request("POST", "/v1/deleted", json={"customer": "acme", "provider": "ssd", "size": 5})
    assert deleted.json() == {"given_back": 5}


def test_four_servers_that_are_asked_at_once_grant_exactly_the_quota(
    database_url: str, hub: Hub, clock: ManualClock
) -> None:
    set_quota(hub, "acme", bytes=3000)
    servers = [hub, *(open_hub(database_url, ManualClock(1_000_000.0)) for _ in range(2))]

    def ask(server: Hub) -> int:
        return sum(server.grants.write_ok("acme", "ssd", 10).granted for _ in range(150))

    with ThreadPoolExecutor(6) as threads:
        granted = sum(threads.map(ask, servers * 2))
    assert 2000 < granted <= 3000
    # What one has reserved and does not need is for the others.
    for server in servers:
        server.leases.hand_back(everything=True)
    clock.set(clock() + 2)  # a refusal is remembered for a second
    while hub.grants.write_ok("acme", "ssd", 10).ok:
        granted += 10
    assert granted == 3000
    for server in servers[1:]:
        server.close()


def test_with_the_database_away_memory_is_told_on_writes_fail_clearly_and_all_recovers(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.utilization.put(Measurement("ssd", ["acme"], {"bytes": [300]}))
    assert _ask(client, 10)["ok"]
    url = hub.database.engine.url
    hub.database.engine.dispose()
    away = type(hub.database)("sqlite:////nowhere/at/all.sqlite" if hub.database.is_sqlite else _closed(url))
    with monkeypatch.context() as patched:
        patched.setattr(hub.database, "engine", away.engine)
        with pytest.raises(UnavailableError, match="nothing was changed, try again"):
            hub.synchronizer.sync()
        assert _values(client, "acme")["ssd", "bytes"]["usage"] == 300
        assert _ask(client, 10)["ok"]
        assert client.json("/health")["status"] == "degraded"
        put = client.request("PUT", "/v1/customers/acme/quota", json={"limits": {"bytes": 5}})
        assert (put.status_code, put.headers["retry-after"]) == (503, "1")
        assert "nothing was changed, try again" in put.json()["detail"]
    hub.synchronizer.sync()
    assert client.json("/health")["status"] == "ok"
    put = client.request("PUT", "/v1/customers/acme/quota", json={"limits": {"bytes": 5}})
    assert put.status_code == 200


def _closed(url: Any) -> str:  # noqa: ANN401 - a URL of the library
    return str(url.update_query_dict({"host": "/nowhere"}))


def test_migrations_go_down_and_up_with_data_and_end_at_the_tables(hub: Hub) -> None:
    migrate(hub.database, "0011")
    with hub.database.reading() as connection:
        assert current(connection) == "0011"
        assert connection.execute(text("SELECT name FROM customers")).scalars().all() == ["acme"]
    migrate(hub.database)
    with hub.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert hub.quotas.quota("acme").limits.bytes == 1000
