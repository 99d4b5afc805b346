"""Two real daemons of mode sync with a network between them that can be cut in two."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loopback_ports import free_ports

from tests.support.daemon import Daemon, wait_until
from tests.support.proxies import TcpProxy

LONG = 3_600
"""Seconds of an interval of which no end comes."""


@dataclass(frozen=True, slots=True)
class Halves:
    """The daemons, and what each is reached through by the other."""

    daemons: tuple[Daemon, ...]
    proxies: tuple[TcpProxy, ...]

    def cut(self) -> None:
        """Let nothing through any more."""
        for proxy in self.proxies:
            proxy.cut()

    def heal(self) -> None:
        """Let everything through."""
        for proxy in self.proxies:
            proxy.mend()

    def offer(self, number: int, metrics: list[str]) -> None:
        """A point for each of these at one node, decided when this returns."""
        daemon = self.daemons[number]
        before = daemon.counts().received
        daemon.send("".join(f"{metric} 1 {int(time.time())}\n" for metric in metrics))
        wait_until(lambda: daemon.counts().received == before + len(metrics), daemon.log)

    def usage(self, number: int, namespace: str) -> dict[str, int]:
        """What all nodes use of the limits of a namespace by the word of one, by control."""
        explained = json.loads(self.daemons[number].get(f"/api/explain?of=cluster&metric={namespace}.any")[1])
        controls = explained["metrics"][0]["namespaces"][-1]["controls"]
        return {control["control"]: control["usage"] for control in controls}

    def know(self, namespace: str, **usage: int) -> bool:
        """Whether each node knows that all together use this."""
        return all(self.usage(number, namespace) == usage for number in range(len(self.daemons)))

    def seconds_until_known(self, namespace: str, within: float, **usage: int) -> float:
        """How long it takes from now until each node knows that all together use this."""
        begun = time.monotonic()
        while not self.know(namespace, **usage):
            assert time.monotonic() < begun + within, [self.usage(number, namespace) for number in range(2)]
            time.sleep(0.002)
        return time.monotonic() - begun


@contextmanager
def two_halves(folder: Path, rules: str, sync_interval: float, destination: int) -> Iterator[Halves]:
    """Two daemons that know of each other."""
    ports = free_ports(2)
    with ExitStack() as stack:
        proxies = tuple(TcpProxy(port) for port in ports)
        for proxy in proxies:
            stack.callback(proxy.close)
        daemons = []
        for number, port in enumerate(ports):
            settings = f"""[cluster]
mode = "sync"
listen = "127.0.0.1:{port}"
peers = ["127.0.0.1:{proxies[1 - number].port}"]
sync-interval = "{round(sync_interval * 1000)}ms"
"""
            node = folder / f"node{number}"
            daemon = Daemon(node, rules=rules, destination=destination, interval=LONG, more=settings)
            stack.callback(daemon.kill)
            daemons.append(daemon.start(ready=False))
        for daemon in daemons:
            daemon.await_ready()
        for daemon in daemons:
            wait_until(lambda: daemon.count("cluster_nodes") == len(daemons), daemon.log)  # noqa: B023
            wait_until(lambda: daemon.count("cluster_claims_ready"), daemon.log)  # noqa: B023
        yield Halves(tuple(daemons), proxies)
