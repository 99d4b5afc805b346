"""Rules for the fleet over HTTP, on SQLite and on Postgres: sent, tried, released to groups, approved, rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from carbonquota.hub.domain.rules import Mode
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.testing import ManualClock
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub

ONE = "[team.*]\nmetrics = 10\n"
TWO = "[team.*]\nmetrics = 3\nthroughput = 5\n"


class Fleet:
    """The service, and what one asks of it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.app = make_app(hub)
        self.client = Client(self.app)

    def post(self, path: str, status: int = 201, **body: object) -> Any:  # noqa: ANN401 - JSON
        answer = self.client.request("POST", f"/v1/rules{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def send(self, text: str) -> int:
        return int(self.post("/versions", text=text, why="a test")["number"])

    def release(self, version: int, mode: str = "enforced", group: str = "") -> int:
        return int(self.post("/releases", version=version, mode=mode, group=group)["number"])

    def poll(self, group: str = "", seen: int | None = None, **query: object) -> httpx.Response:
        headers = {} if seen is None else {"If-None-Match": f'"{seen}"'}
        query |= {"node": query.get("node", "web1"), "group": group}
        return self.client.request("GET", "/v1/rules/in-force", params=query, headers=headers)

    def in_force(self, group: str = "") -> tuple[int, str]:
        document = self.poll(group).json()
        return document["version"], document["mode"]


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    hub = open_hub(database_url)
    yield Fleet(hub)
    hub.close()


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The same on SQLite alone, where the database is not what matters."""
    hub = open_hub(f"sqlite:///{tmp_path_factory.mktemp('rules')}/hub.sqlite")
    yield Fleet(hub)
    hub.close()


def test_a_version_goes_as_shadow_to_a_group_then_to_all_and_back_and_each_step_is_audited(fleet: Fleet) -> None:
    assert fleet.poll().status_code == 204
    one = fleet.send(ONE)
    assert fleet.send(ONE) == one, "the same text is no new version"
    fleet.release(one)
    two = fleet.send(TWO)
    fleet.release(two, "shadow", "canary")
    assert (fleet.in_force(), fleet.in_force("canary")) == ((one, "enforced"), (two, "shadow"))
    fleet.release(two, "enforced", "canary")
    assert fleet.in_force("canary") == (two, "enforced")
    fleet.release(two)
    assert fleet.in_force("other") == (two, "enforced")
    assert fleet.post("/rollback", why="too tight")["version"] == one
    assert (fleet.in_force(), fleet.in_force("canary")) == ((one, "enforced"), (one, "enforced"))
    entries = [(one.actor, one.action, one.subject, one.why) for one in reversed(fleet.hub.writing.entries())]
    assert entries == [
        ("anonymous", "send rules", "rules/1", "a test"),
        ("anonymous", "release rules", "rules", ""),
        ("anonymous", "send rules", "rules/2", "a test"),
        ("anonymous", "release rules", "rules/group/canary", ""),
        ("anonymous", "release rules", "rules/group/canary", ""),
        ("anonymous", "release rules", "rules", ""),
        ("anonymous", "roll back rules", "rules", "too tight"),
    ]


def test_another_server_of_the_same_database_hears_of_a_release(fleet: Fleet) -> None:
    other = Fleet(open_hub(str(fleet.hub.database.engine.url.render_as_string(hide_password=False))))
    fleet.release(fleet.send(ONE))
    assert other.poll().status_code == 204
    other.hub.rules.refresh()
    assert other.in_force() == (1, "enforced")
    fleet.poll(node="web7", running=1)
    fleet.hub.rules.refresh()
    assert [one["name"] for one in other.client.json("/v1/rules/daemons")["daemons"]] == ["web1", "web7"]
    told = {"namespaces": [{"namespace": "team.a", "metrics": 50}]}
    answer = other.client.request("PUT", "/v1/rules/usage", params={"node": "web7"}, json=told)
    assert answer.status_code == 204, "another server has seen it"
    assert fleet.post("/trial", 200, text=ONE)["over"] == 1
    other.hub.close()


def test_errors_and_findings_are_those_of_check(small: Fleet) -> None:
    bad = "[team.*]\nmetrics = ten\n"
    answer = small.client.request("POST", "/v1/rules/versions", json={"text": bad})
    assert answer.status_code == 422
    (place,) = answer.json()["errors"]
    assert (place["source"], place["line"], place["column"]) == ("storage-quotas.conf", 2, 11)
    assert place["excerpt"] == "    metrics = ten\n              ^^^"
    checked = small.post("/check", 200, text=bad)
    assert (checked["rules"], checked["errors"]) == (None, [place])
    checked = small.post("/check", 200, text="[a.*]\nmetrics = 1\n[a.*]\nmetrics = 2\n")
    assert checked["rules"] == 2
    assert checked["findings"][0]["severity"] == "warning"
    assert small.client.json("/v1/rules/versions")["versions"] == []


def test_rules_that_are_all_gone_are_refused_unless_that_is_meant(small: Fleet) -> None:
    small.release(small.send(ONE))
    answer = small.client.request("POST", "/v1/rules/versions", json={"text": "# nothing\n"})
    assert "has no sections any more, while 1 section is in force" in answer.json()["detail"]
    assert small.send("# empty\n") == 2


def test_a_trial_compares_with_what_is_in_force_on_what_daemons_told(small: Fleet) -> None:
    small.release(small.send(ONE))
    for node, metrics in (("web1", 5), ("web2", 20)):
        told = {"namespaces": [{"namespace": "team.a", "metrics": metrics, "throughput": 9}, {"namespace": "team"}]}
        unknown = small.client.request("PUT", "/v1/rules/usage", params={"node": node}, json=told)
        assert "has asked for rules: ask for them first" in unknown.json()["detail"]
        small.poll(node=node)
        answer = small.client.request("PUT", "/v1/rules/usage", params={"node": node}, json=told)
        assert answer.status_code == 204, answer.text
    trial = small.post("/trial", 200, text=TWO)
    assert {name: trial[name] for name in trial if name != "standings"} == {
        "namespaces": 4, "over": 2, "newly_over": 1, "throttled": 2, "newly_throttled": 2, "relieved": 0,
    }  # fmt: skip
    assert trial["standings"][0] == {
        "daemon": "web1", "namespace": "team.a", "control": "throughput", "usage": 9, "before": None, "after": 5,
    }  # fmt: skip
    assert small.post("/trial", 200, text="[team.*]\nmetrics = 100\n")["relieved"] == 1
    assert small.post("/trial?group=canary", 200, text=TWO)["namespaces"] == 0


def test_names_of_daemons_are_bounded(small: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbonquota.hub.service.rules.MOST_DAEMONS", 3)
    for number in range(5):
        assert small.poll(node=f"web{number}").status_code == 204, "rules are given all the same"
    small.poll(node="web1", running=7)
    found = {one["name"]: one["running"] for one in small.client.json("/v1/rules/daemons")["daemons"]}
    assert found == {"web0": 0, "web1": 7, "web2": 0}


def test_a_second_administrator_approves_and_nobody_of_his_own(small: Fleet) -> None:
    rules = small.hub.rules
    rules.needs_second = True
    version = small.send(ONE)
    asked = small.post("/releases", version=version, mode="enforced", why="more room")
    assert asked["approved"] == ""
    assert small.poll().status_code == 204
    own = small.client.request("PUT", f"/v1/rules/releases/{asked['number']}/approval")
    assert own.status_code == 412
    assert own.json()["detail"] == "release 1 is anonymous's own: another administrator has to approve of it"
    rules.approve(ADMIN, 1)
    assert small.in_force() == (version, "enforced")
    assert small.client.request("PUT", "/v1/rules/releases/1/approval").status_code == 412
    assert small.client.request("PUT", "/v1/rules/releases/9/approval").status_code == 404
    waiting = rules.release(ADMIN, version, Mode.SHADOW)
    rules.release(ADMIN, version, Mode.ENFORCED, "other")
    rules.needs_second = False
    newer = rules.release(ADMIN, version, Mode.ENFORCED)
    late = small.client.request("PUT", f"/v1/rules/releases/{waiting.number}/approval")
    assert f"release {newer.number} came later and is in force" in late.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/releases", {"version": 9, "mode": "enforced"}, 404, "there is no version 9 of the rules"),
        ("/releases", {"version": 1, "mode": "loud"}, 422, "mode: Input should be 'shadow' or 'enforced'"),
        ("/releases", {"version": 1, "mode": "shadow", "group": "a b"}, 422, "group: String should match"),
        ("/rollback", {}, 412, "nothing else was in force for all daemons before: release a version instead"),
        ("/rollback", {"group": "x"}, 412, "nothing else was in force for the group 'x' before"),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    small: Fleet, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    answer = small.client.request("POST", f"/v1/rules{path}", json=body)
    assert answer.status_code == status
    assert text in answer.json()["detail"]


def test_who_waits_is_answered_at_once_when_there_is_another_release(small: Fleet) -> None:
    first, second = small.send(ONE), small.send(TWO)
    seen = small.release(first)
    assert small.poll(seen=seen).status_code == 304
    assert small.poll(seen=seen, wait=0.01).status_code == 304

    async def both() -> tuple[list[httpx.Response], float]:
        transport = httpx.ASGITransport(small.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            loop = asyncio.get_running_loop()
            url, headers = "/v1/rules/in-force?node=web1&wait=50", {"If-None-Match": f'"{seen}"'}
            polls = [asyncio.create_task(client.get(url, headers=headers, timeout=60)) for _ in range(20)]
            await asyncio.sleep(0.1)
            begun = loop.time()
            await asyncio.to_thread(small.hub.rules.release, ADMIN, second, Mode.ENFORCED)
            return await asyncio.gather(*polls), loop.time() - begun

    answers, took = asyncio.run(both())
    assert {answer.json()["version"] for answer in answers} == {second}
    assert took < 25, "they do not wait for the time that they gave"


def test_a_daemon_that_is_gone_is_forgotten_with_what_it_told_after_a_day(fleet: Fleet) -> None:
    clock = fleet.hub.clock
    assert isinstance(clock, ManualClock)
    for node in ("old", "new"):
        fleet.poll(node=node)
        used = {"namespaces": [{"namespace": "team.a", "metrics": 1}]}
        assert fleet.client.request("PUT", f"/v1/rules/usage?node={node}", json=used).status_code == 204
    clock.advance(80_000.0)
    fleet.poll(node="new")
    for seconds, left in ((6_000.0, ["new", "old"]), (500.0, ["new"])):
        clock.advance(seconds)
        fleet.hub.rules.refresh()
        assert [one["name"] for one in fleet.client.json("/v1/rules/daemons")["daemons"]] == left
        assert len(fleet.hub.rules.fleet_usage()) == len(left)
    # One that asks again is there again.
    fleet.poll(node="old")
    assert len(fleet.client.json("/v1/rules/daemons")["daemons"]) == 2
