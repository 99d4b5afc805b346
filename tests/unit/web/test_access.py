"""Who may use an endpoint: by its role, told in the OpenAPI document; tokens that are not valid get no further."""

from __future__ import annotations

import logging
from dataclasses import replace
from math import inf

import pytest

from carbonquota.errors import QuotaError
from carbonquota.web.access import Identity, Role
from carbonquota.web.authentication import AuthenticationUnavailable
from carbonquota.web.failed_logins import FailedLogins
from carbonquota.web.openapi import operations
from carbonquota.web.tokens import TokenAuthenticator, TokenRecord, mint
from tests.support.http import Client
from tests.support.web import ManualClock, bearer, endpoints, guarded, rule_of_access

NOW = 1_700_000_000.0
SUBJECTS = {Role.CUSTOMER: "acme", Role.PROVIDER: "store1"}
MAY = {
    "/public": {None, *Role},
    "/customer": {Role.CUSTOMER, Role.ADMIN},
    "/operator": {Role.OPERATOR, Role.ADMIN},
    "/admin": {Role.ADMIN},
}
METHODS = {"/admin": "POST"}


class Tokens:
    """A store of tokens, and who asks with them."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.records: dict[str, TokenRecord] = {}
        self.client = Client(guarded(TokenAuthenticator(self.records.get, self.clock), clock=self.clock))

    def make(self, role: Role, lifetime: float = inf) -> str:
        text, record = mint(f"a {role}", role, SUBJECTS.get(role, ""), now=NOW, lifetime=lifetime)
        self.records[record.id] = record
        return text

    def ask(self, path: str, token: str | None, **headers: str) -> int:
        given = headers | (bearer(token) if token else {})
        return self.client.request(METHODS.get(path, "GET"), path, headers=given).status_code


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.mark.parametrize("path", MAY)
@pytest.mark.parametrize("role", [None, *Role], ids=str)
def test_each_role_may_what_the_endpoint_names(tokens: Tokens, path: str, role: Role | None) -> None:
    token = tokens.make(role) if role else None
    expected = 200 if role in MAY[path] else 403 if role else 401
    assert tokens.ask(path, token) == expected


def test_the_openapi_document_has_every_rule() -> None:
    document = endpoints().openapi()
    rules = {path: rule_of_access(operation) for path, _, operation in operations(document)}
    assert rules == {path: None if None in may else frozenset(may) for path, may in MAY.items()}
    assert document["paths"]["/operator"]["get"]["responses"].keys() == {"200", "401", "403", "429"}


def test_an_endpoint_without_a_rule_is_found() -> None:
    app = endpoints()
    app.openapi_schema = None
    app.add_api_route("/forgotten", lambda: None)
    with pytest.raises(LookupError, match="has no rule of access"):
        [rule_of_access(operation) for _, _, operation in operations(app.openapi())]


def test_refusals_say_what_is_needed(tokens: Tokens) -> None:
    answer = tokens.client.get("/operator")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["detail"] == "this needs a token: send it as `Authorization: Bearer ...`"
    answer = tokens.client.request("GET", "/operator", headers=bearer(tokens.make(Role.CUSTOMER)))
    assert answer.json()["detail"] == "this needs the role admin or operator; the token is of the role customer"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token + "A",
        lambda token: token[:20],
    ],
    ids=["another secret", "too long", "cut"],
)
def test_a_token_that_is_not_quite_one_is_none(tokens: Tokens, change: object) -> None:
    token = tokens.make(Role.ADMIN)
    assert callable(change)
    assert tokens.ask("/operator", change(token)) == 401
    assert tokens.ask("/public", change(token)) == 401
    assert tokens.ask("/operator", token) == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic {token}", "{token}", "Bearer {token} {token}", "Bearer {token}é"]
)
def test_other_headers_are_no_credential(tokens: Tokens, header: str) -> None:
    value = header.format(token=tokens.make(Role.ADMIN))
    headers = {"Authorization": value.encode("latin-1")}
    assert tokens.client.request("GET", "/operator", headers=headers).status_code == 401


def test_of_two_credentials_none_is_taken(tokens: Tokens) -> None:
    good = tokens.make(Role.ADMIN)
    headers = [("Authorization", f"Bearer {good}"), ("authorization", "Bearer x")]
    for given in (headers, headers[::-1], [headers[0], headers[0]]):
        assert tokens.client.request("GET", "/operator", headers=given).status_code == 401


@pytest.mark.parametrize("query", ["token={}", "access_token={}", "authorization=Bearer%20{}"])
def test_a_token_in_a_url_is_not_taken(tokens: Tokens, query: str) -> None:
    assert tokens.ask(f"/operator?{query.format(tokens.make(Role.ADMIN))}", None) == 401


def test_a_token_ends_when_it_expires_or_is_revoked(tokens: Tokens) -> None:
    token = tokens.make(Role.ADMIN, lifetime=60)
    assert tokens.ask("/operator", token) == 200
    tokens.clock.now += 59
    assert tokens.ask("/operator", token) == 200
    tokens.clock.now += 1
    assert tokens.ask("/operator", token) == 401, "it is remembered, and not past its end"
    other = tokens.make(Role.ADMIN)
    assert tokens.ask("/operator", other) == 200
    (number,) = (number for number, record in tokens.records.items() if record.expires == inf)
    tokens.records[number] = replace(tokens.records[number], revoked=True)
    tokens.clock.now += 5.1
    assert tokens.ask("/operator", other) == 401


def test_who_tries_tokens_has_to_wait_and_valid_ones_go_on(tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    good, fresh = tokens.make(Role.ADMIN), tokens.make(Role.ADMIN)
    assert tokens.ask("/operator", good) == 200
    guess = mint("x", Role.ADMIN, now=NOW)[0]
    with caplog.at_level(logging.WARNING):
        assert [tokens.ask("/operator", guess) for _ in range(10)] == [401] * 10
    answer = tokens.client.request("GET", "/operator", headers=bearer(guess))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    tokens.clock.now += 30
    assert tokens.ask("/operator", good) == 200, "what was valid before waits for nobody"
    assert tokens.ask("/operator", fresh) == 429
    assert tokens.ask("/public", None) == 200
    tokens.clock.now += 31
    assert tokens.ask("/operator", fresh) == 200
    text = " ".join(record.getMessage() for record in caplog.records)
    assert f"HTTP: a token from 127.0.0.1 is not valid: there is no token {guess[3:15]}" in text
    assert guess[16:] not in text


def test_where_tokens_cannot_be_looked_up_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()

    def away(_: str) -> TokenRecord | None:
        raise AuthenticationUnavailable("the database is away")

    client = Client(guarded(TokenAuthenticator(away, clock), clock=clock))
    answer = client.request("GET", "/operator", headers=bearer(mint("x", Role.ADMIN, now=NOW)[0]))
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("nobody can be let in now, as tokens cannot be checked")
    assert "database" not in answer.text, "that is for the log"
    assert "HTTP: no token can be checked: the database is away" in caplog.text


def test_no_cache_keeps_what_one_who_is_known_was_answered(tokens: Tokens) -> None:
    headers = bearer(tokens.make(Role.ADMIN))
    assert tokens.client.request("GET", "/operator", headers=headers).headers["cache-control"] == "no-store"
    assert "cache-control" not in tokens.client.get("/public").headers


def test_failures_of_one_network_count_together() -> None:
    clock = ManualClock(0.0)
    failures = FailedLogins(clock, most=2)
    for address in ("2001:db8::1", "2001:db8::ffff:2", "10.0.0.1"):
        failures.note(address)
    assert failures.wait("2001:db8::3") == 60
    assert failures.wait("2001:db8:0:1::3") == 0
    assert failures.wait("10.0.0.1") == 0
    failures.note("::ffff:10.0.0.1")
    assert failures.wait("10.0.0.1") == 60
    for number in range(10_000):
        failures.note(f"host{number}")
    assert failures.wait("10.0.0.1") == 0, "so many are remembered, and no more"


def test_no_text_of_a_token_or_record_has_the_secret() -> None:
    text, record = mint("grafana", Role.OPERATOR, now=NOW)
    assert text[16:] not in repr(record)
    assert record.hash not in repr(record)
    assert len({mint("x", Role.ADMIN, now=NOW)[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("role", "subject", "text"),
    [
        (Role.CUSTOMER, "", 'the token "x" cannot be: say which customer'),
        (Role.PROVIDER, "", 'the token "x" cannot be: say which provider'),
        (Role.ADMIN, "acme", 'the token "x" cannot be: the role admin is of nobody\'s own'),
    ],
)
def test_a_token_is_somebodys(role: Role, subject: str, text: str) -> None:
    with pytest.raises(QuotaError) as error:
        mint("x", role, subject, now=NOW)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("identity", "sees"),
    [
        (Identity("a", Role.ADMIN), (True, True, True)),
        (Identity("o", Role.OPERATOR), (True, True, True)),
        (Identity("c", Role.CUSTOMER, "acme"), (True, False, False)),
        (Identity("c", Role.CUSTOMER, "other"), (False, True, False)),
        (Identity("p", Role.PROVIDER, "acme"), (False, False, True)),
    ],
    ids=str,
)
def test_a_customer_sees_its_own(identity: Identity, sees: tuple[bool, ...]) -> None:
    asked = ((Role.CUSTOMER, "acme"), (Role.CUSTOMER, "other"), (Role.PROVIDER, "acme"))
    assert tuple(identity.sees(role, name) for role, name in asked) == sees
