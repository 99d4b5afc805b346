"""Who may ask the quota service what: each endpoint by each role, two customers of each other, and any request."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from carbonquota.hub.domain.values import Actor
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Role
from carbonquota.web.openapi import operations
from tests.support.http import Client
from tests.support.hub import open_hub, set_quota
from tests.support.web import bearer, rule_of_access

SUBJECTS = {Role.CUSTOMER: "acme", Role.PROVIDER: "store1"}
PATHS = {"customer": "acme", "provider": "store1", "number": "0123456789ab"}


class Service:
    """A quota service with a token for each role, and what is known of two customers."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.app = make_app(hub, ("*",))
        self.client = Client(self.app)
        actor = Actor("test", "")
        self.tokens = {
            role: hub.tokens.make(actor, role, role, SUBJECTS.get(role, ""), 86_400.0)[0]
            for role in sorted(Role, key=lambda role: role is not Role.ADMIN)
        }
        self.other = hub.tokens.make(actor, "rival", Role.CUSTOMER, "rival", 86_400.0)[0]
        self.openapi: dict[str, Any] = self.app.openapi()

    def ask(self, method: str, path: str, token: str | None, **request: Any) -> httpx.Response:  # noqa: ANN401
        headers = request.pop("headers", {}) | (bearer(token) if token else {})
        return self.client.request(method, path, headers=headers, **request)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    hub = open_hub(f"sqlite:///{tmp_path_factory.mktemp('hub')}/hub.sqlite")
    yield Service(hub)
    hub.close()


def filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)(?::path)?\}", lambda match: values.get(match[1], "x"), path)


def test_each_endpoint_is_for_whom_its_description_says(service: Service) -> None:
    seen = 0
    for path, method, operation in operations(service.openapi):
        allowed = rule_of_access(operation)
        for role in (None, *Role):
            token = service.tokens[role] if role else None
            answer = service.ask(method.upper(), filled(path, PATHS), token)
            may = allowed is None or role in allowed
            told = f"{method} {path} as {role}: {answer.status_code} {answer.text[:200]}"
            assert (answer.status_code not in {401, 403}) is may or path == "/session", told
            if not may:
                assert answer.status_code == (403 if role else 401), told
            seen += 1
    assert seen >= 5 * 8


def references(service: Service, allowed: Role) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each operation that a role may use."""
    for path, method, operation in operations(service.openapi):
        roles = rule_of_access(operation)
        if roles is not None and allowed in roles:
            yield path, method.upper(), operation


def requests_about(path: str, operation: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The operation with a name in the place of each parameter in turn, and of each text in a body."""
    parameters = [one for one in operation.get("parameters", ()) if one["in"] in {"path", "query", "header"}]
    for one in parameters:
        url = filled(path, PATHS | {"customer": "acme"} | ({one["name"]: name} if one["in"] == "path" else {}))
        yield url, ({"params": {one["name"]: name}} if one["in"] == "query" else
                    {"headers": {one["name"]: name}} if one["in"] == "header" else {})  # fmt: skip
    if "requestBody" in operation:
        body = {"customer": name, "customers": [name], "provider": "store1", "size": 1}
        for document in (body, {"requests": [body]}, {"items": [body]}, {"values": [body]}, {"changes": [body]}):
            yield filled(path, PATHS), {"json": document}


def test_two_customers_are_nothing_to_each_other(service: Service) -> None:
    own = service.tokens[Role.CUSTOMER]
    asked = 0
    for customer in ("acme", "rival"):
        set_quota(service.hub, customer, bytes=1000)
    for path, method, operation in references(service, Role.CUSTOMER):
        theirs = requests_about(path, operation, "rival")
        nobodys = requests_about(path, operation, "stranger")
        for (url, request), (other_url, other_request) in zip(theirs, nobodys, strict=True):
            answer = service.ask(method, url, own, **request)
            nothing = service.ask(method, other_url, own, **other_request)
            told = f"{method} {url} {request}"
            assert answer.status_code == nothing.status_code, told
            assert answer.text.replace("rival", "stranger") == nothing.text, told
            assert answer.headers.keys() == nothing.headers.keys(), told
            asked += 1
    assert asked >= 3
    assert service.ask("GET", "/v1/customers/acme/quota", own).status_code == 200
    assert service.ask("GET", "/v1/customers/rival/quota", service.other).status_code == 200


