"""One part of `bench.py`, with one kernel, in a process of its own: prints a figure a line, its key and its value.

    CARBONQUOTA_KERNEL=python python tools/bench_engine.py decisions 1000000 5

Times are CPU time of the process, the best of some runs, where the key's row does not say otherwise.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import psutil
from bench_floods import floods
from bench_threads import threads
from bench_traffic import (
    PER_HOST,
    batches,
    every_series,
    joined,
    many_rules,
    name,
    new_lines,
    other_series,
    rules,
    some_series,
)

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.kernel import KERNEL
from carbonquota.service.state import StateKeeper

SIZE = Size(17_312, 20_480, 1_440)


INTERVAL = 1e9
"""Seconds: the next one begins in a few years."""


def note(key: str, value: float) -> None:
    """Hand a figure to whoever started this."""
    print(key, value, flush=True)


def expect(truth: bool, otherwise: str) -> None:  # noqa: FBT001 - the truth is what it is about
    """End it all where a figure would not mean what it says."""
    if not truth:
        sys.exit(f"bench: kernel {KERNEL}: {otherwise}")


def engine_under(text: str, *, as_daemon: bool = False) -> QuotaEngine:
    """An engine with the system's clock, whose interval does not end while it is measured."""
    return QuotaEngine(
        RuleSet.from_text(text),
        size_of=lambda _: SIZE,
        interval=INTERVAL,
        record_changes=as_daemon,
        keep_seen=as_daemon,
    )


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


def resident() -> int:
    """Bytes of memory that the process has in use."""
    gc.collect()
    size: int = psutil.Process().memory_info().rss
    return size


def filled(engine: QuotaEngine, series: int) -> float:
    """Have the engine admit every series, each with its first point; the CPU seconds that it took."""
    taken = sum(seconds(partial(admit_all, engine, buffers)) for buffers in every_series(series))
    expect(len(engine) == series, "not every series was admitted")
    return taken


