"""Quotas over HTTP, on SQLite and on Postgres: set, got, changed by two at a time, deleted, and audited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.values import Customer, Provider, QuotaChange
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub, set_quota


@pytest.fixture
def hub(database_url: str) -> Iterator[Hub]:
    opened = open_hub(database_url)
    yield opened
    opened.close()


@pytest.fixture
def client(hub: Hub) -> Client:
    return Client(make_app(hub))


def test_a_quota_is_set_got_and_deleted_and_each_step_is_audited(hub: Hub, client: Client) -> None:
    path = "/v1/customers/acme/quota"
    put = client.request("PUT", path, json={"limits": {"bytes": 1000, "metrics": 10}, "why": "signed"})
    assert put.status_code == 200
    got = client.get(path)
    assert got.json()["limits"] == {"bytes": 1000, "physical_bytes": None, "metrics": 10, "data_points": None,
                                    "points_per_minute": None}  # fmt: skip
    assert got.headers["etag"] == put.headers["etag"] == f'"{got.json()["version"]}"'
    assert client.request("DELETE", path, params={"why": "left"}).status_code == 204
    assert client.get(path).status_code == 404
    assert [(one.actor, one.action, one.subject, one.before, one.after, one.why) for one in hub.writing.entries()] == [
        ("anonymous", "delete quota", "customer/acme", {"bytes": 1000, "metrics": 10}, None, "left"),
        ("anonymous", "set quota", "customer/acme", None, {"bytes": 1000, "metrics": 10}, "signed"),
    ]


def test_of_two_who_change_a_quota_they_both_have_seen_the_second_is_told(hub: Hub, client: Client) -> None:
    path = "/v1/customers/acme/quota"
    set_quota(hub, "acme", bytes=1)
    seen = client.get(path).headers["etag"]
    assert client.request("PUT", path, json={"limits": {"bytes": 2}}, headers={"If-Match": seen}).status_code == 200
    second = client.request("PUT", path, json={"limits": {"bytes": 3}}, headers={"If-Match": seen})
    assert second.status_code == 412
    assert second.headers["content-type"] == "application/problem+json"
    assert second.json()["detail"] == (
        "the quota of 'acme' over all providers is version 2 now, and it was expected to be version 1: "
        "somebody changed it meanwhile; read it anew"
    )
    assert client.get(path).json()["limits"]["bytes"] == 2
    assert len(hub.writing.entries()) == 2


def test_of_many_changes_all_are_made_or_none(hub: Hub) -> None:
    set_quota(hub, "old", bytes=1)
    changes = [QuotaChange("new", Amounts(bytes=5)), QuotaChange("old", Amounts(bytes=2), expected=0)]
    with pytest.raises(Exception, match="expected not to be there"):
        hub.quotas.change(ADMIN, changes)
    assert hub.quotas.quota("old").limits.bytes == 1
    assert "new" not in hub.book.numbers
    assert len(hub.writing.entries()) == 1


def test_quotas_of_many_customers_are_got_page_by_page(hub: Hub, client: Client) -> None:
    hub.providers.put(ADMIN, Provider("ssd"))
    for number in range(5):
        set_quota(hub, f"c{number}", bytes=number)
    set_quota(hub, "c1", "ssd", metrics=9)
    set_quota(hub, "other", bytes=1)
    hub.quotas.put_customer(ADMIN, Customer("c9"))
    found = []
    after: str | None = ""
    while after is not None:
        page = client.json("/v1/quotas", after=after, begin="c", limit=2)
        found += [(one["customer"], one["provider"], one["version"]) for one in page["quotas"]]
        after = page["next"]
    assert found == [("c0", "", 2), ("c1", "", 3), ("c1", "ssd", 7), ("c2", "", 4), ("c3", "", 5), ("c4", "", 6)]
    assert client.json("/v1/quotas", begin="c%")["quotas"] == client.json("/v1/quotas", after="z")["quotas"] == []


def test_another_server_on_the_database_knows_what_was_changed(hub: Hub, database_url: str) -> None:
    other = open_hub(database_url)
    set_quota(hub, "acme", bytes=7)
    other.synchronizer.sync()
    assert other.book.limits_of(other.holding.number("acme")) == Amounts(bytes=7)
    hub.quotas.delete_customer(ADMIN, "acme")
    other.synchronizer.sync()
    assert "acme" not in other.book.numbers
    other.close()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"limits": {}}, 422, "the quota of 'acme' has no limit: give at least one, or delete it"),
        ({"limits": {"bytes": -1}}, 422, "limits.bytes: Input should be greater than or equal to 0"),
        ({"limits": {"byte": 1}}, 422, "limits.byte: Extra inputs are not permitted"),
        ({"limits": {"bytes": 2**63}}, 422, "limits.bytes: Input should be less than or equal to 9223372036854775807"),
    ],
)
def test_what_no_quota_can_be_is_told_and_nothing_is_written(
    hub: Hub, client: Client, body: dict[str, object], status: int, said: str
) -> None:
    answer = client.request("PUT", "/v1/customers/acme/quota", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (status, said)
    assert hub.writing.entries() == []
