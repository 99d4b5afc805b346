"""Who asks, which route and which tier: told in the same way by the HTTP face and by both kinds of middleware.

Each rule has a limit of its own size, so the quotas that an answer names say what a request was found to be.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as AppRoute
from werkzeug.test import Client
from werkzeug.wrappers import Response as WsgiResponse

from carbonquota.limiter.faces.checker import FaceStats
from carbonquota.limiter.faces.http import replies
from carbonquota.limiter.faces.http.handlers import Handlers
from carbonquota.limiter.identity.address import ClientAddress, read_networks
from carbonquota.limiter.identity.heads import RequestHeadReader
from carbonquota.limiter.identity.keys import ApiKeys, KeyOwner
from carbonquota.limiter.identity.resolve import IdentityPolicy, IdentityResolver
from carbonquota.limiter.identity.routes import Route, Routes
from carbonquota.limiter.identity.tokens import TokenVerifier
from carbonquota.limiter.middleware import AsgiLimits, RequestLimits, WsgiLimits
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock
from carbonquota.web.jwt_tokens import JwtAuthenticator, JwtSettings
from tests.support.daemon import wait_until

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

DIGEST: Final = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
"""Of the API key "secret"."""

RULES: Final = """
domain: gateway
descriptors:
  - {key: user, value: ada, rate_limit: {unit: year, requests_per_unit: 1001}}
  - {key: key, value: acme, rate_limit: {unit: year, requests_per_unit: 1002}}
  - {key: remote_address, value: 198.51.100.7, rate_limit: {unit: year, requests_per_unit: 1003}}
  - {key: remote_address, value: 203.0.113.9, rate_limit: {unit: year, requests_per_unit: 1004}}
  - {key: route, value: item, rate_limit: {unit: year, requests_per_unit: 1005}}
  - {key: path.id, value: "7", rate_limit: {unit: year, requests_per_unit: 1006}}
  - key: tier
    rate_limit: {unit: year, requests_per_unit: 2000}
    tiers: {free: {requests_per_unit: 2001}, pro: {requests_per_unit: 2002}}
  - {key: host, value: quiet.example.org, challenge: true, rate_limit: {unit: year, requests_per_unit: 0}}
