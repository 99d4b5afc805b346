"""What quotas are for: floods of new and of rejected metrics, of new namespaces, and names in other spellings.

A part of `bench_engine.py`. Names are new to the engine, batches have 1,000 lines, and rules hold `/`, `*` and `*.*`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from random import Random

import psutil
from bench_traffic import joined

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.kernel import COMPILED
from carbonquota.model import SizeOf
from carbonquota.rules import Schemas

Note = Callable[[str, float], None]

RULES = "[/]\nmetrics = max\n[*]\nmetrics = {}\n[*.*]\n{} = {}\n"
OPEN = RULES.format("max", "metrics", "max")
FULL = RULES.format("1", "metrics", "max")
TOO_SMALL = RULES.format("max", "logical-size", "1")
SCHEMAS = "".join(f"[{number}]\npattern = ^team{number}\\.\nretentions = 60:{number + 1}\n" for number in range(50))
SIZE = Size(17_312, 20_480, 1_440)

REJECTED = {
    "reject_leaf": (FULL, b"app.req.id%d"),
    "reject_namespace": (FULL, b"app.r%d.count"),
    "reject_tags": (FULL, b"app.req.count;id=%d"),
    "reject_deep": (FULL, b"app.r%d.a.b.c.count"),
    "reject_size": (TOO_SMALL, b"app.req.id%d"),
    "reject_size_namespace": (TOO_SMALL, b"app.r%d.count"),
}
"""By key: the rules, which leave nothing to new metrics, and their names."""


def same_size(_metric: str) -> Size:
    """What a program of one's own might give for sizes."""
    return SIZE


def engine_under(text: str, size_of: SizeOf = same_size) -> QuotaEngine:
    """An engine whose interval does not end."""
    return QuotaEngine(RuleSet.from_text(text), size_of=size_of, interval=1e9)


def lines_of(names: Sequence[bytes]) -> list[bytes]:
    """A point of each, in batches."""
    return joined([name + b" 1 1700000000\n" for name in names])


def cost(engine: QuotaEngine, buffers: Sequence[bytes]) -> float:
    """CPU seconds for all of them."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    for buffer in buffers:
        engine.admit(buffer)
    taken = time.process_time() - start
    gc.enable()
    return taken


def best(engine: QuotaEngine, names: Sequence[bytes], runs: int) -> float:
    """CPU seconds a name."""
    buffers = lines_of(names)
    return min(cost(engine, buffers) for _ in range(runs)) / len(names)


def spellings(count: int, runs: int, note: Note) -> None:
    """Known names as they are stored, and in spellings that are not the normal form."""
    engine = engine_under(OPEN)
    plain = [b"team%d.app%d.host%d.metric%d" % (n % 20, n % 50, n % 10_000, n) for n in range(count)]
    tagged = [b"cpu%d.idle;dc=a;host=h%d" % (n % 100, n) for n in range(count)]
    for names in (plain, tagged):
        cost(engine, lines_of(names))
        Random(1).shuffle(names)
    respelled = [b";".join((name.split(b";")[0], *name.split(b";")[:0:-1])) for name in tagged]
    note("spelled_plain", best(engine, plain, runs))
    note("spelled_dots", best(engine, [name.replace(b".", b"..", 1) for name in plain], runs))
    note("spelled_tags", best(engine, respelled, runs))


def rejections(count: int, runs: int, note: Note) -> None:
    """New metrics that are rejected; where sizes matter, by schemas and by a function."""
    for key, (text, name) in REJECTED.items():
        sources = {"": Schemas.from_text(SCHEMAS)}
        for suffix, size_of in (sources | ({"_function": same_size} if "size" in key else {})).items():
            engine = engine_under(text, size_of)
            engine.load("app.req.x")
            note(key + suffix, best(engine, [name % number for number in range(count)], runs))
            if len(engine) != 1:
                raise SystemExit(f"bench: {key}: some metrics came")


def new_metrics(count: int, note: Note) -> None:
    """New series in known namespaces."""
    for key, name in (("new_plain", b"team%d.app.metric%d"), ("new_tags", b"team%d.app;id=%d")):
        engine = engine_under(OPEN)
        for team in range(100):
            engine.load(f"team{team}.app.x")
        note(key, best(engine, [name % (number % 100, number) for number in range(count)], 1))


def new_namespaces(count: int, note: Note) -> None:
    """Series that bring a namespace each, under rules and not."""
    for key, text in (("ruled", OPEN), ("unruled", "[other]\nmetrics = 1\n")):
        engine = engine_under(text)
        gc.collect()
        before, spent, longest = psutil.Process().memory_info().rss, 0.0, 0.0
        for start in range(0, count, 1_000):
            names = [b"team%d.r%d.count" % (number % 100, number) for number in range(start, start + 1_000)]
            (buffer,) = lines_of(names)
            begun = time.process_time()
            engine.admit(buffer)
            taken = time.process_time() - begun
            spent, longest = spent + taken, max(longest, taken)
        gc.collect()
        note(f"namespace_{key}", spent / count)
        note(f"namespace_{key}_memory", (psutil.Process().memory_info().rss - before) / count)
        note(f"namespace_{key}_longest", longest)


class WatchedLock:
    """A lock that knows for how much CPU time it was held at most."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        """Be that lock."""
        self._lock = lock
        self.longest = self._since = 0.0

    def __enter__(self) -> None:
        """Take it."""
        self._lock.__enter__()
        self._since = time.thread_time()

    def __exit__(self, *error: object) -> None:
        """Give it back."""
        self.longest = max(self.longest, time.thread_time() - self._since)
        self._lock.__exit__(None, None, None)


class WatchedEngine(QuotaEngine):
    """An engine with such a lock around all but its decisions."""

    def __init__(self, text: str) -> None:
        """Start under these rules."""
        super().__init__(RuleSet.from_text(text), size_of=same_size, interval=1e9)
        self.watched = WatchedLock(self._lock)
        self._lock = self.watched  # type: ignore[assignment]


def holds(count: int, note: Note) -> None:
    """How long the lock is held while many ruled namespaces are told of, and how long that takes in all."""
    engine = WatchedEngine("[*.*]\nmetrics = 9\nthroughput = 9\n")
    for buffer in lines_of([b"team%d.app%d.m" % (number % 100, number) for number in range(count)]):
        engine.admit(buffer)
    for key, action in (("report_first", engine.report), ("report", engine.report), ("columns", engine.quota_columns)):
        engine.watched.longest, begun = 0.0, time.process_time()
        action()
        note(f"many_{key}", time.process_time() - begun)
        note(f"many_{key}_held", engine.watched.longest)


def floods(series: int, runs: int, note: Note) -> None:
    """All of them."""
    parts: list[Callable[[], None]] = [
        partial(spellings, series // 10, runs, note),
        partial(rejections, series // 20, runs, note),
        partial(new_metrics, series // 10, note),
    ]
    if COMPILED:
        parts += [partial(new_namespaces, series, note), partial(holds, 3 * series // 10, note)]
    for part in parts:
        part()
