"""Measures the quota service: memory and start with a million customers, decisions, and utilization that is pushed.

Each figure is of one process on this machine; the database is SQLite in a temporary folder, and where --postgres gives
the URL of an empty database, that, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop
from grpc_load import body, grpc_seconds, head
from loopback_ports import free_port
from sqlalchemy import insert, update

from carbonquota.client.hub import HubClient
from carbonquota.client.hub_calls import CALLS
from carbonquota.client.messages import hub_pb2
from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.values import Actor, Provider, QuotaChange
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.hub.storage.database import Database
from carbonquota.hub.storage.tables import counters, customers, quotas

PROVIDERS: Final = ("disk", "flash", "tape")
LIMIT: Final = 10**12
ACTOR: Final = Actor("bench")
AT_ONCE: Final = 50_000


class Figures(dict[str, float]):
    """Measured values by name, each printed as it comes."""

    def __setitem__(self, name: str, value: float) -> None:
        """Have one more."""
        print(f"{name:56} {value:>14,.1f}", flush=True)
        super().__setitem__(name, value)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--postgres", default="", help="URL of an empty database")
    parser.add_argument("--json", default="", help="write the figures there, too")
    options = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        measure(f"sqlite:///{folder}/hub.sqlite", "sqlite", options.customers, figures)
        started(Path(folder), figures)
    if options.postgres:
        measure(options.postgres, "postgres", options.customers, figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


def measure(url: str, kind: str, count: int, figures: Figures) -> None:
    """Fill a database, and measure a hub on it."""
    hub = Hub(Database(url))
    hub.open()
    for provider in PROVIDERS:
        hub.providers.put(ACTOR, Provider(provider))
    fill(hub, count)
    hub.synchronizer.sync()
    names = [f"customer-{number}" for number in range(count)]
    begun = time.perf_counter()
    for provider in PROVIDERS:
        for some in stretches(names):
            hub.utilization.put(Measurement(provider, some, {"bytes": [12345] * len(some)}))
    figures[f"{kind} utilization pushed, values a second"] = 3 * count / (time.perf_counter() - begun)
    if kind == "sqlite":
        in_process(hub, names, figures)
        figures["overshoot of one process, bytes"] = overshoot(hub, [hub])
        others = [Hub(Database(url)) for _ in range(2)]
        for other in others:
            other.open()
        figures["overshoot of three servers, bytes"] = overshoot(hub, [hub, *others])
        for other in others:
            other.leases.end()
            other.close()
    hub.leases.end()
    hub.close()


def fill(hub: Hub, count: int) -> None:
    """Customers with a quota each, written right into the tables: an entry of the audit for each is not measured."""
    with hub.database.writing() as connection:
        for some in stretches(range(1, count + 1)):
            print(".", end="", file=sys.stderr, flush=True)
            connection.execute(insert(customers), [
                {"id": number, "name": f"customer-{number - 1}", "namespaces": "", "about": "", "deleted": False,
                 "change": 4} for number in some
            ])  # fmt: skip
            connection.execute(insert(quotas), [
                {"customer": number, "provider": 0, "bytes": LIMIT, "change": 4} for number in some
            ])  # fmt: skip
        for name, value in (("customer", count), ("change", 4)):
            connection.execute(update(counters).where(counters.c.name == name).values(value=value))


def stretches(values: Any) -> Iterator[Any]:  # noqa: ANN401 - a list or a range
    """Some at a time."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


def in_process(hub: Hub, names: list[str], figures: Figures) -> None:
    """Decisions without a network, once the server has reserved something."""
    some = names[:1000]
    hub.grants.write_ok_many(some, ["disk"] * 1000, [1000] * 1000)
    write_ok, count = hub.grants.write_ok, 100_000
    begun = time.process_time()
    for number in range(count):
        write_ok(some[number % 1000], "disk", 100)
    figures["write_ok in process, microseconds of the processor"] = (time.process_time() - begun) / count * 1e6
    providers, sizes = ["disk"] * 1000, [100] * 1000
    begun = time.perf_counter()
    for _ in range(100):
        hub.grants.write_ok_many(some, providers, sizes)
    figures["write_ok in process, batches of 1,000, a second"] = 100_000 / (time.perf_counter() - begun)