"""
USER, KEY, ADDRESS, STRANGER, ROUTE, PART, FREE, PRO = 1001, 1002, 1003, 1004, 1005, 1006, 2001, 2002
WORDS: Final = ("user", "key", "remote_address", "route", "path.id", "tier", "host")
SIGNERS: Final = {name: ed25519.Ed25519PrivateKey.generate() for name in ("old", "new")}


def token(kid: str = "old", **claims: object) -> str:
    """A token of Ada's that one of the provider's keys has signed."""
    payload = {"sub": "ada", "tier": "pro", "iss": "https://id", "aud": "gateway", "exp": time.time() + 600} | claims
    return jwt.encode(payload, SIGNERS[kid], "EdDSA", headers={"kid": kid})


class Provider:
    """An identity provider, whose key set changes."""

    def __init__(self) -> None:
        self.published = ["old"]
        self.clock = ManualClock(0.0)
        settings = JwtSettings("jwks.json", "https://id", "gateway")
        self.authenticator = JwtAuthenticator(settings, self.clock, lambda _: self.key_set())
        self.authenticator.load()
        self.verify = TokenVerifier(self.authenticator.verify, time.time).verify

    def key_set(self) -> str:
        keys = [
            OKPAlgorithm.to_jwk(SIGNERS[kid].public_key(), as_dict=True) | {"kid": kid, "alg": "EdDSA"}
            for kid in self.published
        ]
        return json.dumps({"keys": keys})


Ask = Callable[[str, str, Mapping[str, str], str], httpx.Response]
"""Method, path, headers, and the address that the request comes from."""


def asgi(limiter: Limiter, identity: IdentityResolver) -> Ask:
    async def hello(_: HttpRequest) -> Response:
        return PlainTextResponse("ok")

    app = Starlette(routes=[AppRoute("/{path:path}", hello, methods=["GET", "POST"])])
    app.add_middleware(AsgiLimits, limits=RequestLimits(limiter, identity))

    async def ask(method: str, path: str, headers: Mapping[str, str], peer: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example.org") as client:
            return await client.request(method, path, headers=headers)

    return lambda *asked: asyncio.run(ask(*asked))


def wsgi(limiter: Limiter, identity: IdentityResolver) -> Ask:
    def app(_: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    client = Client(WsgiLimits(app, RequestLimits(limiter, identity)), WsgiResponse)

    def ask(method: str, path: str, headers: Mapping[str, str], peer: str) -> httpx.Response:
        own = {"host": "api.example.org"} | dict(headers)
        with client.open(path, method=method, headers=own, environ_overrides={"REMOTE_ADDR": peer}) as got:
            return httpx.Response(got.status_code, headers=list(got.headers), content=got.data)

    return ask


def http_face(limiter: Limiter, identity: IdentityResolver) -> Ask:
    heads = RequestHeadReader(identity.addresses, original="request")
    handlers = Handlers(limiter, identity, heads, FaceStats())

    def ask(method: str, path: str, headers: Mapping[str, str], peer: str) -> httpx.Response:
        own = {"host": "api.example.org"} | dict(headers)
        raw = tuple((name.lower().encode(), value.encode()) for name, value in own.items())
        reply = handlers.handle(replies.HttpRequest(method, f"/check{path}", raw, peer))
        assert isinstance(reply, replies.Reply)
        return httpx.Response(reply.status, headers=list(reply.headers), content=reply.body)

    return ask


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture(params=[http_face, asgi, wsgi], ids=["HTTP", "ASGI", "WSGI"])
def ask(request: pytest.FixtureRequest, provider: Provider) -> Ask:
    identity = IdentityResolver(
        IdentityPolicy(descriptors=tuple((word,) for word in WORDS), tier="free"),
        ClientAddress(read_networks(["10.0.0.0/8"])),
        Routes([Route("item", "/items/{id}", methods=frozenset({"POST"}), host="*.example.org")]),
        ApiKeys({DIGEST: KeyOwner("acme", "pro")}),
        provider.verify,
    )
    made: Ask = request.param(Limiter(DomainRules.from_text(RULES, "limits.yaml")), identity)
    return made


def quotas(answer: httpx.Response) -> list[int]:
    """What the answer says that the request was held to."""
    assert answer.status_code == 200, answer.text
    return [int(quota) for quota in re.findall(r";q=(\d+)", answer.headers["ratelimit-policy"])]


@pytest.mark.parametrize(
    ("asked", "held_to"),
    [
        ({}, [STRANGER, FREE]),
        ({"authorization": f"Bearer {token()}"}, [USER, STRANGER, PRO]),
        ({"authorization": f"Bearer {token(tier='free')}"}, [USER, STRANGER, FREE]),
        ({"authorization": f"Bearer {token(exp=1.0)}"}, [STRANGER, FREE]),
        ({"authorization": f"Bearer {token(aud='others')}"}, [STRANGER, FREE]),
        ({"x-api-key": "secret"}, [KEY, STRANGER, PRO]),
        ({"x-api-key": "guess"}, [STRANGER, FREE]),
        ({"x-forwarded-for": "198.51.100.7"}, [STRANGER, FREE]),
    ],
    ids=["nobody", "a token", "its tier", "an old token", "for others", "a key", "a guess", "a forged address"],
)
def test_a_client_is_who_is_proven(ask: Ask, asked: dict[str, str], held_to: list[int]) -> None:
    assert quotas(ask("GET", "/", asked, "203.0.113.9")) == held_to


def test_only_trusted_proxies_tell_of_addresses(ask: Ask) -> None:
    by_proxy = {"x-forwarded-for": "203.0.113.9, 198.51.100.7, 10.0.0.2"}
    assert quotas(ask("GET", "/", by_proxy, "10.0.0.1")) == [ADDRESS, FREE]


@pytest.mark.parametrize(
    ("method", "host", "path", "held_to"),
    [
        ("POST", "api.example.org", "/items/7?x=1", [STRANGER, ROUTE, PART, FREE]),
        ("POST", "API.example.org:80", "/items/8", [STRANGER, ROUTE, FREE]),
        ("GET", "api.example.org", "/items/7", [STRANGER, FREE]),
        ("POST", "example.net", "/items/7", [STRANGER, FREE]),
        ("POST", "api.example.org", "/items/7/more", [STRANGER, FREE]),
    ],
    ids=["all fit", "another part", "another method", "another host", "another path"],
)
def test_a_route_is_told_by_method_host_and_path(
    ask: Ask, method: str, host: str, path: str, held_to: list[int]
) -> None:
    assert quotas(ask(method, path, {"host": host}, "203.0.113.9")) == held_to


def test_a_key_set_that_changes_is_read_anew(ask: Ask, provider: Provider) -> None:
    def bears(kid: str) -> list[int]:
        return quotas(ask("GET", "/", {"authorization": f"Bearer {token(kid)}"}, "203.0.113.9"))

    assert bears("new") == [STRANGER, FREE]
    provider.published = ["new"]
    # A token of an unknown key has the set read: beside the requests, which do not wait, and not at once again.
    assert bears("new") == [STRANGER, FREE]
    provider.clock.advance(31.0)
    wait_until(lambda: bears("new") == [USER, STRANGER, PRO], "the new key is not known")
    assert bears("old") == [STRANGER, FREE]


def test_a_refusal_says_when_to_come_again_and_that_a_challenge_would_do(ask: Ask) -> None:
    answer = ask("GET", "/", {"host": "quiet.example.org"}, "203.0.113.9")
    assert answer.status_code == 429
    assert answer.headers["x-ratelimit-verdict"] == "challenge"
    assert '"gateway.host_quiet.example.org";q=0;w=31536000' in answer.headers["ratelimit-policy"]
    assert '"gateway.host_quiet.example.org";r=0;t=' in answer.headers["ratelimit"]
