"""Who may ask the daemon what: every endpoint by every role, from here and from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from carbonquota.daemon.http import make_app
from carbonquota.web.access import Role
from carbonquota.web.access_settings import AccessSettings, Reading
from carbonquota.web.make_access import make_access
from carbonquota.web.openapi import operations
from carbonquota.web.token_file import append_token
from carbonquota.web.tokens import mint
from tests.support.http import Client, engine_with_names, source_of
from tests.support.web import bearer, rule_of_access

SUBJECTS = {Role.CUSTOMER: "acme", Role.PROVIDER: "store1"}
OPENAPI: dict[str, Any] = make_app(source_of(engine_with_names())).openapi()
ENDPOINTS = [(method.upper(), path, operation) for path, method, operation in operations(OPENAPI)]
QUERIES = {"/api/explain": "?metric=team.a.x"}


class Asked:
    """A daemon with a token for each role."""

    def __init__(self, folder: Path, reading: Reading = "loopback") -> None:
        path = folder / "tokens"
        self.tokens: dict[Role | None, str] = {}
        for role in Role:
            self.tokens[role], record = mint(role, role, SUBJECTS.get(role, ""), now=0.0)
            append_token(str(path), record)
        self.app = make_app(
            source_of(engine_with_names()), access=make_access(AccessSettings(str(path), reading=reading))
        )

    def ask(self, method: str, path: str, role: Role | None, client: str, **headers: str) -> httpx.Response:
        headers |= bearer(self.tokens[role]) if role else {}
        if method == "POST":
            headers |= {"X-Requested-With": "test"}
        asked = Client(self.app, address=client)
        return asked.request(method, path.replace("{namespace}", "team.a") + QUERIES.get(path, ""), headers=headers)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(tmp_path_factory.mktemp("tokens"))


@pytest.mark.parametrize("role", [None, *Role], ids=str)
@pytest.mark.parametrize(
    ("method", "path", "operation"), ENDPOINTS, ids=lambda one: one if isinstance(one, str) else ""
)
def test_each_endpoint_is_for_whom_its_description_says(
    asked: Asked, method: str, path: str, operation: dict[str, Any], role: Role | None
) -> None:
    allowed = rule_of_access(operation)
    may = allowed is None or role in allowed
    answer = asked.ask(method, path, role, "192.0.2.1")
    assert answer.status_code == (200 if may else 403 if role else 401), answer.text


FOR_EVERYBODY = {"/docs", "/openapi.json", "/health", "/ready", "/static/{name}", "/theme", "/login", "/session/end"}
"""Of what is not in the OpenAPI document: what has no numbers in it."""


def hidden_endpoints(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of whatever is not in the OpenAPI document."""
    routers = [app.router, *(found for one in app.routes if (found := getattr(one, "original_router", None)))]
    routes = [route for router in routers for route in router.routes if isinstance(route, Route | APIRoute)]
    return {(min(route.methods or {""}), route.path) for route in routes if not route.include_in_schema}


def test_only_health_readiness_and_what_has_no_numbers_is_for_everybody(asked: Asked) -> None:
    assert {path for _, path, operation in ENDPOINTS if rule_of_access(operation) is None} == {"/health", "/ready"}
    hidden = hidden_endpoints(asked.app)
    assert {("HEAD", "/metrics"), ("GET", "/api/namespaces"), ("GET", "/")} <= hidden
    for method, path in hidden:
        status = asked.ask(method, path, None, "192.0.2.1").status_code
        assert (status == 401) is (path not in FOR_EVERYBODY), path


@pytest.mark.parametrize(
    ("reading", "client", "headers", "status"),
    [
        ("loopback", "127.0.0.1", {}, 200),
        ("loopback", "::1", {}, 200),
        ("loopback", "192.0.2.1", {}, 401),
        ("loopback", "127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, 401),
        ("loopback", "127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 401),
        ("loopback", "192.0.2.1", {"X-Forwarded-For": "127.0.0.1"}, 401),
        ("everywhere", "192.0.2.1", {}, 200),
        ("nowhere", "127.0.0.1", {}, 401),
    ],
)
def test_reading_needs_no_token_from_where_the_settings_say(
    tmp_path: Path, reading: Reading, client: str, headers: dict[str, str], status: int
) -> None:
    asked = Asked(tmp_path, reading)
    assert asked.ask("GET", "/api/quotas", None, client, **headers).status_code == status
    assert asked.ask("POST", "/api/reload", None, client, **headers).status_code in {401, 403}
    assert asked.ask("POST", "/api/reload", Role.ADMIN, client, **headers).status_code == 200


def test_without_tokens_all_is_as_it_was() -> None:
    client = Client(make_app(source_of(engine_with_names())), address="192.0.2.1")
    assert client.request("POST", "/api/reload", headers={"X-Requested-With": "x"}).status_code == 200
    answer = client.request("GET", "/api/quotas", headers=bearer("cq_unknown"))
    assert answer.status_code == 401, "a token that nobody knows is no mistake to pass over"


def test_a_browser_without_a_token_is_asked_for_one(asked: Asked) -> None:
    for path in ("/", "/explore", "/rules"):
        answer = asked.ask("GET", path, None, "192.0.2.1", Accept="text/html")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = asked.ask("GET", "/login", None, "192.0.2.1")
    assert (page.status_code, 'action="/session"' in page.text) == (200, True)
    assert asked.ask("GET", "/login", Role.OPERATOR, "192.0.2.1").headers["location"] == "/"
    assert asked.ask("GET", "/", None, "192.0.2.1").status_code == 401


def test_who_logged_in_at_the_page_logs_out_there(asked: Asked) -> None:
    answer = asked.ask("GET", "/", Role.OPERATOR, "127.0.0.1")
    assert "Log out" not in answer.text, "a token that is sent with each request has no session"
    client = Client(asked.app)
    begun = client.request(
        "POST", "/session", content="token=" + asked.tokens[Role.OPERATOR],
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    session = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    page = client.request("GET", "/", headers=session).text
    (end,) = re.findall(r'action="(/session/end\?csrf=\w+)"', page)
    assert "Log out" in page
    assert client.request("POST", "/session/end", headers=session).status_code == 403
    ended = client.request("POST", end, headers=session)
    assert (ended.status_code, "Max-Age=0" in ended.headers["set-cookie"]) == (303, True)
