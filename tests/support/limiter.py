"""A real limiter as a process, on free ports with its files in a folder; and who asks it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

from tests.support import preloaded
from tests.support.daemon import wait_until
from tests.support.preloaded import Process

PATIENCE = 30.0
"""Seconds that anything may take before a test gives up."""

SETTINGS = """
[limiter]
rules = "limits.yaml"
{limiter}
[grpc]
listen = "127.0.0.1:0"
{grpc}
[http]
listen = "127.0.0.1:0"
{http}
[admin]
listen = "127.0.0.1:0"
[identity]
trusted-proxies = ["127.0.0.1"]
{identity}
{more}
"""


class LimiterProcess:
    """One limiter in a folder; it may be started, killed and started again there."""

    def __init__(self, folder: Path, rules: str, **sections: str) -> None:
        """Write its files; `sections` add lines to limiter, grpc, http and identity, and `more` behind all."""
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.rules = folder / "limits.yaml"
        self.rules.write_text(rules)
        self.configuration = folder / "limiter.toml"
        empty = dict.fromkeys(("limiter", "grpc", "http", "identity", "more"), "")
        self.configuration.write_text(SETTINGS.format(**(empty | sections)))
        self.log_path = folder / "log"
        self.process: Process | None = None

    @property
    def log(self) -> str:
        """All it has logged since it was last started."""
        return self.log_path.read_text(errors="replace")

    def start(self) -> LimiterProcess:
        """Start it, and wait until it is ready."""
        return self.begin().await_ready()

    def begin(self) -> LimiterProcess:
        """Start it."""
        with self.log_path.open("wb") as log:
            self.process = preloaded.start(
                ["limit", "--config", str(self.configuration)],
                output=log,
                environment=os.environ | {"PYTHONWARNINGS": "error"},
            )
        return self

    def await_ready(self) -> LimiterProcess:
        """Wait until it is ready."""
        wait_until(self._is_ready, lambda: f"not ready: {self.log}", PATIENCE)
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"ended: {self.log}"
        return "ready: " in self.log

    def stop(self, number: int = 15) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def address(self, face: str) -> str:
        """Where it listens for `gRPC`, `HTTP` or `administration`."""
        found = re.search(rf"listening for {face} on (127\.0\.0\.1:\d+)", self.log)
        assert found, self.log
        return found[1]

    def port(self, face: str) -> int:
        """The port alone."""
        return int(self.address(face).rpartition(":")[2])

    @contextmanager
    def http(self) -> Iterator[httpx.Client]:
        """A client of its HTTP face."""
        with httpx.Client(base_url=f"http://{self.address('HTTP')}", timeout=PATIENCE, trust_env=False) as client:
            yield client

    @contextmanager
    def admin(self) -> Iterator[httpx.Client]:
        """A client of its administration."""
        base = f"http://{self.address('administration')}"
        with httpx.Client(base_url=base, timeout=PATIENCE, trust_env=False) as client:
            yield client

    @contextmanager
    def envoy(self) -> Iterator[Any]:
        """A stub of Envoy's service."""
        with grpc.insecure_channel(self.address("gRPC"), [("grpc.enable_http_proxy", 0)]) as channel:
            yield rls_pb2_grpc.RateLimitServiceStub(channel)

    def metrics(self) -> dict[str, float]:
        """The values of `/metrics` by name and labels."""
        with self.admin() as admin:
            page = admin.get("/metrics").raise_for_status().text
        rows = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in rows}


@contextmanager
def limiter(folder: Path, rules: str, **sections: str) -> Iterator[LimiterProcess]:
    """A limiter that runs for as long as the block does."""
    with running(LimiterProcess(folder, rules, **sections)) as one:
        yield one


@contextmanager
def several(*processes: LimiterProcess) -> Iterator[list[LimiterProcess]]:
    """They run for as long as the block does, started side by side."""
    try:
        for one in processes:
            one.begin()
        yield [one.await_ready() for one in processes]
    finally:
        for one in processes:
            if one.process is not None and one.process.poll() is None:
                one.process.kill()
                one.process.wait()


@contextmanager
def running(one: LimiterProcess) -> Iterator[LimiterProcess]:
    """It runs for as long as the block does."""
    with several(one):
        yield one


def question(domain: str, *descriptors: Mapping[str, str], hits: int = 0) -> Any:  # noqa: ANN401 - without types
    """A RateLimitRequest."""
    message = rls_pb2.RateLimitRequest(domain=domain, hits_addend=hits)
    for entries in descriptors:
        descriptor = message.descriptors.add()
        for key, value in entries.items():
            descriptor.entries.add(key=key, value=value)
    return message


def statuses(
    url: str,
    times: int,
    at_once: int = 64,
    address: str | None = None,
    **request: Any,  # noqa: ANN401 - as httpx takes it
) -> list[int]:
    """What so many requests are answered with, so many of them at a time, from an address of this machine."""
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    transport = httpx.HTTPTransport(limits=limits, local_address=address)
    with httpx.Client(transport=transport, timeout=PATIENCE) as client, ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda _: client.get(url, **request).status_code, range(times)))


def document(answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """The JSON of an answer."""
    return json.loads(answer.text)
