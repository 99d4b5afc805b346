"""The database is really away: a Postgres that is stopped, a SQLite file that is moved. Reads go on, and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.utilization import Measurement
from carbonquota.testing import ManualClock
from carbonquota.web.access import Role
from carbonquota.web.authentication import AuthenticationUnavailable
from tests.support.http import Client
from tests.support.hub import ADMIN, StoppedPostgres, open_hub, set_quota

QUOTA = "/v1/customers/acme/quota"

Switch = Callable[[], None]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Switch, Switch]]:
    """Its URL, what has it be away, and what has it come back."""
    if request.param == "postgres":
        server = StoppedPostgres()
        yield server.url, server.stop, server.start
        server.end()
        return
    (tmp_path / "there").mkdir()

    def leave() -> None:
        (tmp_path / "there").rename(tmp_path / "elsewhere")

    def back() -> None:
        (tmp_path / "elsewhere").rename(tmp_path / "there")

    yield f"sqlite:///{tmp_path}/there/hub.sqlite", leave, back


def test_what_is_in_memory_is_told_on_with_its_age_and_writes_fail_clearly(
    database: tuple[str, Switch, Switch],
) -> None:
    url, leave, back = database
    clock = ManualClock(1_000_000.0)
    hub = open_hub(url, clock)
    hub.providers.put(ADMIN, Provider("ssd"))
    set_quota(hub, "acme", bytes=1000)
    set_quota(hub, "acme", "ssd", metrics=7)
    hub.utilization.put(Measurement("ssd", ["acme"], {"bytes": [300]}))
    client = Client(make_app(hub))
    write = {"customer": "acme", "provider": "ssd", "size": 10}
    there = client.get(QUOTA)
    assert (there.json()["fresh_within"], "warning" in there.headers) == (0.0, False)
    assert client.request("POST", "/v1/write-ok", json=write).json()["ok"]

    leave()
    clock.advance(3)
    # The first who asks finds out, and so does whoever reads again and again what others changed.
    for _ in range(2):
        quota = client.get(QUOTA)
        assert quota.json() | {"fresh_within": 0.0} == there.json()
        assert (quota.json()["fresh_within"], quota.headers["etag"]) == (3.0, there.headers["etag"])
        assert quota.headers["warning"] == '110 - "the database is away: this was so 3 seconds ago"'
        with pytest.raises(UnavailableError, match="nothing was changed, try again"):
            hub.synchronizer.sync()
    all_is_told_on(client)
    assert client.request("POST", "/v1/write-ok", json=write).json()["ok"]
    changes_fail_clearly(client)

    back()
    hub.synchronizer.sync()
    assert client.json("/health")["status"] == "ok"
    changed = client.request("PUT", QUOTA, json={"limits": {"bytes": 5}}, headers={"If-Match": there.headers["etag"]})
    assert (changed.status_code, client.json(QUOTA)["limits"]["bytes"]) == (200, 5)
    assert client.json("/v1/customers/acme/utilization")["values"][0]["usage"] == 300
    hub.close()


def all_is_told_on(client: Client) -> None:
    """What is in memory is three seconds old."""
    assert [one["limits"]["metrics"] for one in client.json("/v1/customers/acme/quotas")["quotas"]] == [None, 7]
    usage = client.get("/v1/customers/acme/utilization")
    assert (usage.json()["fresh_within"], "warning" in usage.headers) == (3.0, True)
    assert (client.json("/health")["status"], client.json("/health")["fresh_within"]) == ("degraded", 3.0)
    assert client.get("/v1/customers/nobody/quota").status_code == 404
    assert "the database cannot be used" in client.get("/").text
    assert "The database is away: this was so 3 s ago." in client.get("/customer?name=acme").text


def changes_fail_clearly(client: Client) -> None:
    """And so does what only the database has."""
    for method, path, document in (
        ("PUT", QUOTA, {"limits": {"bytes": 5}}),
        ("DELETE", QUOTA, None),
        ("PUT", "/v1/providers/ssd/utilization", {"customers": ["acme"], "bytes": [1]}),
        ("GET", "/v1/customers/acme/history", None),
    ):
        answer = client.request(method, path, json=document)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text


def test_a_token_that_was_used_is_good_for_an_hour_without_the_database(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite", clock)
    used, other = (hub.tokens.make(ADMIN, "anna", Role.ADMIN, "", 10_000)[1] for _ in range(2))
    assert hub.tokens.find(used.id) == used
    (tmp_path / "hub.sqlite").rename(tmp_path / "elsewhere")
    clock.advance(3599)
    assert hub.tokens.find(used.id) == used
    with pytest.raises(AuthenticationUnavailable):
        hub.tokens.find(other.id)
    clock.advance(2)
    with pytest.raises(AuthenticationUnavailable):
        hub.tokens.find(used.id)
    # It may have been revoked by others meanwhile, which is known at once.
    (tmp_path / "elsewhere").rename(tmp_path / "hub.sqlite")
    assert hub.tokens.find(used.id) == used
    hub.tokens.revoke(ADMIN, used.id)
    found = hub.tokens.find(used.id)
    assert found is not None
    assert found.revoked
    hub.close()
