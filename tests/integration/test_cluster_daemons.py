"""Real daemons that share throughput limits over ZeroMQ: exactness is counted at the destination."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
import zmq
from loopback_ports import free_ports

from tests.support.daemon import Daemon, wait_until
from tests.support.valkey import ValkeyServer, valkey_server

LIMIT = 3_000
RULES = f"[team.*]\nthroughput = {LIMIT}\n"
STOCK_RULES = RULES + "[stock.*]\nmetrics = 100\n[group.*]\nnamespaces = 10\n"
INTERVAL = 3_600
"""Seconds: no interval ends while a test runs, but for one at a full hour."""
SYNC = 0.05
SLACK = 2.5
"""Seconds that a node may be late on a busy machine."""
SLICES_INTERVAL = 2
"""Seconds: some intervals pass in a test."""


class Collector:
    """Takes what relays send, and counts the points of each metric's second part."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.lines: list[bytes] = []
        self._ended = Event()
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            for line in stream:
                self.lines.append(line)

    def count(self, team: bytes) -> int:
        """How many distinct points of a team came; each has a value of its own, as relays may send some again."""
        return len({line for line in self.lines.copy() if line.startswith(b"team." + team + b".")})

    def metrics(self, beginning: bytes) -> set[bytes]:
        """The distinct metrics that came."""
        return {line.split()[0] for line in self.lines.copy() if line.startswith(beginning)}

    def close(self) -> None:
        self._server.close()


@contextmanager
def cluster(
    folder: Path, size: int, collector: Collector, more: str = "", rules: str = RULES
) -> Iterator[list[Daemon]]:
    ports = free_ports(size)
    peers = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    with ExitStack() as stack:
        daemons = []
        for number, port in enumerate(ports):
            settings = f"""[cluster]
mode = "sync"
name = "test"
listen = "127.0.0.1:{port}"
peers = [{peers}]
sync-interval = "{round(SYNC * 1000)}ms"
{more}"""
            daemon = Daemon(
                folder / f"node{number}", rules=rules, destination=collector.port, interval=INTERVAL, more=settings
            )
            stack.callback(daemon.kill)
            daemons.append(daemon.start(ready=False))
        meet(daemons)
        yield daemons


def meet(daemons: list[Daemon]) -> None:
    """Wait until all are ready and know of each other."""
    for daemon in daemons:
        daemon.await_ready()
    for daemon in daemons:
        wait_until(partial(sees, daemon, len(daemons)), "they do not find each other")


@contextmanager
def sharing_a_store(
    folder: Path, size: int, collector: Collector, store: str, on_outage: str = "share", rules: str = RULES
) -> Iterator[list[Daemon]]:
    settings = f"""[cluster]
mode = "slices"
name = "test"
store = "{store}"
store-timeout = "1s"
sync-interval = "50ms"
on-outage = "{on_outage}"
reports = "cluster"
"""
    with ExitStack() as stack:
        daemons = []
        for number in range(size):
            node = folder / f"node{number}"
            daemon = Daemon(node, rules=rules, destination=collector.port, interval=SLICES_INTERVAL, more=settings)
            stack.callback(daemon.kill)
            daemons.append(daemon.start(ready=False))
        meet(daemons)
        yield daemons


def sees(daemon: Daemon, size: int) -> bool:
    """Whether a node knows of so many, itself included."""
    return daemon.count("cluster_nodes") == size


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[list[Daemon]]:
    """Three nodes of mode sync; each test has namespaces of its own."""
    with cluster(tmp_path_factory.mktemp("peers"), 3, collector, rules=STOCK_RULES) as daemons:
        yield daemons


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("store") / "valkey") as running:
        yield running


@pytest.fixture(scope="module")
def sharers(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, server: ValkeyServer
) -> Iterator[list[Daemon]]:
    """Three nodes of mode slices; each test has namespaces of its own."""
    folder = tmp_path_factory.mktemp("sharers")
    with sharing_a_store(folder, 3, collector, server.url, "reject", STOCK_RULES) as daemons:
        yield daemons


