"""Measures what quotas cost a carbon-cache: CPU a data point beside an unmodified one, in pairs, in the same run.

    python tools/bench_carbon.py
    python tools/bench_carbon.py --pairs 9 --json bench-carbon.json
    python tools/bench_carbon.py --without-quotas       # our script with no QUOTAS_FILE: what the measurement is worth

Each cache gets one core and the same plaintext over one connection: every series twice, so half of the points are of
new ones. Four throughput limits hold every series. CPU is user and system time of that one process, from the first
byte until the last point can be asked for. Both write one file and then wait, so that the disk has no part in it. The
two of a pair run one after the other, in turns as to which is first; the ratio is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import socket
import statistics
import struct
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from bench_kernels import whole
from loopback_ports import free_port
from relay_traffic import names

PATIENCE = 300.0
"""Seconds after which a run is given up."""
CONFIGURATION = """\
[cache]
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_PORT = 0
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = 0.001
MAX_CREATES_PER_MINUTE = inf
CARBON_METRIC_INTERVAL = 60
ENABLE_TAGS = False
LOG_UPDATES = False
LOG_CREATES = False
LOG_CACHE_HITS = False
LOG_CACHE_QUEUE_SORTS = False
"""
SCHEMAS = "[all]\npattern = .*\nretentions = 60s:1d\n"
RULES = "".join(f"[{namespace}]\nthroughput = 1,000,000,000,000\n" for namespace in ("/", "*", "*.*", "*.*.*"))


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU a point in microseconds: of all points, and of the two halves of them."""

    all: float
    new_series: float
    known_series: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two caches of one run."""

    stock: Cost
    quotas: Cost


class Cache:
    """A carbon-cache that runs on the last core."""

    def __init__(self, process: psutil.Process, line: int, query: int) -> None:
        """Listening at these ports."""
        self._process = process
        self._line = line
        self._query = query

    def cpu(self) -> float:
        """Its user and system time in seconds."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def take(self, traffic: bytes, last: Sequence[str], points: int) -> float:
        """Send it lines, and wait until it has so many points of the series that come last; the CPU seconds of it.

        One of them may have been written.
        """
        before = self.cpu()
        with socket.create_connection(("127.0.0.1", self._line)) as sender:
            sender.sendall(traffic)
        with socket.create_connection(("127.0.0.1", self._query)) as asked:
            _wait(lambda: any(len(_cached(asked, name)) >= points for name in last), "not all points came in")
        return self.cpu() - before


def _cached(connection: socket.socket, metric: str) -> list[tuple[float, float]]:
    """The points of a metric that wait for the disk."""
    request = pickle.dumps({"type": "cache-query", "metric": metric}, protocol=2)
    connection.sendall(struct.pack("!L", len(request)) + request)
    with connection.makefile("rb") as answers:
        (size,) = struct.unpack("!L", answers.read(4))
        points: list[tuple[float, float]] = pickle.loads(answers.read(size))["datapoints"]  # noqa: S301 - our process
    return points


def _wait(condition: Callable[[], bool], complaint: str) -> None:
    """Until a condition is met."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(complaint)
        time.sleep(0.1)


@contextmanager
def running(script: str, folder: Path, *, quotas: bool) -> Iterator[Cache]:
    """A script of this virtualenv as a carbon-cache below a folder."""
    line, query = _write_configuration(folder, quotas=quotas)
    command = [str(Path(sysconfig.get_path("scripts")) / script), "--nodaemon", "start"]
    with (folder / "log").open("wb") as log:
        # Carbon's own messages are of a protobuf that was older than the one which other parts need.
        environment = os.environ | {"GRAPHITE_ROOT": str(folder), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        handle = psutil.Process(process.pid)
        handle.cpu_affinity([(os.cpu_count() or 1) - 1])
        _wait(lambda: _listens(process, line), f"{script} does not listen")
        if process.poll() is not None:
            raise SystemExit(f"{script} has ended: {(folder / 'log').read_text()[-2000:]}")
        yield Cache(handle, line, query)
    finally:
        process.kill()
        process.wait()


def _write_configuration(folder: Path, *, quotas: bool) -> tuple[int, int]:
    """Write its files; the ports it is to listen at."""
    line, query = free_port(), free_port()
    conf = folder / "conf"
    conf.mkdir()
    (folder / "storage" / "whisper").mkdir(parents=True)
    more = "QUOTAS_FILE = storage-quotas.conf\n" if quotas else ""
    (conf / "carbon.conf").write_text(CONFIGURATION.format(line=line, query=query) + more)
    (conf / "storage-schemas.conf").write_text(SCHEMAS)
    (conf / "storage-quotas.conf").write_text(RULES)
    return line, query


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it takes connections; True as well where it has ended, as there is nothing to wait for."""
    if process.poll() is not None:
        return True
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def measure(script: str, series: Sequence[str], *, quotas: bool) -> Cost:
    """One run of one cache."""
    now = int(time.time()) // 60 * 60
    rounds = ["".join(f"{name} {number % 97}.5 {when}\n" for number, name in enumerate(series)).encode()
              for when in (now - 60, now)]  # fmt: skip
    with tempfile.TemporaryDirectory() as name, running(script, Path(name), quotas=quotas) as cache:
        spent = [cache.take(traffic, series[-2:], points) for points, traffic in enumerate(rounds, 1)]
    new, known = (seconds / len(series) * 1e6 for seconds in spent)
    return Cost((new + known) / 2, new, known)


def pairs(count: int, series: Sequence[str], *, quotas: bool) -> Iterator[Pair]:
    """Runs of both, in turns."""
    for number in range(count):
        costs = {}
        for script in sorted(("carbon-cache.py", "carbonquota-carbon-cache"), reverse=bool(number % 2)):
            costs[script] = measure(script, series, quotas=quotas and script.startswith("carbonquota"))
        yield Pair(costs["carbon-cache.py"], costs["carbonquota-carbon-cache"])


def show(what: str, stock: float, quotas: float, ratio: float) -> None:
    """One row."""
    print(f"{what:28} {stock:10.2f} {quotas:10.2f} {ratio:8.3f}", flush=True)


def main() -> None:
    """Measure, a row for each pair, then their medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=whole, default=100_000)
    parser.add_argument("--pairs", type=whole, default=5)
    parser.add_argument("--without-quotas", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    series = names(options.series)
    print(f"{'CPU, us/point':28} {'stock':>10} {'quotas':>10} {'ratio':>8}")
    found = []
    for number, pair in enumerate(pairs(options.pairs, series, quotas=not options.without_quotas), 1):
        found.append(pair)
        show(f"pair {number}", pair.stock.all, pair.quotas.all, pair.quotas.all / pair.stock.all)
    rows = [median(what, found) for what in ("all", "new_series", "known_series")]
    for row in rows:
        show(f"median, {row.what}", row.stock, row.quotas, row.ratio)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Row:
    """The medians over all pairs, in microseconds a point; `ratio` is the median of the pairs' ratios."""

    what: str
    stock: float
    quotas: float
    ratio: float


def median(what: str, found: Sequence[Pair]) -> Row:
    """Of one of the costs."""
    both = [(getattr(pair.stock, what), getattr(pair.quotas, what)) for pair in found]
    return Row(
        what.replace("_", " "),
        statistics.median(stock for stock, _ in both),
        statistics.median(quotas for _, quotas in both),
        statistics.median(quotas / stock for stock, quotas in both),
    )


if __name__ == "__main__":
    main()
