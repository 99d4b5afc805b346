"""Measures the daemon's page under attack: how long it takes, and how long points are held up meanwhile.

    python tools/bench_page.py
    python tools/bench_page.py --namespaces 300000 --rate 200000 --seconds 20 --json bench-page.json

A relay holds so many namespaces under rules, one metric each, and gets their points at a steady rate; some of them are
over a limit. Beside that a probe sends one point every 10 ms through the daemon, and notes how long it takes
to come out at the other end: first without anybody at the page, then while pages are asked for one after the other.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from loopback_ports import free_port

PATIENCE: Final = 120.0
"""Seconds after which anything is given up."""
PROBE_EVERY: Final = 0.01
PAGES: Final = (
    "/",
    "/explore",
    "/explore?namespace=team",
    "/explore?namespace=team&sort=name&offset=150000",
    "/limits",
    "/limits?sort=dropped&over=1",
    "/explain?metric=team.n000000.x",
    "/rules",
)
CONFIGURATION: Final = """
[whisper]
enabled = false
quotas-file = "quotas.conf"
[tcp]
listen = "127.0.0.1:{tcp}"
[udp]
enabled = false
[pickle]
enabled = false
[carbonserver]
listen = "127.0.0.1:{http}"
quota-usage-report-frequency = "{interval}s"
[relay]
enabled = true
destination = "127.0.0.1:{drain}"
spool-dir = "spool"
[state]
enabled = false
"""
RULES: Final = (
    "[team.*]\nmetrics = 10\nthroughput = 1000000\n[team.n*00]\nmetrics = 10\nthroughput = 5\n[/]\nmetrics = max\n"
)


def lines(first: int, count: int, namespaces: int) -> bytes:
    """Points of so many namespaces, one of each."""
    now = int(time.time()) // 60 * 60
    return b"".join(b"team.n%06d.x 1 %d\n" % (number % namespaces, now) for number in range(first, first + count))


def send(port: int, namespaces: int, rate: int, ready: object, ending: object) -> None:
    """A process: points of all namespaces at once, then a hundredth of a second's points again and again."""
    step = max(rate // 100, 1)
    chunks = [lines(first, step, namespaces) for first in range(0, namespaces, step)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for chunk in chunks:
            connection.sendall(chunk)
        ready.set()  # type: ignore[attr-defined]
        due, turn = time.monotonic(), 0
        while not ending.is_set():  # type: ignore[attr-defined]
            connection.sendall(chunks[turn % len(chunks)])
            turn += 1
            due += 0.01
            time.sleep(max(due - time.monotonic(), 0))


@dataclass(slots=True)
class Probe:
    """Points of its own through the daemon: when each was sent, and how long it took, in seconds."""

    sent: dict[int, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    received: int = 0

    def drain(self, listener: socket.socket) -> None:
        """A thread: read what the daemon passes on, and find the probe's points in it."""
        connection, _ = listener.accept()
        rest = b""
        while data := connection.recv(1 << 20):
            now = time.monotonic()
            self.received += data.count(b"\n")
            block = rest + data
            at = block.find(b"probe.p")
            while at >= 0 and (end := block.find(b" ", at)) >= 0:
                if (begun := self.sent.pop(int(block[at + 7 : end]), None)) is not None:
                    self.took.append(now - begun)
                at = block.find(b"probe.p", end)
            rest = block[-40:]

    def run(self, port: int, ending: threading.Event) -> None:
        """A thread: send a point every `PROBE_EVERY` seconds."""
        number = 0
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not ending.wait(PROBE_EVERY):
                self.sent[number] = time.monotonic()
                connection.sendall(b"probe.p%d 1 %d\n" % (number, int(time.time())))
                number += 1

    def take(self) -> list[float]:
        """What was measured since the last call, with those that are still on their way."""
        now = time.monotonic()
        taken, self.took = self.took, []
        return taken + [now - begun for begun in list(self.sent.values()) if now - begun > 1]


@contextmanager
def daemon(folder: Path, ports: dict[str, int], interval: int) -> Iterator[None]:
    """The daemon, until the block ends."""
    (folder / "quotas.conf").write_text(RULES)
    (folder / "carbonquota.conf").write_text(CONFIGURATION.format(interval=interval, **ports))
    command = [sys.executable, "-m", "carbonquota.cli", "run", "--config", str(folder / "carbonquota.conf")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + PATIENCE
        while b" ready: " not in (folder / "log").read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ask(port: int, path: str) -> tuple[float, int]:
    """How many seconds a page takes, and how many bytes it has."""
    begun = time.monotonic()
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
        size = len(answer.read())
    return time.monotonic() - begun, size


def ask_for(port: int, seconds: float) -> dict[str, list[tuple[float, int]]]:
    """All pages, one after the other, with a breath in between, as somebody who clicks without rest."""
    found: dict[str, list[tuple[float, int]]] = {path: [] for path in PAGES}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in PAGES:
            found[path].append(ask(port, path))
            time.sleep(0.1)
    return found


def milliseconds(values: list[float]) -> dict[str, float]:
    """Median, the worst in a hundred, and the worst."""
    ordered = sorted(values) or [float("nan")]
    return {
        "median": round(1000 * statistics.median(ordered), 1),
        "p99": round(1000 * ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)], 1),
        "worst": round(1000 * ordered[-1], 1),
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """All figures, in milliseconds."""
    ports = {"tcp": free_port(), "http": free_port()}
    listener = socket.create_server(("127.0.0.1", 0))
    ports["drain"] = listener.getsockname()[1]
    probe, ending = Probe(), threading.Event()
    context = multiprocessing.get_context("spawn")
    ready, sender_ending = context.Event(), context.Event()
    threading.Thread(target=probe.drain, args=(listener,), daemon=True).start()
    with daemon(folder, ports, options.interval):
        arguments = (ports["tcp"], options.namespaces, options.rate, ready, sender_ending)
        sender = context.Process(target=send, args=arguments, daemon=True)
        sender.start()
        ready.wait(PATIENCE)
        probing = threading.Thread(target=probe.run, args=(ports["tcp"], ending), daemon=True)
        probing.start()
        first = {path: ask(ports["http"], path)[0] for path in PAGES}
        time.sleep(2)
        probe.take()
        before = probe.received, time.monotonic()
        time.sleep(options.seconds / 2)
        rate = (probe.received - before[0]) / (time.monotonic() - before[1])
        alone = milliseconds(probe.take())
        pages = ask_for(ports["http"], options.seconds)
        beside = milliseconds(probe.take())
        ending.set()
        sender_ending.set()
        sender.join(PATIENCE)
    return {
        "namespaces": options.namespaces,
        "points a second that came out": round(rate),
        "first answers": {path: round(1000 * seconds, 1) for path, seconds in first.items()},
        "pages": {path: milliseconds([took for took, _ in found]) for path, found in pages.items()},
        "bytes": {path: max(size for _, size in found) for path, found in pages.items()},
        "a point's way, nobody at the page": alone,
        "a point's way, with pages": beside,
    }


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--namespaces", type=int, default=300_000)
    parser.add_argument("--rate", type=int, default=200_000, help="points a second")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long pages are asked for")
    parser.add_argument("--interval", type=int, default=60, help="seconds of the report interval")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