class Sender:
    """Sends points to a daemon at a steady rate, each line another than all others."""

    def __init__(self, daemon: Daemon, name: str, team: str, rate: int) -> None:
        self._daemon, self._name, self._team, self._rate = daemon, name, team, rate
        self._ended = Event()
        self.sent = 0
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError), self._daemon.connect() as connection:
            while not self._ended.wait(0.02):
                now = int(time.time())
                lines = [f"team.{self._team}.{self._name} {self.sent + k} {now}\n" for k in range(self._rate // 50)]
                connection.sendall("".join(lines).encode())
                self.sent += len(lines)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


def test_a_limit_is_one_for_all_nodes(peers: list[Daemon], collector: Collector) -> None:
    rate, size = 1_000, 3
    senders = [Sender(daemon, f"n{number}", "a", rate) for number, daemon in enumerate(peers)]
    wait_until(lambda: min(sender.sent for sender in senders) > LIMIT, "the senders stand still", patience=60)
    for sender in senders:
        sender.stop()
    wait_until(lambda: collector.count(b"a") >= LIMIT, lambda: f"{collector.count(b'a')} came")
    time.sleep(0.5)
    over = collector.count(b"a") - LIMIT
    # With some slack for a busy machine; alone each node would have let in the whole limit.
    assert 0 <= over <= (size - 1) * rate * (SYNC + SLACK) < (size - 1) * LIMIT


def test_a_node_that_is_killed_and_comes_back_changes_nothing_of_it(peers: list[Daemon], collector: Collector) -> None:
    rate, size = 1_000, 3
    senders = [Sender(daemon, f"n{number}", "b", rate) for number, daemon in enumerate(peers)]
    wait_until(lambda: collector.count(b"b") > LIMIT // 3, "nothing comes", patience=60)
    peers[0].kill()
    # What it accepted is known to the others and, by their word, to itself when it is back.
    peers[0].start()
    wait_until(partial(sees, peers[0], size), peers[0].log)
    senders[0].stop()
    senders[0] = Sender(peers[0], "again", "b", rate)
    wait_until(lambda: min(sender.sent for sender in senders) > LIMIT, "the senders stand still", patience=60)
    for sender in senders:
        sender.stop()
    time.sleep(0.5)
    over = collector.count(b"b") - LIMIT
    assert over <= (size - 1) * rate * (SYNC + SLACK)


def test_who_has_not_the_key_is_not_heard(tmp_path: Path, collector: Collector) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(zmq.curve_keypair()[1])
    with cluster(tmp_path, 2, collector, f'key-file = "{tmp_path / "one"}"') as daemons:
        stranger = daemons[1]
        stranger.stop()
        text = stranger.configuration.read_text()
        stranger.configuration.write_text(text.replace(str(tmp_path / "one"), str(tmp_path / "other")))
        stranger.start()
        time.sleep(1.0)
        assert sees(stranger, 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('mode = "sink"', 'mode: unknown word "sink"'),
        ('mode = "sync"\nlisten = ":2005"', "the cluster would listen at :2005 for everybody who can reach it"),
        ('mode = "sync"\npeers = "a:1"', "peers: this is a list, not the text"),
        ('mode = "sync"\npeers = ["a"]', 'peers: "a" is no host:port, nor dns://name:port'),
        ('mode = "sync"\nname = ""', "name: this cannot be empty"),
        ('mode = "sync"\nsync-interval = "1ms"', "sync-interval: "),
        ('mode = "sync"\nkey-file = "nowhere"', "[cluster] key-file: "),
        ('mode = "sync"\nlisten = "127.0.0.1:{taken}"', "[cluster] listen: cannot listen at 127.0.0.1:"),
    ],
    ids=["mode", "public", "no list", "no peer", "no name", "too quick", "no key", "port taken"],
)
def test_a_bad_setting_is_one_clear_error(tmp_path: Path, keys: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = "[cluster]\n" + keys.replace("{taken}", str(taken.getsockname()[1]))
        daemon = Daemon(tmp_path / "daemon", more=more)
        command = [sys.executable, "-m", "carbonquota.cli", "run", "--config", str(daemon.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_limit_in_a_store_is_not_passed_by_one_while_nodes_and_the_store_are_killed(
    sharers: list[Daemon], server: ValkeyServer, collector: Collector
) -> None:
    size, rate, dice = 3, 2_000, random.Random(5)
    first = time.time() // SLICES_INTERVAL
    senders = [Sender(daemon, f"n{number}", "k", rate) for number, daemon in enumerate(sharers)]
    for turn in range(3):
        time.sleep(SLICES_INTERVAL / 2 + dice.random())
        if turn == 1:
            server.kill()
            server.start()
        else:
            number = dice.randrange(size)
            senders[number].stop()
            sharers[number].kill()
            sharers[number].start()
            senders[number] = Sender(sharers[number], f"again{turn}", "k", rate)
    # All nodes together ask for several times the limit, so when all are well again it is let in once and again.
    before = collector.count(b"k")
    wait_until(lambda: collector.count(b"k") > before + LIMIT, "hardly anything is let in")
    for sender in senders:
        sender.stop()
    count = collector.count(b"k")
    intervals = round(time.time() // SLICES_INTERVAL - first) + 1
    assert count <= intervals * LIMIT


def test_the_first_points_of_a_namespace_wait_for_their_slice_and_none_is_lost(
    sharers: list[Daemon], collector: Collector
) -> None:
    before = received(sharers)
    # A machine under load may take longer than lines are held back: then other namespaces are tried.
    for attempt in range(4):
        wait_for_an_interval_to_begin()
        teams = [f"t{attempt}n{number}" for number in range(20)]
        for number, team in enumerate(teams):
            lines = (f"team.{team}.x{place} {place} {int(time.time())}\n" for place in range(100))
            sharers[number % 3].send("".join(lines))
        wait_until(partial(all_decided, sharers, before + (attempt + 1) * 2_000), "not all lines are decided")
        if all_arrive(collector, teams):
            break
    else:
        pytest.fail(f"some of the first points were dropped each time: {sharers[0].log}")
    assert sum(daemon.count("held_back_total") for daemon in sharers) > 0


def all_decided(daemons: list[Daemon], points: int) -> bool:
    return received(daemons) == points


def received(daemons: list[Daemon]) -> int:
    return sum(daemon.counts().received for daemon in daemons)


def all_arrive(collector: Collector, teams: list[str]) -> bool:
    """Whether the 100 points of each team come, now that they are decided."""
    with suppress(AssertionError):
        wait_until(lambda: all(collector.count(team.encode()) == 100 for team in teams), "", patience=2)
        return True
    return False


def wait_for_an_interval_to_begin() -> None:
    """Wait until one runs since a moment, so that it does not end while little is sent."""
    wait_until(lambda: 0.2 < time.time() % SLICES_INTERVAL < 0.5, "no interval begins")


def test_without_a_store_a_daemon_starts_and_says_so(tmp_path: Path, collector: Collector) -> None:
    server = ValkeyServer(tmp_path / "valkey")
    settings = f'[cluster]\nmode = "slices"\nstore = "{server.url}"\nsync-interval = "50ms"\n'
    daemon = Daemon(tmp_path / "node", rules=RULES, destination=collector.port, interval=SLICES_INTERVAL, more=settings)
    try:
        daemon.start()
        wait_until(lambda: daemon.count("cluster_store_up") == 0, "the store is said to be there")
        status, body = daemon.get("/health")
        assert status == 200
        assert "cluster: the store cannot be reached" in body
        server.start()
        wait_until(lambda: daemon.count("cluster_store_up") == 1, "the store does not come back")
        wait_until(lambda: "cluster: the store is back" in daemon.log, "nobody says that it is back")
        sender = Sender(daemon, "n", "w", 500)
        wait_until(lambda: collector.count(b"w") > 500, daemon.log, patience=40)
        sender.stop()
    finally:
        daemon.kill()
        server.kill()


def send_all(daemon: Daemon, names: list[str]) -> None:
    now = int(time.time())
    daemon.send("".join(f"{name} 1 {now}\n" for name in names))


def settled(daemons: list[Daemon]) -> bool:
    """Whether nothing waits for the store's word any more."""
    return all(daemon.count("cluster_claims_waiting") == 0 for daemon in daemons)


def held_by(daemon: Daemon, whose: str) -> dict[str, int]:
    """The metrics of each namespace under a rule, by this node or by its cluster."""
    _, body = daemon.get(f"/api/quotas?of={whose}")
    found = [(row["namespace"], control) for row in json.loads(body)["quotas"] for control in row["controls"]]
    return {namespace: control["usage"] for namespace, control in found if control["control"] == "metrics"}


def reported(collector: Collector, stat: str) -> list[int]:
    """The values that nodes reported of a stat, as they came."""
    beginning = f"carbon.agents.test.{stat} ".encode()
    return [int(line.split()[1]) for line in collector.lines.copy() if line.startswith(beginning)]


def assert_reported(collector: Collector, stat: str, value: int) -> None:
    """That reports have this value from now on, whichever of two nodes they are of."""
    before = len(reported(collector, stat))
    wait_until(lambda: len(reported(collector, stat)) >= before + 6, "no reports")
    assert reported(collector, stat)[-2:] == [value, value]


def test_new_metrics_that_come_to_all_nodes_count_once(sharers: list[Daemon], collector: Collector) -> None:
    daemons = sharers[:2]
    names = [f"stock.a.m{number}" for number in range(1_000)] + [f"group.a.n{number}.m" for number in range(30)]
    before = [daemon.counts() for daemon in daemons]
    for turn in range(3):
        for daemon in daemons:
            send_all(daemon, random.Random(turn).sample(names, len(names)))
        send_all(daemons[turn % 2], ["free.of.limits"])
    wait_until(
        lambda: all(
            one.counts().received >= was.received + 3 * len(names) for one, was in zip(daemons, before, strict=True)
        ),
        daemons[0].log,
    )
    wait_until(lambda: len(collector.metrics(b"stock.a.")) >= 100, daemons[0].log)
    wait_until(partial(settled, daemons), daemons[0].log)
    time.sleep(0.5)
    assert len(collector.metrics(b"stock.a.")) == 100
    assert len(collector.metrics(b"group.a.")) == 10
    assert len(collector.metrics(b"free.")) == 1
    # Every node has all of them in the end, as what one holds all may have.
    assert all(one.counts().accepted >= was.accepted + 300 for one, was in zip(daemons, before, strict=True))
    assert sum(daemon.count("cluster_claims_total") for daemon in daemons) > 0
    # Each node can tell what all hold together, also of a limit that another one alone uses.
    send_all(daemons[1], [f"stock.b.m{number}" for number in range(40)])
    send_all(daemons[0], ["stock.b.m0"])
    wait_until(lambda: len(collector.metrics(b"stock.b.")) == 40, daemons[1].log)
    wait_until(partial(settled, daemons), daemons[0].log)
    assert held_by(daemons[0], "node")["stock.b"] == 1
    assert held_by(daemons[0], "cluster")["stock.b"] == 40
    assert held_by(daemons[0], "cluster")["stock.a"] == 100
    tree = json.loads(daemons[0].get("/api/usage?namespace=stock&depth=1&of=cluster")[1])["usage"]
    assert {line["namespace"]: line["metrics"] for line in tree} == {"stock": 140, "stock.a": 100, "stock.b": 40}
    assert_reported(collector, "usage.metrics.stock-b", 40)
    url = "http://{}:{}".format(*daemons[0].address("HTTP"))
    shown = subprocess.run(
        [
            Path(sys.executable).with_name("carbonquota"),
            "usage",
            "--url",
            url,
            "--cluster",
            "--depth",
            "0",
            "stock.b",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout.splitlines()[1].split()[:2] == ["stock.b", "40"], shown.stderr
    status, body = daemons[0].get("/health")
    assert (status, "cluster:" in body) == (200, False)


def test_without_a_store_what_is_held_counts_once_for_all_nodes_also_after_a_kill(
    peers: list[Daemon], collector: Collector
) -> None:
    size, rate = 3, 200
    wait_until(lambda: all(daemon.count("cluster_claims_ready") for daemon in peers), peers[0].log)
    # The same to all, then to each its own: the latter are what the limit can be passed by.
    for daemon in peers:
        send_all(daemon, [f"stock.z.m{k}" for k in range(60)])
    wait_until(lambda: all(held_by(one, "cluster").get("stock.z") == 60 for one in peers), peers[0].log)
    for turn in range(30):
        for number, daemon in enumerate(peers):
            send_all(daemon, [f"stock.z.n{number}.t{turn}k{k}" for k in range(rate // 50)])
        time.sleep(0.02)
    wait_until(lambda: len(collector.metrics(b"stock.z.")) >= 100, peers[0].log)
    peers[0].kill()
    peers[0].start()
    # What is new waits until it knows what the others hold, so the limit is not passed once more.
    send_all(peers[0], [f"stock.z.late{k}" for k in range(50)])
    wait_until(lambda: peers[0].counts().received >= 50 and settled(peers), peers[0].log)
    time.sleep(0.3)
    passed = collector.metrics(b"stock.z.")
    assert len(passed) - 100 <= (size - 1) * rate * (SYNC + SLACK) / 10
    assert not any(metric.startswith(b"stock.z.late") for metric in passed)
    assert held_by(peers[0], "cluster")["stock.z"] == len(passed)
    status, body = peers[0].get("/health")
    assert (status, "cluster:" in body) == (200, False)


def test_no_stock_is_passed_by_one_whatever_befalls_the_nodes_the_store_and_the_rules(
    sharers: list[Daemon], server: ValkeyServer, collector: Collector
) -> None:
    dice = random.Random(11)
    for turn in range(9):
        for number, daemon in enumerate(sharers):
            # Some come to all, and some to one.
            names = [f"stock.{team}.m{dice.randrange(200)}" for team in "pqr" for _ in range(60)]
            send_all(daemon, names + [f"stock.s.n{number}.{turn}.{k}" for k in range(30)])
        disturb(turn, dice.choice(sharers), server)
        if turn == 7:
            # One node after the other comes under a rule that limits more.
            for daemon in sharers:
                daemon.rules.write_text(f"{STOCK_RULES}[free.*]\nmetrics = 100\n")
                assert daemon.reload()[0] == 200
        assert_within_limits(collector)
    wait_until(partial(settled, sharers), sharers[0].log, patience=60)
    wait_until(lambda: all(daemon.count("cluster_claims_ready") for daemon in sharers), sharers[0].log)
    for daemon in sharers:
        send_all(daemon, [f"stock.{team}.m{k}" for team in "pqrs" for k in range(200)])
    wait_until(lambda: len(collector.metrics(b"stock.p.")) == 100, lambda: f"{len(collector.metrics(b'stock.p.'))}")
    time.sleep(1.0)
    assert_within_limits(collector)


def disturb(turn: int, daemon: Daemon, server: ValkeyServer) -> None:
    """Kill the store once, and a node twice; then flush the store, have it stand still, and be full."""
    killed: dict[int, Daemon | ValkeyServer] = {1: daemon, 2: server, 3: daemon}
    if turn in killed:
        killed[turn].kill()
        killed[turn].start()
    elif turn == 4:
        server.client().flushall()
    elif turn == 5:
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(server.pid, signal.SIGCONT)
    elif turn == 6:
        server.client().config_set("maxmemory", "100kb")
        time.sleep(0.5)
        server.client().config_set("maxmemory", "0")
    time.sleep(0.3)


def assert_within_limits(collector: Collector) -> None:
    counts = [len(collector.metrics(f"stock.{team}.".encode())) for team in "pqrs"]
    assert max(counts) <= 100, counts
