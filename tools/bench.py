"""Measures the engine as its users load it: `make bench`, or `python tools/bench.py --series 100000` for a quick look.

One process and one thread, unless a row says otherwise. The series lie in a tenth as many namespaces (team, application
and host), under twenty rules of which four hold every series: `/`, `*`, `*.*` and `*.*.*`. So each host has a counter
of its own. Names come in a shuffled order, as caches like least. Times are CPU time of the process, the best of some
runs; the machine may be busy otherwise, so compare figures of one run with each other.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.kernel import KERNEL
from carbonquota.testing import ManualClock

BATCH = 1000
"""Lines given to `admit` at once."""
STRIDE = 7_368_787
"""A prime: its multiples, modulo the number of series, visit each in no order that a cache could make use of."""
PER_HOST = 10
"""Series in a namespace."""
SIZE = Size(17_312, 20_480, 1_440)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured row: what, how much, of which unit, and what it is to reach at most."""

    what: str
    value: float
    unit: str
    reach: float | None


def name(number: int) -> bytes:
    """The name of a series: 20 teams of 50 applications each, and as many hosts as it takes."""
    host, metric = divmod(number, PER_HOST)
    host, application = divmod(host, 50)
    host, team = divmod(host, 20)
    return b"team%02d.app%02d.host%04d.metric%d" % (team, application, host, metric)


def line(number: int) -> bytes:
    """A data point of a series, as it comes over the wire."""
    return b"%s %d.%d 17000%05d\n" % (name(number), number % 97, number % 10, number % 86400)


def batches(numbers: Sequence[int]) -> Iterator[bytes]:
    """Their points in batches."""
    for start in range(0, len(numbers), BATCH):
        yield b"".join(map(line, numbers[start : start + BATCH]))


def rules(root: str = "max", host: str = "1,000,000,000", crowded: str = "1,000,000,000") -> RuleSet:
    """Twenty rules with throughput limits; a tenth of the hosts get the limit `crowded`."""
    sections = [("/", root), ("*", "max"), ("*.*", "900,000,000,000"), ("*.*.*", host)]
    sections += [(f"other{number}.*.*", "1,000") for number in range(15)] + [("*.*.host???7", crowded)]
    return RuleSet.from_text("".join(f"[{pattern}]\nthroughput = {limit}\n" for pattern, limit in sections))


def engine_under(rule_set: RuleSet) -> QuotaEngine:
    """An engine whose interval never ends by itself."""
    return QuotaEngine(rule_set, size_of=lambda _: SIZE, clock=ManualClock(0.0), interval=3600.0)


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds that an action takes, without the garbage collector's chance visits."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    action()
    taken = time.process_time() - start
    gc.enable()
    return taken


def admit_all(engine: QuotaEngine, buffers: Sequence[bytes]) -> None:
    """Offer all points."""
    for buffer in buffers:
        engine.admit(buffer)


