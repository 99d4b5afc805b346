"""Who may ask a limiter's administration what: every endpoint and form by every role, from here and from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from carbonquota.limiter.process.admin import make_admin
from carbonquota.limiter.process.load import read_settings
from carbonquota.limiter.process.parts import LimiterParts
from carbonquota.web.access import Role
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.make_access import make_access
from carbonquota.web.openapi import operations
from carbonquota.web.token_file import append_token
from carbonquota.web.tokens import mint
from tests.support.http import Client
from tests.support.web import bearer, rule_of_access

RULES = "domain: d\ndescriptors:\n  - {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}\n"
ELSEWHERE = "192.0.2.1"
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/bans"): {"json": {"client": "x", "seconds": 5}},
    ("DELETE", "/api/bans"): {"params": {"client": "nobody"}},
    ("PUT", "/api/brownout"): {"json": {"tier": "*", "factor": 1, "seconds": 5}},
    ("DELETE", "/api/brownout"): {"params": {"tier": "none"}},
}
FORMS = ("/page/ban", "/page/lift", "/page/brownout", "/page/brownout/lift")


class Asked:
    """The administration of a limiter, with a token for each role."""

    def __init__(self, folder: Path) -> None:
        (folder / "limits.yaml").write_text(RULES)
        settings = read_settings('[limiter]\nrules = ["limits.yaml"]\n', str(folder / "limiter.toml"))
        self.tokens: dict[Role | None, str] = {}
        for role in Role:
            self.tokens[role], record = mint(role, role, "acme" if role in {"customer", "provider"} else "", now=0.0)
            append_token(str(folder / "tokens"), record)
        access = AccessSettings(str(folder / "tokens"))
        parts = LimiterParts(replace(settings, access=access))
        parts.status.waits_for = ()
        self.app = make_admin(parts, make_access(access))

    def ask(
        self,
        method: str,
        path: str,
        role: Role | None,
        client: str = ELSEWHERE,
        **more: Any,  # noqa: ANN401 - as httpx takes it
    ) -> httpx.Response:
        headers = bearer(self.tokens[role]) if role else {}
        if method != "GET":
            headers |= {"X-Requested-With": "test"}
        return Client(self.app, address=client).request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(tmp_path_factory.mktemp("admin"))


@pytest.mark.parametrize("role", [None, *Role], ids=str)
def test_each_endpoint_is_for_whom_its_description_says(asked: Asked, role: Role | None) -> None:
    for path, method, operation in operations(asked.app.openapi()):
        if path == "/session":
            continue
        allowed = rule_of_access(operation)
        may = allowed is None or role in allowed
        answer = asked.ask(method.upper(), path, role, **BODIES.get((method.upper(), path), {}))
        assert (answer.status_code < 400 or answer.status_code == 404) is may, f"{method} {path} {answer.text}"
        assert may or answer.status_code == (403 if role else 401)
    public = {path for path, _, operation in operations(asked.app.openapi()) if rule_of_access(operation) is None}
    assert public == {"/health", "/ready", "/session"}


def test_who_reads_from_here_needs_no_token_and_who_changes_something_does(asked: Asked) -> None:
    assert asked.ask("GET", "/api/bans", None, "127.0.0.1").status_code == 200
    assert asked.ask("GET", "/", None, "127.0.0.1").status_code == 200
    assert asked.ask("GET", "/", None).status_code == 401
    assert asked.ask("GET", "/", Role.OPERATOR).status_code == 200
    ban = BODIES["POST", "/api/bans"]
    assert asked.ask("POST", "/api/bans", None, "127.0.0.1", **ban).status_code == 403
    for path in FORMS:
        assert asked.ask("POST", path, Role.OPERATOR).status_code == 403
        assert asked.ask("POST", path, Role.ADMIN, data={"client": "x", "tier": "*"}).status_code in {303, 422}


def test_a_browser_logs_in_with_a_token_and_its_forms_need_the_pages_own_word(asked: Asked) -> None:
    browser = Client(asked.app, address=ELSEWHERE)
    shown = browser.request("GET", "/", headers={"Accept": "text/html"})
    assert (shown.status_code, shown.headers["location"]) == (303, "/login")
    begun = browser.request("POST", "/session", data={"token": asked.tokens[Role.ADMIN]})
    session = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    page = browser.request("GET", "/", headers=session).text
    (form,) = re.findall(r'action="(/page/brownout\?csrf=\w+)"', page)
    fields = {"tier": "none", "factor": "1", "minutes": "1"}
    assert browser.request("POST", "/page/brownout", headers=session, data=fields).status_code == 403
    assert browser.request("POST", form, headers=session, data=fields).status_code == 303
