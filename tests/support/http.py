"""The daemon's HTTP interface over a small real engine: asked in this process, or served on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
from starlette.types import ASGIApp

from carbonquota import QuotaEngine
from carbonquota.daemon.http import DaemonStatus, HttpServer, HttpSource, ReloadAnswer, ReloadStatus, make_app
from carbonquota.service.health import Health
from carbonquota.service.values.address import Address
from tests.support.small import engine_under

RULES = """\
[/]
metrics = 10
namespaces = 3

[team.*]
metrics = 4
throughput = 3

[team.b]
metrics = 2
dropping-policy = none
"""
NAMES = ("team.a.x", "team.a.y", "team.a.z", "team.b.p", "team.b.q", "other.m", "cpu.idle;host=a")

STATUS = DaemonStatus(ready=True, reload=ReloadStatus(ok=True, time=100.0), kernel="plain", version="1.2.3", uptime=5.0)


def engine_with_names(rules: str = RULES) -> QuotaEngine:
    """An engine that holds `NAMES`."""
    engine = engine_under(rules)
    for name in NAMES:
        engine.load(name)
    return engine


def source_of(engine: QuotaEngine, **changes: object) -> HttpSource:
    """A source that is well, but for the changes."""
    parts: dict[str, Any] = {
        "engine": engine,
        "health": Health(),
        "metrics": lambda: [b"up 1\n"],
        "status": lambda: STATUS,
        "reload": lambda: ReloadAnswer(ok=True, text="applied"),
    }
    return HttpSource(**(parts | changes))


class Client:
    """Asks an application in this process, and gets a 500 where it raises."""

    def __init__(self, app: ASGIApp, address: str = "127.0.0.1") -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 123))

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - as httpx has it
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await client.request(method, path, **request)

        return asyncio.run(ask())

    def get_together(self, path: str, count: int) -> list[httpx.Response]:
        """So many requests at once."""

        async def ask() -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await asyncio.gather(*(client.get(path) for _ in range(count)))

        return asyncio.run(ask())

    def get(self, path: str, **query: object) -> httpx.Response:
        return self.request("GET", path, params=cast("dict[str, Any]", query) or None)

    def json(self, path: str, **query: object) -> Any:  # noqa: ANN401 - as wide as JSON
        """The document of a request that must succeed."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()


def client_of(source: HttpSource) -> Client:
    """A client of the daemon's application."""
    return Client(make_app(source))


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """A server of an application on a free port of loopback, by its URL."""
    server = HttpServer(app, Address("127.0.0.1", 0))
    asyncio.run(server.start())
    try:
        yield f"http://{server.address}"
    finally:
        asyncio.run(server.stop(5.0))