class Bench:
    """The measurements over one filled engine, in an order in which each leaves it fit for the next."""

    def __init__(self, series: int, runs: int) -> None:
        """Measure with this many series; points are offered of a fifth of them, at random."""
        self.series = series
        self.runs = runs
        self.random = random.Random(7)
        self.figures: list[Figure] = []
        self.resident = psutil.Process().memory_info().rss
        self.engine = engine_under(rules())

    def note(self, what: str, value: float, unit: str, reach: float | None = None) -> None:
        """Keep a figure, and say so at once, since a whole run takes minutes."""
        self.figures.append(Figure(what, value, unit, reach))
        print(f"{what:58} {value:10,.1f} {unit:14} {'' if reach is None else f'<= {reach:,g}'}", flush=True)

    def expect(self, truth: bool, otherwise: str) -> None:  # noqa: FBT001 - the truth is what it is about
        """End it all where a figure would not mean what it says."""
        if not truth:
            sys.exit(f"bench: {otherwise}")

    def run(self) -> list[Figure]:
        """All measurements."""
        self.fill()
        some = self.random.sample(range(self.series), self.series // 5)
        self.buffers = list(batches(some))
        self.points = len(some)
        self.baseline()
        self.known()
        self.offers([name(number).decode() for number in some[:100_000]])
        self.rejected()
        self.crowded()
        self.reports()
        self.reload()
        return self.figures

    def fill(self) -> None:
        """New series, each admitted with its first point."""
        taken = 0.0
        for start in range(0, self.series, 10 * BATCH):
            # As good as shuffled, and takes no memory that would be counted as the engine's.
            numbers = [place * STRIDE % self.series for place in range(start, min(start + 10 * BATCH, self.series))]
            taken += seconds(partial(admit_all, self.engine, list(batches(numbers))))
        self.expect(len(self.engine) == self.series, "not every series was admitted")
        self.note("admit, new series and new namespaces", taken / self.series * 1e6, "us/series", 6)
        self.memory()
        extra = [b"team%02d.app%02d.host0000.extra%d 1 1700000000\n" % (n % 20, n % 50, n) for n in range(20 * BATCH)]
        buffers = [b"".join(extra[start : start + BATCH]) for start in range(0, len(extra), BATCH)]
        taken = seconds(partial(admit_all, self.engine, buffers))
        self.note("admit, new series in known namespaces", taken / len(extra) * 1e6, "us/series", 6)
        for text in extra:
            self.engine.forget(text.split()[0])

    def best(self, action: Callable[[], object]) -> float:
        """Nanoseconds a point, the best run of some."""
        return min(seconds(action) for _ in range(self.runs)) / self.points * 1e9

    def baseline(self) -> None:
        """What Python needs at least: the same buffers split, and each name looked up in a dict."""
        known = {name(number): number for number in range(self.series)}

        def look_up() -> None:
            for buffer in self.buffers:
                list(map(known.__getitem__, buffer.split()[0::3]))

        self.note("for comparison: bytes.split and a dict look-up", self.best(look_up), "ns/point")

    def known(self) -> None:
        """Points of known series."""
        admit_all(self.engine, self.buffers)
        self.note(
            "admit, all known, all accepted", self.best(partial(admit_all, self.engine, self.buffers)), "ns/point", 350
        )

    def offers(self, names: Sequence[str]) -> None:
        """The same one by one."""

        def offer_all() -> None:
            for metric in names:
                self.engine.offer(metric)

        taken = min(seconds(offer_all) for _ in range(self.runs))
        self.note("offer, known series", taken / len(names) * 1e6, "us/offer", 1.5)

    def memory(self) -> None:
        """Resident memory since before the engine was there."""
        gc.collect()
        grown = psutil.Process().memory_info().rss - self.resident
        self.note("memory, all in", grown / self.series, "bytes/series", 300)

    def rejected(self) -> None:
        """Every point under a full counter: the root's, then each host's own."""
        accepting = self.figures_by_name()["admit, all known, all accepted"]
        for what, rule_set in (("the root's", rules(root="1")), ("each host's", rules(host="1", crowded="1"))):
            self.engine.apply(rule_set)
            admit_all(self.engine, self.buffers)
            taken = self.best(partial(admit_all, self.engine, self.buffers))
            self.note(f"admit, every point rejected by a full counter: {what}", taken, "ns/point", accepting)

    def crowded(self) -> None:
        """A tenth of the hosts have room for half of what they get, so they fill up in the middle of batches."""
        accepting = self.figures_by_name()["admit, all known, all accepted"]
        numbers = list(range(self.series))
        self.random.shuffle(numbers)
        buffers = list(batches(numbers[: self.points]))
        taken = []
        for _ in range(self.runs):
            self.engine.apply(rules(crowded="1"))
            self.engine.report()
            taken.append(seconds(partial(admit_all, self.engine, buffers)))
        self.note(
            "admit, a tenth of the namespaces at their limit", min(taken) / self.points * 1e9, "ns/point", 2 * accepting
        )
        dropped = sum(self.engine.admit(buffer).dropped for buffer in buffers)
        self.expect(0.05 < dropped / self.points < 0.15, "not a tenth was dropped")

    def figures_by_name(self) -> dict[str, float]:
        """What was measured so far."""
        return {figure.what: figure.value for figure in self.figures}

    def reports(self) -> None:
        """A report of 1,000 ruled namespaces, with all series and with one in a hundred."""
        text = "[*.*]\nmetrics = 1,000,000\nlogical-size = max\nthroughput = 1,000,000\n"
        self.engine.apply(RuleSet.from_text(text))
        small = engine_under(RuleSet.from_text(text))
        for number in range(0, self.series // 100 * PER_HOST, PER_HOST):
            small.load(name(number))
        for what, engine in ((f"{self.series:,}", self.engine), (f"{len(small):,}", small)):
            engine.report()
            taken = min(seconds(engine.report) for _ in range(10 * self.runs))
            ruled = len(engine.quotas())
            self.note(f"report, {ruled:,} ruled namespaces, {what} series", taken * 1e3, "ms", 2)

    def reload(self) -> None:
        """New rules, 1,000 of them, while another thread admits; wall time."""
        longest, stop = [0.0], threading.Event()

        def admit() -> None:
            while not stop.is_set():
                for buffer in self.buffers[:20]:
                    start = time.perf_counter()
                    self.engine.admit(buffer)
                    longest[0] = max(longest[0], time.perf_counter() - start)

        text = "".join(
            f"[team{team:02}.app{application:02}.host*]\nthroughput = 1,000,000\n"
            for team in range(20)
            for application in range(50)
        )
        thread = threading.Thread(target=admit)
        thread.start()
        start = time.perf_counter()
        self.engine.apply(RuleSet.from_text(text))
        taken = time.perf_counter() - start
        stop.set()
        thread.join()
        self.note("apply of 1,000 rules while admitting: in all", taken * 1e3, "ms")
        self.note("  the longest that a batch of 1,000 lines then took", longest[0] * 1e3, "ms", 100)


def main() -> None:
    """Measure, print a table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1_000_000, help="how many series (default: 1,000,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the best counts (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    machine = {
        "machine": f"{platform.machine()}, {psutil.cpu_count()} CPUs, {psutil.virtual_memory().total >> 30} GiB",
        "python": platform.python_version(),
        "kernel": KERNEL,
        "series": options.series,
    }
    print(", ".join(f"{key}: {value}" for key, value in machine.items()))
    figures = Bench(options.series, options.runs).run()
    if options.json:
        document = {**machine, "figures": [asdict(figure) for figure in figures]}
        Path(options.json).write_text(json.dumps(document, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
