"""The quota service's pages: what each role sees, and what its forms do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import httpx
import pytest

from carbonquota.hub.domain.rules import FleetDaemon
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.testing import ManualClock
from carbonquota.web.access import Role
from carbonquota.web.page.site import SECURITY
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub, set_quota
from tests.support.hub_pages import FORMS, HOSTILE, PAGES, shown_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = shown_hub(tmp_path_factory.mktemp("pages"))
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def client(hub: Hub) -> Client:
    """Asks while nobody needs a token."""
    return Client(make_app(hub))


def post(client: Client, path: str, **form: str) -> httpx.Response:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return client.request("POST", path, content=urlencode(form), headers=headers)


def rows(page: str) -> list[str]:
    found = re.findall(r"<tr[ >].*?</tr>", page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", row)).split()) for row in found]


def test_every_page_is_whole_and_says_nothing_that_a_browser_would_run(client: Client) -> None:
    for path in (*PAGES, *FORMS):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert {name: answer.headers[name] for name in SECURITY} == SECURITY
        assert HOSTILE not in answer.text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<[^>]*\son\w+=|style=", answer.text)
        for link in set(re.findall(r'href="(/[^"#]*)"', answer.text)):
            assert client.get(unescape(link)).status_code in {200, 303}, link
    assert escape(HOSTILE) in client.get("/customer?name=acme").text


def test_the_fleet_shows_who_is_nearest_to_a_quota(client: Client) -> None:
    assert rows(client.get("/").text)[1] == "acme all providers bytes 105.0 % 1.03 KiB 1,000 B"


def test_the_fleet_shows_what_is_being_dropped_the_most_first(client: Client) -> None:
    page = client.get("/").text
    dropped = rows(page[page.index('id="dropped"') : page.index('id="daemons"')])
    assert dropped[1:] == [f"{HOSTILE} web1 throughput 34 0 s ago", "team.a web1 metrics 12 0 s ago"]


def test_a_customer_sees_usage_by_provider_and_what_is_stale(client: Client) -> None:
    page = client.get("/customer?name=acme").text
    assert rows(page)[1].startswith("bytes 105.0 % 1.03 KiB 1,000 B -50 B 10 min old stale")
    assert any(row == "bytes \N{EN DASH} 100 B none \N{EN DASH} 10 min old stale" for row in rows(page))
    assert "bytes over time" in page
    for span in ("minute", "hour", "nonsense"):
        assert client.get(f"/customer?name=acme&over={span}").status_code == 200
    assert client.get("/customer?name=nobody").status_code == 404


def test_usage_is_drawn_from_the_stored_history(tmp_path: Path) -> None:
    hub = shown_hub(tmp_path)
    client = Client(make_app(hub))
    assert "over time</strong>" not in client.get("/customer?name=acme&over=minute").text
    for _ in range(3):
        hub.stored_history.record()
        cast("ManualClock", hub.clock).advance(60)
    page = Client(make_app(hub)).get("/customer?name=acme&over=minute").text
    assert "bytes over time</strong>" in page
    hub.close()


def test_the_customers_are_shown_page_by_page(client: Client) -> None:
    page = client.get("/customers").text
    assert len(rows(page)) == 51
    after = re.search(r'href="([^"]*)" rel="next"', page)
    assert after
    assert len(rows(client.get(unescape(after[1])).text)) == 22
    beginning = rows(client.get("/customers?from=customer-3").text)[1:]
    assert [row.split()[0] for row in beginning] == [f"customer-3{number}" for number in range(10)]
    for odd in ("%00", "%EE%80%80", "%ff", "'", "a" * 999):
        assert client.get(f"/customers?from={odd}&after={odd}").status_code == 200


def test_growth_is_told_over_the_last_hour(client: Client) -> None:
    assert rows(client.get("/growth").text)[1] == "acme 200 B 1.03 KiB 850 B 425.0 %"


def test_a_draft_is_checked_tried_kept_released_and_rolled_back(client: Client, hub: Hub) -> None:
    bad = post(client, "/rules/edit", text="[team.*]\r\nmetricz = 5\r\n", action="keep")
    assert bad.status_code == 422
    assert "    2 \N{BOX DRAWINGS LIGHT VERTICAL} metricz = 5" in unescape(bad.text)
    assert "^^^^^^^" in bad.text
    lint = post(client, "/rules/lint", text="[team.*]\nmetricz = 5\n").text
    assert "metrics" in lint[lint.index('id="checked"') :]
    tried = post(client, "/rules/edit", text="[team.*]\r\nmetrics = 5\r\n", action="try")
    assert rows(tried.text)[1] == "team.a web1 metrics 8 10 5 over new"
    kept = post(client, "/rules/edit", text="[team.*]\r\nmetrics = 5\r\n", action="keep", why=HOSTILE)
    assert kept.headers["location"] == "/rules?kept=2"
    assert hub.rules.version(2).text == "[team.*]\nmetrics = 5\n"
    assert post(client, "/rules/release", version="2", mode="shadow", group="").status_code == 303
    assert post(client, "/rules/release", version="2", mode="loud").status_code == 422
    assert post(client, "/rules/release", version="99", mode="shadow").status_code == 404
    page = client.get("/rules").text
    assert rows(page)[1].startswith("all 2 shadow 2")
    assert HOSTILE not in page
    assert post(client, "/rules/rollback", group="").status_code == 303
    assert rows(client.get("/rules").text)[1].startswith("all 1 enforced 3")


def test_limits_are_drafted_compared_released_and_rolled_back_beside_the_rules(tmp_path: Path) -> None:
    hub = shown_hub(tmp_path)
    client = Client(make_app(hub))
    assert "No version was kept yet" in client.get("/limits").text
    first = unescape(client.get("/limits/edit").text)
    assert "requests_per_unit: 100" in first
    assert "1 rule, no errors" in first
    assert "Try on present usage" not in first
    text = "domain: d\ndescriptors:\n  - {key: user, rate_limit: {unit: hour, requests_per_unit: 5}}\n"
    bad = post(client, "/limits/edit", text=text.replace("hour", "huor"), action="keep")
    assert bad.status_code == 422
    assert 'unknown unit "huor"' in unescape(bad.text)
    lint = unescape(post(client, "/limits/lint", text=text.replace("key", "kye")).text)
    assert 'unknown key "kye"' in lint[lint.index('id="checked"') :]
    assert post(client, "/limits/edit", text=text, action="keep").headers["location"] == "/limits?kept=2"
    assert post(client, "/limits/release", version="2", mode="shadow", group="").headers["location"] == "/limits"
    # What a draft changes is shown line by line.
    draft = unescape(post(client, "/limits/edit", text=text.replace("5", "6"), action="check").text)
    assert "-  - {key: user, rate_limit: {unit: hour, requests_per_unit: 5}}" in draft
    assert "+  - {key: user, rate_limit: {unit: hour, requests_per_unit: 6}}" in draft
    post(client, "/limits/edit", text=text.replace("5", "6"), action="keep", why="more")
    post(client, "/limits/release", version="3", mode="enforced", group="")
    hub.limits.note_daemon(FleetDaemon("edge1", "", 3, hub.clock()))
    assert rows(client.get("/limits").text)[1].startswith("all 3 enforced 3")
    assert "1 of 1" in rows(client.get("/limits").text)[1]
    # Neither is to be found among the other.
    assert "edge1" not in client.get("/rules").text
    assert rows(client.get("/rules").text)[1].startswith("all 1 enforced 1")
    assert post(client, "/limits/rollback", group="").status_code == 303
    assert rows(client.get("/limits").text)[1].startswith("all 2 shadow 4")
    assert post(client, "/limits/release", version="1", mode="shadow").status_code == 404
    hub.close()


def test_the_namespaces_of_the_whole_fleet_are_added_up(tmp_path: Path) -> None:
    hub = shown_hub(tmp_path)
    hub.rules.note_daemon(FleetDaemon("web2", "", 0, hub.clock()))
    hub.rules.note_usage(
        "web2", [("/", (1, 5, 1, 1, 1, 0)), ("team", (1, 5, 1, 1, 1, 0)), ("team.b", (0, 5, 1, 1, 1, 0))]
    )
    client = Client(make_app(hub))
    assert [row.split()[:2] for row in rows(client.get("/explore?namespace=team").text)[1:]] == [["a", "8"], ["b", "8"]]
    assert rows(client.get("/explore").text)[1].split()[:2] == ["team", "16"]
    assert client.get("/explore?namespace=nowhere").status_code == 404
    hub.close()


def test_limits_are_suggested_as_rules_to_edit(client: Client) -> None:
    page = unescape(client.get("/suggest", percent=100, headroom=2).text)
    assert "[team.*]\n# metrics: 100 % hold at most 8, the largest 8, in force: 10\nmetrics = 16\n" in page
    assert client.get("/suggest", percent="x").status_code == 422


def test_each_role_sees_what_is_for_it_alone(tmp_path: Path) -> None:
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite")
    for name in ("acme", "other"):
        set_quota(hub, name, bytes=1000)
    subjects = {Role.CUSTOMER: "acme", Role.PROVIDER: "east"}
    hub.providers.put(ADMIN, Provider("east"))
    tokens = {
        role: hub.tokens.make(ADMIN, role.value, role, subjects.get(role, ""), 3600.0)[0]
        for role in (Role.ADMIN, *Role)
    }
    client = Client(make_app(hub))

    def status(role: Role | None, path: str, method: str = "GET") -> int:
        headers = {"Authorization": f"Bearer {tokens[role]}"} if role else {}
        return client.request(method, path, headers=headers).status_code

    for path in PAGES:
        assert status(None, path) == 303
        assert status(Role.PROVIDER, path) == 403
        assert status(Role.ADMIN, path) in {200, 404}
        assert status(Role.CUSTOMER, path) == (200 if path in {"/", "/customer?name=acme"} else 403), path
    assert status(Role.CUSTOMER, "/customer?name=other") == 404
    for path in FORMS:
        allowed = [status(role, path) for role in (None, Role.PROVIDER, Role.CUSTOMER, Role.OPERATOR, Role.ADMIN)]
        assert allowed == [303, 403, 403, 403, 200], path
        refused = [status(role, path, "POST") for role in (None, Role.PROVIDER, Role.CUSTOMER, Role.OPERATOR)]
        assert refused == [303, 403, 403, 403], path
    for path in ("/rules/release", "/tokens/revoke", "/rules/rollback", "/rules/approve"):
        assert [status(role, path, "POST") for role in (None, Role.CUSTOMER, Role.OPERATOR)] == [303, 403, 403]
    own = client.request("GET", "/", headers={"Authorization": f"Bearer {tokens[Role.CUSTOMER]}"}).text
    assert "acme" in own
    assert "other" not in own
    hub.close()


def test_usage_is_shown_on_while_the_database_is_away(tmp_path: Path) -> None:
    hub = shown_hub(tmp_path)
    client = Client(make_app(hub))
    client.get("/")
    hub.database.close()
    (tmp_path / "hub.sqlite").rename(tmp_path / "away")
    (tmp_path / "hub.sqlite").mkdir()
    page = client.get("/customer?name=acme")
    assert (page.status_code, rows(page.text)[1].startswith("bytes 105.0 %")) == (200, True)
    fleet = client.get("/")
    assert (fleet.status_code, "notice" in fleet.text, rows(fleet.text)[1].startswith("acme ")) == (200, True, True)
    assert client.get("/rules").status_code == 503
    hub.close()
