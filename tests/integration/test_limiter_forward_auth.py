"""Traefik, Caddy and HAProxy before a real application, all asking one limiter: examples/gateways, but for ports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from loopback_ports import free_port

from tests.support.daemon import wait_until
from tests.support.gateways import EXAMPLES, Application, example_limiter, filled, gateway, patient
from tests.support.limiter import LimiterProcess, document, running, statuses

TRAEFIK_ENTRY = """
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: traefik.yaml}}}}
"""
"""Traefik's static configuration: what its dynamic one, the example, cannot say."""


@dataclass(frozen=True)
class Scene:
    """The gateways' URLs by name, or what a gateway lacks; behind them one application, beside them one limiter."""

    urls: Mapping[str, str]
    lacks: Mapping[str, str]
    application: Application
    limiter: LimiterProcess

    def url(self, name: str) -> str:
        """Where a gateway listens; a test skips where there is none."""
        if name in self.lacks:
            pytest.skip(self.lacks[name])
        return self.urls[name]


class _LacksError(Exception):
    """A gateway cannot be run here, and why."""


def _program(name: str) -> str:
    """A gateway's program, beside this Python or where the system has it."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        raise _LacksError(f"{name} is not installed")
    return found


def _traefik(folder: Path, port: int, ports: dict[int, int]) -> list[str]:
    (folder / "traefik.yaml").write_text(filled("traefik.yaml", ports))
    (folder / "static.yaml").write_text(TRAEFIK_ENTRY.format(port=port))
    return [_program("traefik"), "--configFile=static.yaml"]


def _caddy(folder: Path, port: int, ports: dict[int, int]) -> list[str]:
    # Its own administration is not needed here, and would be at a port that others use.
    text = "{\n\tadmin off\n}\n" + filled("Caddyfile", ports | {10000: port})
    (folder / "Caddyfile").write_text(text)
    return [_program("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


def _haproxy(folder: Path, port: int, ports: dict[int, int]) -> list[str]:
    program = _program("haproxy")
    if "+LUA" not in subprocess.run([program, "-vv"], capture_output=True, text=True, check=True).stdout:
        raise _LacksError("this haproxy is built without Lua")
    (folder / "limit.lua").write_text(patient((EXAMPLES / "limit.lua").read_text()))
    (folder / "haproxy.cfg").write_text(filled("haproxy.cfg", ports | {10000: port, 10001: free_port()}))
    return [program, "-f", "haproxy.cfg"]


GATEWAYS: Final[dict[str, Callable[[Path, int, dict[int, int]], list[str]]]] = {
    "traefik": _traefik,
    "caddy": _caddy,
    "haproxy": _haproxy,
}
CLIENTS: Final = {"traefik": "127.0.0.11", "caddy": "127.0.0.12", "haproxy": "127.0.0.13"}
"""The client of each gateway comes from an address of its own, and so has limits of its own."""
AWAY: Final = {"traefik": 500, "caddy": 502, "haproxy": 200}
"""What a request is answered while the limiter is away."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("gateways")
    urls, lacks = {}, {}
    with running(example_limiter(folder)) as limiter, Application().running() as application, ExitStack() as stack:
        for name, prepare in GATEWAYS.items():
            port, own = free_port(), folder / name
            own.mkdir()
            try:
                command = prepare(own, port, {9000: application.port, 8080: limiter.port("HTTP")})
            except _LacksError as error:
                lacks[name] = str(error)
                continue
            stack.enter_context(gateway(command, own, port))
            urls[name] = f"http://127.0.0.1:{port}"
        yield Scene(urls, lacks, application, limiter)


@pytest.mark.parametrize("name", GATEWAYS)
def test_limits_are_exact_under_load_whatever_a_client_makes_up(scene: Scene, name: str) -> None:
    url, before = scene.url(name), scene.application.requests
    with httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENTS[name]), base_url=url, timeout=30) as client:
        # Traefik listens before it has its routes.
        wait_until(lambda: client.get("/things?x=1").status_code == 200, "no request passes", 30)
        logins = [client.post(f"/login?n={n}").status_code for n in range(15)]
        assert logins == [200] * 10 + [429] * 5
        made_up = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/login"}
        made_up |= {"X-Api-Key": "guess", "X-Forwarded-Host": "elsewhere"}
        assert Counter(statuses(url, 500, 32, CLIENTS[name], headers=made_up)) == {200: 89, 429: 411}
        assert scene.application.requests - before == 100
        refused = client.get("/")
    assert document(refused)["status"] == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 31_536_000
    assert refused.headers["ratelimit"].startswith('"gateway.client";r=0;t=')
    assert refused.headers["ratelimit-policy"] == '"gateway.client";q=100;w=31536000'
    assert refused.headers["x-ratelimit-verdict"] == "limit"


@pytest.mark.parametrize("name", GATEWAYS)
def test_without_the_limiter_each_answers_as_the_documentation_says(scene: Scene, name: str) -> None:
    url = scene.url(name)
    if scene.limiter.process is not None and scene.limiter.process.poll() is None:
        scene.limiter.stop(9)
    assert httpx.get(url, trust_env=False, timeout=30).status_code == AWAY[name]
