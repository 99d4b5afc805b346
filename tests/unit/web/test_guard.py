"""Pages of other sites, in the browser of somebody who can reach the daemon, read nothing of it and change nothing."""

from __future__ import annotations

import socket

import pytest

from carbonquota.daemon.http import make_app
from carbonquota.web.guard import Guard, host_name
from tests.support.http import Client, client_of, engine_with_names, source_of

RELOAD = {"Content-Type": "application/json"}


def client(*allowed: str) -> Client:
    return Client(make_app(source_of(engine_with_names()), allowed))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:8080",
        "10.1.2.3",
        "[::1]:8080",
        "[fe80::1]",
        socket.gethostname(),
        f"{socket.gethostname()}.:8080",
        "graphite.example.com",
        "Graphite.Example.com:443",
    ],
)
def test_it_answers_to_addresses_and_to_its_own_names(host: str) -> None:
    assert client("graphite.example.com").request("GET", "/ready", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/api/rules", "/docs", "/else"])
def test_another_name_that_leads_here_reads_nothing(path: str) -> None:
    answer = client().request("GET", path, headers={"Host": "evil.example:8080"})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "title": "Misdirected Request",
        "status": 421,
        "detail": 'this daemon does not answer to the name "evil.example": ask it by its address, or add the name to '
        "[carbonserver] allowed-hosts",
    }


def test_any_name_may_be_allowed() -> None:
    assert client("*").request("GET", "/ready", headers={"Host": "anything.example"}).status_code == 200


def test_a_probe_that_sends_no_name_is_answered() -> None:
    assert client().request("GET", "/ready", headers={"Host": ""}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    ],
    ids=str,
)
def test_a_page_of_another_site_changes_nothing(headers: dict[str, str]) -> None:
    reloads: list[int] = []
    source = source_of(engine_with_names(), reload=lambda: reloads.append(1))
    answer = client_of(source).request("POST", "/api/reload", headers=RELOAD | headers)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("a page of another site may not do that")
    assert reloads == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, {"Sec-Fetch-Site": "none"}],
    ids=str,
)
def test_programs_and_its_own_pages_may_reload(headers: dict[str, str]) -> None:
    assert client().request("POST", "/api/reload", headers=RELOAD | headers).status_code == 200


def test_the_names_of_the_machine_are_looked_up_once_and_only_in_doubt() -> None:
    looked: list[int] = []

    def own() -> tuple[str, ...]:
        looked.append(1)
        return ("web1.example.com",)

    asked = Client(Guard(make_app(source_of(engine_with_names()), ("*",)), own_names=own))
    for host, status in (("127.0.0.1", 200), ("localhost", 200)):
        assert asked.request("GET", "/ready", headers={"Host": host}).status_code == status
    assert looked == []
    for host, status in (("web1.example.com", 200), ("evil.example", 421), ("evil.example", 421)):
        assert asked.request("GET", "/ready", headers={"Host": host}).status_code == status
    assert looked == [1]


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.b:1", "a.b"), ("A.b.", "a.b"), ("[::1]:80", "::1"), ("[::1", "::1"), ("", ""), (":80", "")],
)
def test_a_port_is_no_part_of_a_name(host: str, name: str) -> None:
    assert host_name(host) == name
