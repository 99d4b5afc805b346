"""A real nginx with auth_request in front of a real application: examples/gateways/nginx.conf as it stands."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from loopback_ports import free_port

from tests.support.gateways import Application, example_limiter, filled, gateway
from tests.support.limiter import LimiterProcess, document, running, statuses

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def what_lacks() -> str:
    """Why there is no nginx to run; "" where there is."""
    if NGINX is None:
        return "nginx is not installed: install the package nginx-light or nginx"
    built = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=False).stderr
    return "" if "http_auth_request_module" in built else "this nginx is built without http_auth_request_module"


@dataclass(frozen=True)
class Scene:
    """nginx at a URL, the application behind it and the limiter beside it."""

    url: str
    application: Application
    limiter: LimiterProcess


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if lacks := what_lacks():
        pytest.skip(lacks)
    folder = tmp_path_factory.mktemp("nginx")
    with running(example_limiter(folder)) as limiter, Application().running() as application:
        port = free_port()
        ports = {10000: port, 9000: application.port, 8080: limiter.port("HTTP")}
        (folder / "nginx.conf").write_text(filled("nginx.conf", ports))
        command = [str(NGINX), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
        with gateway(command, folder, port):
            yield Scene(f"http://127.0.0.1:{port}", application, limiter)


def test_limits_are_exact_under_load_whatever_a_client_makes_up(scene: Scene) -> None:
    before = scene.application.requests
    first = httpx.get(f"{scene.url}/things?x=1", trust_env=False)
    assert (first.status_code, first.text) == (200, "ok")
    assert first.headers["ratelimit-policy"] == '"gateway.client";q=100;w=31536000'
    assert first.headers["ratelimit"].startswith('"gateway.client";r=99;t=')
    made_up = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Uri": "/free", "X-Api-Key": "guess"}
    assert Counter(statuses(f"{scene.url}/", 1_000, 64, headers=made_up)) == {200: 99, 429: 901}
    assert scene.application.requests - before == 100
    refused = httpx.get(f"{scene.url}/", trust_env=False)
    assert document(refused)["status"] == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 31_536_000
    assert refused.headers["ratelimit"].startswith('"gateway.client";r=0;t=')
    assert refused.headers["x-ratelimit-verdict"] == "limit"


def test_without_the_limiter_requests_pass_and_a_route_is_told_by_method_and_path(scene: Scene) -> None:
    before = scene.limiter.port("HTTP")
    scene.limiter.stop(9)
    assert httpx.get(f"{scene.url}/", trust_env=False).status_code == 200
    text = scene.limiter.configuration.read_text()
    text = text.replace('[http]\nlisten = "127.0.0.1:0"', f'[http]\nlisten = "127.0.0.1:{before}"')
    scene.limiter.configuration.write_text(text)
    scene.limiter.start()
    logins = [httpx.post(f"{scene.url}/login?n={n}", trust_env=False).status_code for n in range(15)]
    assert logins == [200] * 10 + [429] * 5
    assert httpx.get(f"{scene.url}/login", trust_env=False).status_code == 200
