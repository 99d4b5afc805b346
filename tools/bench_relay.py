"""Measures the daemon as a relay, beside others where their binaries are given: CPU a point, memory, and slow ends.

    python tools/bench_relay.py                                             # with each kernel that is built
    python tools/bench_relay.py --go-carbon PATH --carbon-c-relay PATH      # the same traffic, in the same run
    python tools/bench_relay.py --minutes 10                                # only: is memory flat under traffic?

Each program gets one core. Four throughput limits hold every series. CPU is user and system time of that one process,
between the second and the last round over all series; senders and the drain are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from bench_kernels import COMPILED, PLAIN, VARIABLE, kernels, whole
from loopback_ports import free_port
from relay_traffic import rules, running_drain, start_sender, write_flood, write_traffic

PATIENCE = 120.0
"""Seconds after which a run is given up."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program under test: how it is started for a port to listen at and one to send to.

    `drains` is False where it keeps the points to itself, so that its end is seen by its CPU time standing still.
    `logs` is what its log must say once it runs.
    """

    name: str
    command: Callable[[Path, int, int], list[str]]
    drains: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    logs: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured row."""

    what: str
    peer: str
    value: float
    unit: str


def carbonquota(folder: Path, port: int, destination: int) -> list[str]:
    """Our daemon as a relay."""
    (folder / "quotas.conf").write_text(rules())
    (folder / "carbonquota.conf").write_text(f"""
[whisper]
enabled = false
quotas-file = "quotas.conf"
[tcp]
listen = "127.0.0.1:{port}"
[udp]
enabled = false
[pickle]
enabled = false
[carbonserver]
listen = "127.0.0.1:{free_port()}"
[relay]
enabled = true
destination = "127.0.0.1:{destination}"
spool-dir = "spool"
[state]
directory = "state"
""")
    return [sys.executable, "-m", "carbonquota.cli", "run", "--config", str(folder / "carbonquota.conf")]


def ours(kernel: str) -> Peer:
    """Our daemon with one of the kernels, as its log has to confirm."""
    return Peer(f"carbonquota ({kernel})", carbonquota, environment={VARIABLE: kernel}, logs=f"kernel {kernel},")


def go_carbon(binary: str) -> Callable[[Path, int, int], list[str]]:
    """go-carbon with the same quotas; it cannot relay, so points end in its cache, whose writer is off."""

    def command(folder: Path, port: int, _: int) -> list[str]:
        (folder / "quotas.conf").write_text(rules())
        (folder / "schemas.conf").write_text("[default]\npattern = .*\nretentions = 60s:1d\n")
        (folder / "whisper").mkdir(exist_ok=True)
        (folder / "go-carbon.conf").write_text(f"""
[common]
user = ""
metric-interval = "1h0m0s"
max-cpu = 1
[whisper]
data-dir = "{folder}/whisper"
schemas-file = "{folder}/schemas.conf"
quotas-file = "{folder}/quotas.conf"
enabled = true
max-updates-per-second = 1
[cache]
max-size = 0
write-strategy = "noop"
[tcp]
listen = "127.0.0.1:{port}"
enabled = true
[udp]
enabled = false
[pickle]
enabled = false
[carbonlink]
enabled = false
[carbonserver]
listen = "127.0.0.1:{free_port()}"
enabled = true
trie-index = true
concurrent-index = true
realtime-index = 1000000
trigram-index = false
scan-frequency = "1h0m0s"
quota-usage-report-frequency = "1h0m0s"
[pprof]
enabled = false
""")
        return [binary, "-config", str(folder / "go-carbon.conf")]

    return command


def carbon_c_relay(binary: str) -> Callable[[Path, int, int], list[str]]:
    """carbon-c-relay with one route and no quotas, as it has none."""

    def command(folder: Path, port: int, destination: int) -> list[str]:
        (folder / "relay.conf").write_text(
            f"cluster all forward 127.0.0.1:{destination} proto tcp;\n"
            f"match * send to all stop;\nlisten type linemode 127.0.0.1:{port} proto tcp;\n"
        )
        return [binary, "-f", str(folder / "relay.conf"), "-w", "1", "-q", "4000000", "-b", "20000"]

    return command


