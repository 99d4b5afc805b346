"""Sessions: a cookie for a token, which scripts cannot read and other sites cannot use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from carbonquota.errors import InputError
from carbonquota.web.access import Identity, Role
from carbonquota.web.sessions import Sessions, secret_of
from carbonquota.web.tokens import TokenAuthenticator, TokenRecord, mint
from tests.support.http import Client
from tests.support.web import ManualClock, guarded

SECRET = bytes(range(32))


class Browser:
    """Somebody with a token, and a browser."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.token, record = mint("ann", Role.ADMIN, now=self.clock.now, lifetime=86_400)
        self.records = {record.id: record}
        self.sessions = Sessions(SECRET, self.clock, self.is_good)
        tokens = TokenAuthenticator(self.records.get, self.clock)
        self.client = Client(guarded(tokens, clock=self.clock, sessions=self.sessions))

    def is_good(self, identity: Identity) -> bool:
        record: TokenRecord | None = self.records.get(identity.credential)
        return record is not None and not record.revoked

    def log_in(self, **form: str) -> httpx.Response:
        return self.client.request("POST", "/session", data=form or {"token": self.token})

    def cookie(self) -> str:
        return self.log_in().headers["set-cookie"].partition(";")[0]

    def ask(self, method: str, path: str, cookie: str, **headers: str) -> int:
        return self.client.request(method, path, headers={"Cookie": cookie} | headers).status_code

    def csrf(self, cookie: str) -> str:
        scope = {"type": "http", "method": "GET", "scheme": "http", "headers": [(b"cookie", cookie.encode())]}
        session = self.sessions.of(scope)
        assert session is not None
        return session.csrf


@pytest.fixture
def browser() -> Browser:
    return Browser()


def test_a_token_gives_a_cookie_that_scripts_cannot_read(browser: Browser) -> None:
    answer = browser.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("carbonquota=")
    assert cookie.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax")
    assert browser.token not in cookie
    assert browser.ask("GET", "/operator", browser.cookie()) == 200


@pytest.mark.parametrize("form", [{"token": "cq_wrong"}, {"token": ""}, {"other": "x"}], ids=str)
def test_no_token_gives_none(browser: Browser, form: dict[str, str]) -> None:
    answer = browser.log_in(**form)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_guessing_is_slow_here_too(browser: Browser) -> None:
    assert [browser.log_in(token="cq_wrong").status_code for _ in range(11)] == [401] * 10 + [429]  # noqa: S106 - none
    assert browser.log_in().status_code == 429
    browser.clock.now += 60
    assert browser.log_in().status_code == 303


def test_changes_need_the_second_token(browser: Browser) -> None:
    cookie, other = browser.cookie(), browser.cookie()
    assert browser.ask("POST", "/admin", cookie) == 403
    assert browser.ask("POST", "/admin", cookie, **{"X-CSRF-Token": "guess"}) == 403
    assert browser.ask("POST", "/admin", cookie, **{"X-CSRF-Token": browser.csrf(other)}) == 403
    assert browser.ask("POST", "/admin", cookie, **{"X-CSRF-Token": browser.csrf(cookie)}) == 200
    assert browser.ask("POST", f"/admin?csrf={browser.csrf(cookie)}", cookie) == 200, "as a form does it"
    assert browser.ask("POST", f"/admin?csrf={browser.csrf(other)}", cookie) == 403
    assert browser.ask("POST", f"/admin?csrf={browser.csrf(cookie)}&csrf=x", cookie) == 403


def test_a_session_ends_with_its_time_and_with_its_token(browser: Browser) -> None:
    cookie = browser.cookie()
    browser.clock.now += 12 * 3600
    assert browser.ask("GET", "/operator", cookie) == 401
    cookie = browser.cookie()
    assert browser.ask("GET", "/operator", cookie) == 200
    for number, record in browser.records.items():
        browser.records[number] = replace(record, revoked=True)
    assert browser.ask("GET", "/operator", cookie) == 401


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cookie: cookie[:-2],
        lambda cookie: cookie + "; carbonquota=x",
        lambda cookie: "carbonquota=" + cookie.partition("=")[2].rpartition(".")[0] + ".",
        lambda _: "carbonquota=a.b.c",
        lambda _: "carbonquota=",
        lambda cookie: cookie.replace("carbonquota", "__Host-carbonquota"),
    ],
    ids=["cut", "twice", "not signed", "made up", "empty", "under another name"],
)
def test_a_cookie_that_was_changed_is_none(browser: Browser, spoil: object) -> None:
    assert callable(spoil)
    assert browser.ask("GET", "/operator", spoil(browser.cookie())) == 401


def test_another_service_s_cookie_is_none(browser: Browser) -> None:
    others = Sessions(bytes(32), browser.clock, lambda _: True)
    cookie = others.begin(Identity("eve", Role.ADMIN), encrypted=False).partition(";")[0]
    assert browser.ask("GET", "/operator", cookie) == 401


def test_over_tls_a_cookie_is_never_sent_without(browser: Browser) -> None:
    cookie = browser.sessions.begin(Identity("ann", Role.ADMIN), encrypted=True)
    assert cookie.startswith("__Host-carbonquota=")
    assert cookie.endswith("; HttpOnly; SameSite=Lax; Secure")
    assert "domain" not in cookie.lower()


def test_logging_out_takes_the_cookie_back(browser: Browser) -> None:
    cookie = browser.cookie()
    headers = {"Cookie": cookie, "X-CSRF-Token": browser.csrf(cookie)}
    answer = browser.client.request("DELETE", "/session", headers=headers)
    assert answer.status_code == 204
    assert "carbonquota=; Path=/; Max-Age=0" in answer.headers["set-cookie"]
    left = browser.client.request("POST", f"/session/end?csrf={browser.csrf(cookie)}", headers={"Cookie": cookie})
    assert (left.status_code, left.headers["location"]) == (303, "/")
    assert browser.ask("POST", "/session/end", cookie) == 403


def test_a_secret_is_made_once_and_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret"
    secret = secret_of(path)
    assert len(secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_of(path) == secret
    path.chmod(0o644)
    with pytest.raises(InputError, match="everybody can read the secret of sessions: `chmod o= "):
        secret_of(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(InputError, match="a secret of sessions has 32 bytes"):
        secret_of(path)
