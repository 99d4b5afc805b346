"""The limiter inside of real applications, by ASGI (Starlette) and WSGI (Werkzeug), asked through their own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as AppRoute
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from werkzeug.test import Client
from werkzeug.wrappers import Response as WsgiResponse

from carbonquota.limiter.identity.address import ClientAddress, read_networks
from carbonquota.limiter.identity.resolve import IdentityPolicy, IdentityResolver
from carbonquota.limiter.identity.routes import Route, Routes
from carbonquota.limiter.middleware import AsgiLimits, RequestLimits, WsgiLimits
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

RULES = """
domain: app
descriptors:
  - key: client
    rate_limit: {unit: minute, requests_per_unit: 2}
  - key: route
    value: slow
    rate_limit: {algorithm: concurrency, requests_per_unit: 1, unit: minute}
"""
HEADERS = ["ratelimit-policy", "ratelimit"]


def limits(*, needs_identity: bool = False) -> RequestLimits:
    identity = IdentityResolver(
        IdentityPolicy("app", (("client",), ("route",)), needs_identity=needs_identity),
        ClientAddress(read_networks(["10.0.0.1", "127.0.0.1"])),
        Routes([Route("slow", "/slow/{name}", descriptors=(("route",),))]),
    )
    return RequestLimits(Limiter(DomainRules.from_text(RULES, "limits.yaml"), clock=ManualClock(1_000_000.0)), identity)


class Requester(Protocol):
    """What asks an application."""

    def get(self, path: str, headers: dict[str, str]) -> httpx.Response:
        """The answer to a request that came by a proxy on this machine."""


class Asgi:
    """An ASGI application and its client."""

    def __init__(self, one: RequestLimits) -> None:
        routes = [AppRoute("/", self.hello), AppRoute("/slow/{name}", self.slow), WebSocketRoute("/talk", self.talk)]
        self.app = Starlette(routes=routes)
        self.app.add_middleware(AsgiLimits, limits=one)

    async def hello(self, _: HttpRequest) -> Response:
        return PlainTextResponse("hello", headers={"x-own": "1"})

    async def slow(self, request: HttpRequest) -> Response:
        inner = await self.ask("/slow/inner", told("198.51.100.50"))
        if request.path_params["name"] == "bug":
            raise RuntimeError
        return PlainTextResponse(str(inner.status_code))

    async def talk(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    async def ask(self, path: str, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
            return await client.get(path, headers=headers)

    def get(self, path: str, headers: dict[str, str]) -> httpx.Response:
        return asyncio.run(self.ask(path, headers))


def told(address: str) -> dict[str, str]:
    return {"x-forwarded-for": f"203.0.113.99, {address}"}


class Wsgi:
    """A WSGI application's client that answers as httpx does."""

    def __init__(self, one: RequestLimits) -> None:
        self.client = Client(WsgiLimits(self.app, one), WsgiResponse)

    def app(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        name = environ["PATH_INFO"].rpartition("/")[2]
        told_inner = str(self.get("/slow/inner", told("198.51.100.50")).status_code) if name else "hello"
        if name == "bug":
            raise RuntimeError
        start_response("200 OK", [("x-own", "1")])
        return [told_inner.encode()]

    def get(self, path: str, headers: dict[str, str]) -> httpx.Response:
        environ = {"REMOTE_ADDR": "127.0.0.1"}
        try:
            got = self.client.get(path, headers=headers, environ_overrides=environ)
        except RuntimeError:
            return httpx.Response(500)
        with got:
            return httpx.Response(got.status_code, headers=list(got.headers), content=got.data)


@pytest.fixture(params=[Asgi, Wsgi], ids=["asgi", "wsgi"])
def client(request: pytest.FixtureRequest) -> Requester:
    made: Requester = request.param(limits())
    return made


def test_requests_pass_until_the_limit_and_are_told_of_it(client: Requester) -> None:
    answers = [client.get("/", headers=told("198.51.100.1")) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[0].text == "hello"
    assert answers[0].headers["x-own"] == "1"
    assert answers[0].headers["ratelimit-policy"] == '"app.client";q=2;w=60'
    assert answers[1].headers["ratelimit"].startswith('"app.client";r=0;t=')
    assert answers[2].json() == {"title": "Too Many Requests", "status": 429}
    assert "retry-after" in answers[2].headers
    assert client.get("/", headers=told("198.51.100.2")).status_code == 200


def test_a_request_in_flight_gives_its_place_back_when_it_is_done_or_fails(client: Requester) -> None:
    # While one is in flight there is no room for another; afterwards there is again.
    for _ in range(3):
        answer = client.get("/slow/outer", headers=told("198.51.100.3"))
        assert (answer.status_code, answer.text) == (200, "429")
        assert client.get("/slow/bug", headers=told("198.51.100.3")).status_code == 500


def test_websockets_are_counted_too() -> None:
    app = Asgi(limits()).app

    async def connect() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:  # noqa: ANN401 - as ASGI has it
            sent.append((message["type"], message.get("code")))

        headers = [(name.encode(), value.encode()) for name, value in told("198.51.100.4").items()]
        scope = {"type": "websocket", "path": "/talk", "headers": headers, "client": ("127.0.0.1", 1)}
        await app(scope, receive, send)
        return sent

    spoken = [("websocket.accept", None), ("websocket.close", 1000)]
    assert [asyncio.run(connect()) for _ in range(3)] == [spoken, spoken, [("websocket.close", 1013)]]


@pytest.mark.parametrize("make", [Asgi, Wsgi], ids=["asgi", "wsgi"])
def test_where_it_is_needed_nobody_passes_without_saying_who_it_is(make: Callable[[RequestLimits], Requester]) -> None:
    answer = make(limits(needs_identity=True)).get("/", told("198.51.100.1"))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