@contextmanager
def running(peer: Peer, folder: Path, destination: int) -> Iterator[tuple[psutil.Process, int]]:
    """The program, on the last core, once it takes connections; and its port."""
    port = free_port()
    log = (folder / "log").open("w")
    command = peer.command(folder, port, destination)
    process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | peer.environment)
    try:
        handle = psutil.Process(process.pid)
        handle.cpu_affinity([(os.cpu_count() or 1) - 1])
        _wait(lambda: _listens(port), f"{peer.name} does not listen: {(folder / 'log').read_text()[-2000:]}")
        if peer.logs not in (said := (folder / "log").read_text()):
            raise SystemExit(f"{peer.name}: the log does not say {peer.logs!r}: {said}")
        yield handle, port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        log.close()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def _wait(condition: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(complaint)
        time.sleep(0.05)


def cpu(process: psutil.Process) -> float:
    """User and system seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _settled(process: psutil.Process) -> Callable[[], bool]:
    """Whether the process has used next to nothing of its core for a while."""
    history: list[float] = []

    def settled() -> bool:
        history.append(cpu(process))
        return len(history) > 20 and history[-1] - history[-20] < 0.03

    return settled


@dataclass(frozen=True, slots=True)
class Load:
    """The traffic of one run."""

    series: int
    rounds: int
    connections: int
    is_flood: bool = False
    """Whether as many points again are of new metrics that are rejected."""

    @property
    def points(self) -> int:
        """How many points are sent."""
        return self.series * self.rounds * (2 if self.is_flood else 1)


def push(peer: Peer, process: psutil.Process, port: int, drained: Path, load: Load) -> None:
    """Send all of it through the program, and wait until it is through."""
    traffic = drained.parent / ("flood" if load.is_flood else "traffic")
    goal = _count(drained) + load.series * load.rounds
    senders = start_sender(port, traffic, load.rounds, load.connections)
    if senders.wait(PATIENCE):
        raise SystemExit(f"{peer.name}: the sender failed")
    through = (lambda: _count(drained) >= goal) if peer.drains else _settled(process)
    _wait(through, f"{peer.name}: {goal - _count(drained)} points did not come through")


def _count(drained: Path) -> int:
    return int(drained.read_text() or 0)


def measure(peer: Peer, load: Load) -> list[Figure]:
    """CPU a point and memory of one program under one load."""
    with tempfile.TemporaryDirectory() as name, running_drain(Path(name)) as (destination, drained):
        folder = Path(name)
        write_traffic(folder / "traffic", load.series)
        write_flood(folder / "flood", load.series)
        with running(peer, folder, destination) as (process, port):
            push(peer, process, port, drained, Load(load.series, 1, 1, load.is_flood))
            before, start = cpu(process), time.monotonic()
            push(peer, process, port, drained, load)
            spent, passed = cpu(process) - before, time.monotonic() - start
            memory = process.memory_info().rss
    points = load.points
    what = f"{load.series:,} series, {load.connections:,} connections"
    what += ", half of all rejected" if load.is_flood else ""
    return [
        Figure(f"CPU, {what}", peer.name, spent / points * 1e6, "us/point"),
        Figure(f"wall clock, {what}", peer.name, passed / points * 1e6, "us/point"),
        Figure(f"memory, {what}", peer.name, memory / 2**20, "MiB"),
    ]


def slow_destination(peer: Peer, load: Load) -> list[Figure]:
    """Memory while the destination takes 20 MB a second, and whether everything got there."""
    with tempfile.TemporaryDirectory() as name, running_drain(Path(name), 20e6) as (destination, drained):
        folder = Path(name)
        write_traffic(folder / "traffic", load.series)
        with running(peer, folder, destination) as (process, port):
            push(peer, process, port, drained, load)
            memory = process.memory_info().rss
    return [Figure("memory after a slow destination", peer.name, memory / 2**20, "MiB")]


def memory_over_time(peer: Peer, load: Load, minutes: float) -> list[Figure]:
    """Resident memory, sampled while traffic goes on and on."""
    figures = []
    with tempfile.TemporaryDirectory() as name, running_drain(Path(name)) as (destination, drained):
        folder = Path(name)
        write_traffic(folder / "traffic", load.series)
        with running(peer, folder, destination) as (process, port):
            push(peer, process, port, drained, Load(load.series, 1, 1))
            end = time.monotonic() + minutes * 60
            while time.monotonic() < end:
                push(peer, process, port, drained, load)
                time.sleep(1)
                figures.append(Figure("memory over time", peer.name, process.memory_info().rss / 2**20, "MiB"))
    step = max(1, len(figures) // 10)
    return figures[::step]


def restart(peer: Peer, series: int) -> list[Figure]:
    """From the start of the process, with a snapshot of so many series, until it takes traffic."""
    with tempfile.TemporaryDirectory() as name, running_drain(Path(name)) as (destination, drained):
        folder = Path(name)
        write_traffic(folder / "traffic", series)
        with running(peer, folder, destination) as (process, port):
            push(peer, process, port, drained, Load(series, 1, 1))
        began = time.monotonic()
        with running(peer, folder, destination):
            passed = time.monotonic() - began
        log = (folder / "log").read_text()
    if f"ready: {series} metrics" not in log:
        raise SystemExit(f"the restart did not know all series: {log}")
    return [Figure(f"restart with {series:,} series, until it listens", peer.name, passed, "s")]


def peers(options: argparse.Namespace, built: Sequence[str]) -> Iterator[Peer]:
    """Ours with each of the kernels, and those whose binaries were given."""
    yield from map(ours, built)
    if options.go_carbon:
        yield Peer("go-carbon", go_carbon(options.go_carbon), drains=False)
    if options.carbon_c_relay:
        yield Peer("carbon-c-relay", carbon_c_relay(options.carbon_c_relay))


def show(figures: Sequence[Figure]) -> Sequence[Figure]:
    """Print rows as they come."""
    for figure in figures:
        print(f"{figure.peer:22} {figure.what:56} {figure.value:10.3f} {figure.unit}", flush=True)
    return figures


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=whole, default=300_000)
    parser.add_argument("--rounds", type=whole, default=10)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--kernel", choices=(PLAIN, COMPILED), help="ours with this one only (default: all built)")
    parser.add_argument("--go-carbon")
    parser.add_argument("--carbon-c-relay")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    built = kernels(options.kernel)
    quickest = ours(built[-1])
    figures: list[Figure] = []
    if options.minutes:
        figures += show(memory_over_time(quickest, Load(options.series, options.rounds, 4), options.minutes))
    else:
        for peer in peers(options, built):
            figures += show(measure(peer, Load(options.series, options.rounds, 4)))
            figures += show(measure(peer, Load(options.series, options.rounds, 1000)))
        figures += show(measure(quickest, Load(options.series, options.rounds, 4, is_flood=True)))
        figures += show(slow_destination(quickest, Load(options.series, 2, 4)))
        figures += show(restart(quickest, 1_000_000))
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