class Decisions:
    """The measurements over one filled engine, in an order in which each leaves it fit for the next."""

    def __init__(self, series: int, runs: int) -> None:
        """Measure with this many series; points are offered of a fifth of them, at random."""
        self.series = series
        self.runs = runs
        self.engine = engine_under(rules())
        self.some = some_series(series)
        self.buffers = batches(self.some)

    def run(self) -> None:
        """All measurements."""
        note("new_all", filled(self.engine, self.series) / self.series)
        self.new()
        self.known()
        self.offers([name(number).decode() for number in self.some[:100_000]])
        self.rejected()
        self.crowded()
        self.engine.apply(RuleSet.from_text(rules()))
        threads(self.engine, self.series, self.runs, note)
        self.reports()
        self.reload()

    def best(self, action: Callable[[], object]) -> float:
        """Seconds a point, the best run of some."""
        return min(seconds(action) for _ in range(self.runs)) / len(self.some)

    def dropped(self, buffers: Sequence[bytes]) -> float:
        """Which share of the points is rejected."""
        dropped = sum(self.engine.admit(buffer).dropped for buffer in buffers)
        return dropped / len(self.some)

    def new(self) -> None:
        """A new series in each known namespace."""
        lines = new_lines(self.series)
        buffers = joined(lines)
        taken = []
        for _ in range(self.runs):
            taken.append(seconds(partial(admit_all, self.engine, buffers)))
            expect(len(self.engine) == self.series + len(lines), "not every new series was admitted")
            for text in lines:
                self.engine.forget(text.split()[0])
        note("new_known", min(taken) / len(lines))

    def known(self) -> None:
        """Points of known series."""
        expect(self.dropped(self.buffers) == 0, "some points were rejected")
        note("known", self.best(partial(admit_all, self.engine, self.buffers)))

    def offers(self, names: Sequence[str]) -> None:
        """The same one by one."""

        def offer_all() -> None:
            for metric in names:
                self.engine.offer(metric)

        note("offer", min(seconds(offer_all) for _ in range(self.runs)) / len(names))

    def rejected(self) -> None:
        """Every point under a full counter: the root's, then each host's own."""
        for key, text in (("rejected_root", rules(root="1")), ("rejected_hosts", rules(host="1", crowded="1"))):
            self.engine.apply(RuleSet.from_text(text))
            admit_all(self.engine, self.buffers)
            expect(self.dropped(self.buffers) == 1, "some points were accepted")
            note(key, self.best(partial(admit_all, self.engine, self.buffers)))

    def crowded(self) -> None:
        """A tenth of the hosts have room for half of what they get, so they fill up in the middle of batches."""
        buffers = batches(other_series(self.series))
        self.engine.apply(RuleSet.from_text(rules(crowded="1")))
        taken = []
        for _ in range(self.runs):
            self.engine.report()
            taken.append(seconds(partial(admit_all, self.engine, buffers)))
        note("crowded", min(taken) / len(self.some))
        self.engine.report()
        expect(0.01 < self.dropped(buffers) < 0.1, "not half of what a tenth got was dropped")
        expect(0.05 < self.dropped(buffers) < 0.15, "not a tenth was dropped")

    def reports(self) -> None:
        """A report of 1,000 ruled namespaces, with all series and with one in a hundred."""
        text = "[*.*]\nmetrics = 1,000,000\nlogical-size = max\nthroughput = 1,000,000\n"
        self.engine.apply(RuleSet.from_text(text))
        small = engine_under(text)
        for number in range(0, self.series // 100 * PER_HOST, PER_HOST):
            small.load(name(number))
        for key, engine in (("report_all", self.engine), ("report_small", small)):
            engine.report()
            note(key, min(seconds(engine.report) for _ in range(10 * self.runs)))

    def reload(self) -> None:
        """New rules, 1,000 of them, while another thread admits; wall time."""
        longest, stop = [0.0], threading.Event()

        def admit() -> None:
            while not stop.is_set():
                for buffer in self.buffers[:20]:
                    start = time.perf_counter()
                    self.engine.admit(buffer)
                    longest[0] = max(longest[0], time.perf_counter() - start)

        thread = threading.Thread(target=admit)
        thread.start()
        start = time.perf_counter()
        self.engine.apply(RuleSet.from_text(many_rules()))
        taken = time.perf_counter() - start
        stop.set()
        thread.join()
        note("apply", taken)
        note("apply_longest", longest[0])


def decisions(series: int, runs: int) -> None:
    """What decisions cost."""
    Decisions(series, runs).run()


def memory(series: int, _: int) -> None:
    """Resident memory since before the engine was there."""
    before = resident()
    engine = engine_under(rules())
    filled(engine, series)
    note("memory", (resident() - before) / series)


def split(series: int, runs: int) -> None:
    """What Python needs at least: the same buffers split, and each name looked up in a dict or put there."""
    before = resident()
    known: dict[bytes, int] = {}

    def put(buffers: Sequence[bytes]) -> None:
        for buffer in buffers:
            for metric in buffer.split()[0::3]:
                known[metric] = len(known)

    note("new_all", sum(seconds(partial(put, buffers)) for buffers in every_series(series)) / series)
    note("memory", (resident() - before) / series)
    expect(len(known) == series, "the names differ")

    def look_up(buffers: Sequence[bytes]) -> None:
        for buffer in buffers:
            list(map(known.__getitem__, buffer.split()[0::3]))

    for key, numbers in (("known", some_series(series)), ("crowded", other_series(series))):
        action = partial(look_up, batches(numbers))
        note(key, min(seconds(action) for _ in range(runs)) / len(numbers))
    names = [name(number).decode() for number in some_series(series)[:100_000]]
    note("offer", min(seconds(lambda: [known[metric.encode()] for metric in names]) for _ in range(runs)) / len(names))
    lines = new_lines(series)
    note("new_known", seconds(partial(put, joined(lines))) / len(lines))


def save(series: int, _: int, folder: str) -> None:
    """Leave a snapshot for `load`."""
    engine = engine_under(rules(), as_daemon=True)
    keeper = StateKeeper(folder, engine)
    keeper.restore()
    for buffers in every_series(series):
        admit_all(engine, buffers)
    keeper.close()


def load(series: int, _: int, folder: str) -> None:
    """The snapshot read into a new engine as the daemon does when it starts; wall time."""
    before = resident()
    engine = engine_under(rules(), as_daemon=True)
    keeper = StateKeeper(folder, engine)
    restored = keeper.restore()
    expect(restored.found and restored.series == len(engine) == series, "not every series was loaded")
    note("load", restored.seconds)
    note("load_memory", (resident() - before) / series)
    keeper.abandon()


def main() -> None:
    """Do the part that the arguments name: series, runs, and a folder for those that need one."""
    part, series, runs, *folders = sys.argv[1:]
    parts = {"decisions": decisions, "memory": memory, "split": split}
    if part in {"save", "load"}:
        {"save": save, "load": load}[part](int(series), int(runs), folders[0])
    elif part == "floods":
        floods(int(series), int(runs), note)
    else:
        parts[part](int(series), int(runs))


if __name__ == "__main__":
    main()