def overshoot(hub: Hub, servers: list[Hub]) -> float:
    """How many bytes more than its quota a customer is granted, when every server is asked all at once."""
    name, quota = f"small-{len(servers)}", 1_000_003
    hub.quotas.change(ACTOR, [QuotaChange(name, Amounts(bytes=quota))])
    for server in servers:
        server.synchronizer.sync()
    granted: list[int] = []

    def ask(server: Hub) -> None:
        granted.append(sum(server.grants.write_ok(name, "disk", 997).granted for _ in range(600)))

    run(ask, servers * 2)
    for server in servers:
        server.leases.hand_back(everything=True)
        ask(server)
    return float(max(0, sum(granted) - quota))


def run(function: Callable[[Any], None], arguments: list[Any]) -> None:
    """Call it with each argument, at once."""
    threads = [threading.Thread(target=function, args=(one,)) for one in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def started(folder: Path, figures: Figures) -> None:
    """A server as a process: start, memory, and decisions over gRPC."""
    http, grpc = free_port(), free_port()
    command = [sys.executable, "-m", "carbonquota.cli", "serve", "--database", f"sqlite:///{folder}/hub.sqlite"]
    command += ["--listen", f"127.0.0.1:{http}", "--grpc-listen", f"127.0.0.1:{grpc}"]
    command += ["--secret-file", str(folder / "secret"), "--log-level", "warning"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        client = HubClient(f"127.0.0.1:{grpc}", timeout=60)
        while not answers(client):
            time.sleep(0.05)
        figures["start until ready, seconds"] = time.perf_counter() - begun
        spent = psutil.Process(process.pid).cpu_times()
        figures["start until ready, seconds of the processor"] = spent.user + spent.system
        figures["memory, MB"] = psutil.Process(process.pid).memory_info().rss / 1e6
        over_grpc(client, f"127.0.0.1:{grpc}", figures)
    finally:
        process.terminate()
        process.wait(30)


def answers(client: HubClient) -> bool:
    """Whether the server answers already."""
    try:
        return client.write_ok("customer-0", "disk", 1).ok
    except Exception:  # noqa: BLE001 - any error is that it does not
        return False


def over_grpc(client: HubClient, address: str, figures: Figures) -> None:
    """Decisions over gRPC, one by one and in batches.

    Python's own client, by eight threads with a connection each, takes more of a core than the server: so a load that
    costs little itself is told beside it, 64 calls in flight over eight connections.
    """
    names, sizes = [f"customer-{number}" for number in range(1000)], [100] * 1000
    client.write_ok_many(names, ["disk"], [1000] * 1000)
    each = 1000

    def ask(_: object) -> None:
        with HubClient(address, timeout=60) as one:
            for number in range(each):
                one.write_ok(names[number], "disk", 100)

    begun = time.perf_counter()
    run(ask, list(range(8)))
    figures["write_ok over gRPC, one by one, Python's client, a second"] = 8 * each / (time.perf_counter() - begun)
    asked = [body(hub_pb2.WriteRequest(customer=name, provider="disk", size=100)) for name in names]
    took = uvloop.run(grpc_seconds(port_of(address), 20 * each, asked, head(CALLS["WriteOk"].path), 8))
    figures["write_ok over gRPC, one by one, a second"] = 20 * each / took
    begun = time.perf_counter()
    for _ in range(200):
        client.write_ok_many(names, ["disk"], sizes)
    figures["write_ok over gRPC, batches of 1,000, a second"] = 200_000 / (time.perf_counter() - begun)


def port_of(address: str) -> int:
    """The port of `host:port`."""
    return int(address.rpartition(":")[2])


if __name__ == "__main__":
    main()