def test_tokens_are_made_listed_and_revoked_by_administrators_and_audited(service: Service) -> None:
    admin = service.tokens[Role.ADMIN]
    order = {"name": "ci", "role": "operator", "lifetime": 3600, "why": "for the build"}
    made = service.ask("POST", "/v1/tokens", admin, json=order)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    token, number = made.json()["token"], made.json()["about"]["id"]
    assert service.ask("GET", "/v1/me", token).json() == {"name": "ci", "role": "operator", "subject": ""}
    listed = service.ask("GET", "/v1/tokens", admin)
    assert number in listed.text
    assert token not in listed.text
    assert service.ask("DELETE", f"/v1/tokens/{number}?why=leaked", admin).status_code == 204
    assert service.ask("DELETE", f"/v1/tokens/{number}", admin).status_code == 404
    entries = [one for one in service.hub.writing.entries() if one.subject == f"token/{number}"]
    assert [(one.actor, one.action, one.why) for one in entries] == [
        ("admin", "revoke token", "leaked"),
        ("admin", "make token", "for the build"),
    ]
    assert token not in json.dumps([one.after for one in entries])


@pytest.mark.parametrize(
    ("order", "detail"),
    [
        ({"name": "x", "role": "customer"}, "is no name of a customer"),
        ({"name": "x", "role": "admin", "subject": "acme"}, "the role admin is of nobody's own"),
        ({"name": "x", "role": "root"}, "role: Input should be"),
        ({"name": "x\n", "role": "admin"}, "name: String should match"),
        ({"name": "x", "role": "admin", "lifetime": 0}, "lifetime: Input should be greater"),
    ],
    ids=str,
)
def test_a_token_that_cannot_be_is_one_clear_error(service: Service, order: dict[str, Any], detail: str) -> None:
    answer = service.ask("POST", "/v1/tokens", service.tokens[Role.ADMIN], json=order)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


def test_the_first_token_closes_the_service_and_is_an_administrators(tmp_path_factory: pytest.TempPathFactory) -> None:
    hub = open_hub(f"sqlite:///{tmp_path_factory.mktemp('first')}/hub.sqlite")
    client = Client(make_app(hub))
    assert client.json("/v1/me")["role"] == "admin"
    answer = client.request("POST", "/v1/tokens", json={"name": "x", "role": "operator"})
    assert answer.json()["detail"].startswith("make the token of an administrator first")
    token = client.request("POST", "/v1/tokens", json={"name": "x", "role": "admin"}).json()["token"]
    assert client.get("/v1/me").status_code == 401
    assert client.request("GET", "/v1/me", headers=bearer(token)).status_code == 200
    hub.close()


def test_it_does_not_listen_for_others_while_nobody_needs_a_token(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("open")
    command = [sys.executable, "-m", "carbonquota.cli", "serve", "--database", "sqlite:///hub.sqlite", "--listen", ":0"]
    command += ["--grpc-listen", "127.0.0.1:0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "--listen :0: whoever reaches it could do all, as there is no token yet" in done.stderr
    both = [*command, "--tls-certificate", "x"]
    done = subprocess.run(both, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert "--tls-certificate, --tls-key go together" in done.stderr


def test_nobody_fills_the_memory_before_it_is_known_who_asks(service: Service) -> None:
    service = Service(service.hub)
    large = b'{"name": "' + b"x" * 100_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    assert service.ask("POST", "/v1/tokens", None, content=large, headers=headers).status_code in {401, 413}
    assert service.ask("POST", "/session", None, content=large, headers=headers).status_code == 413


def with_lifespan(app: ASGIApp) -> ASGIApp:
    """The application for a client that announces its start and end."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    return answer


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
"""Of what is sent as the description has it, and of what is not quite so."""


def test_whatever_is_sent_is_answered_as_the_description_says(service: Service) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", with_lifespan(service.app))
    admin = bearer(service.tokens[Role.ADMIN])
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        cases = operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

        @settings(max_examples=4, deadline=None, phases=[Phase.generate], database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=cases)
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=admin, checks=CHECKS)

        ask()
