"""Eight threads into the same tight limits: no limit passed by even one, and every point accounted for once."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock
from tests.support.model import recount
from tests.support.names import namespaces_of, split_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS = 8
SIZE = Size(logical=100, physical=4096, data_points=7)
RULES = """
[/]
throughput = 3,000
metrics = 90

[a]
metrics = 40
throughput = 900

[b]
logical-size = 2,550
dropping-policy = new

[c]
namespaces = 3
physical-size = 409,600

[d.*]
data-points = 42
throughput = 120
"""
# Another file with the same limits, so that a reload in the middle moves nothing that the limits hold.
SAME_LIMITS = RULES + "\n[e]\nmetrics = 5\ndropping-policy = none\n\n[nobody.*]\nmetrics = 1\n"
LIMITS = {"/": {"metrics": 90}, "a": {"metrics": 40}, "b": {"logical-size": 2550}, "c": {"namespaces": 3}}
THROUGHPUTS = {"root": 3000, "a": 900, "d-x": 120, "d-y": 120}
NAMES = [f"{top}.{middle}.m{number}" for top in "abcde" for middle in "xyzvw" for number in range(12)]


@dataclass
class Tally:
    """What one thread offered, and what it was told."""

    offered: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    malformed: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.offered + other.offered,
            self.accepted + other.accepted,
            self.dropped + other.dropped,
            self.malformed + other.malformed,
        )


@pytest.fixture(autouse=True)
def _threads_change_often() -> Iterator[None]:
    """Make Python change threads as often as it can, so that a race shows in a short test."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _engine(text: str = RULES) -> QuotaEngine:
    return QuotaEngine(RuleSet.from_text(text), size_of=lambda _metric: SIZE, clock=ManualClock(0.0), interval=60.0)


def _together(*jobs: Callable[[], Tally]) -> Tally:
    """Start all jobs at the same moment; their tallies in one."""
    barrier = Barrier(len(jobs))

    def start(job: Callable[[], Tally]) -> Tally:
        barrier.wait(timeout=60)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return sum(pool.map(start, jobs), start=Tally())


def _offering(engine: QuotaEngine, seed: int, offers: int = 1200) -> Tally:
    random, tally = Random(seed), Tally()
    for _ in range(offers):
        name, points = random.choice(NAMES), random.choice((1, 1, 1, 2, 3))
        verdict = engine.offer(name, points)
        tally.offered += points
        if verdict.accepted:
            tally.accepted[name] += points
        else:
            tally.dropped[verdict.namespace, verdict.control] += points
    return tally


def _admitting(engine: QuotaEngine, seed: int, batches: int = 30) -> Tally:
    random, tally = Random(seed), Tally()
    for _ in range(batches):
        names = random.choices(NAMES, k=random.choice((1, 5, 100, 300)))
        lines = [name.encode() + b" 1 1\n" if random.random() > 0.02 else b"what is this\n" for name in names]
        result = engine.admit(b"".join(lines))
        tally.offered += len(lines)
        tally.malformed += result.malformed
        tally.accepted.update(line.split()[0].decode() for line in split_lines(result.accepted))
        tally.dropped.update({who: drop.points for who, drop in result.drops.items()})
        assert result.points + result.dropped + result.malformed == len(lines)
    return tally


def test_pairs_are_accepted_together_or_not_at_all_under_any_threads() -> None:
    """Each pair takes one of a limit of its own and one of a limit of all; between them nobody gets in."""
    engine = _engine("[pairs]\nthroughput = 700\n[own.*]\nthroughput = 90\n[own]\nmetrics = 13\n")

    def pairing(seed: int) -> Tally:
        random, tally = Random(seed), Tally()
        for _ in range(300):
            one, other = f"own.n{random.randrange(15)}.m", "pairs.all"
            offers = [(one, 1), (other, 1)] if random.random() < 0.5 else [(other, 1), (one, 1)]
            tally.offered += 1
            if engine.offer_all(offers):
                tally.accepted[one] += 1
        return tally

    tally = _together(*(partial(pairing, seed) for seed in range(4)))
    accepted = tally.accepted.total()
    assert engine.usage("pairs").throughput == accepted <= 700
    assert engine.usage("own").metrics == len(tally.accepted) == 13
    for name, points in tally.accepted.items():
        assert engine.usage(name.removesuffix(".m")).throughput == points <= 90


def _assert_all_accounted(engine: QuotaEngine, tally: Tally) -> None:
    """Offers are accepted, dropped or malformed; usage is a recount of the accepted; no limit is passed."""
    assert tally.accepted.total() + tally.dropped.total() + tally.malformed == tally.offered
    assert len(engine) == len(tally.accepted)
    stocks = recount(dict.fromkeys(tally.accepted, (SIZE.logical, SIZE.physical, SIZE.data_points)))
    for namespace, held in stocks.items():
        usage = engine.usage(namespace)
        got = (usage.namespaces, usage.metrics, usage.logical_size, usage.physical_size, usage.data_points)
        keys = ("namespaces", "metrics", "logical-size", "physical-size", "data-points")
        assert got == tuple(held[key] for key in keys), namespace
        assert all(held[control] <= limit for control, limit in LIMITS.get(namespace, {}).items()), namespace


def _accepted_below(tally: Tally, namespace: str) -> int:
    return sum(points for name, points in tally.accepted.items() if namespace in namespaces_of(name))


def test_eight_threads_pass_no_limit_and_use_it_up() -> None:
    engine = _engine()
    jobs = [lambda seed=seed: (_offering if seed % 2 else _admitting)(engine, seed) for seed in range(THREADS)]
    tally = _together(*jobs)
    _assert_all_accounted(engine, tally)
    assert engine.usage("/").metrics == 90
    assert engine.usage("/").throughput == tally.accepted.total() == 3000
    assert engine.usage("a").throughput == _accepted_below(tally, "a") <= 900
    report = engine.report()
    assert report["usage.throughput.root"] == 3000
    for name in THROUGHPUTS.keys() - {"root"}:
        namespace = name.replace("-", ".")
        assert report.get(f"usage.throughput.{name}", 0) == _accepted_below(tally, namespace) <= THROUGHPUTS[name]
    reported_drops = sum(value for name, value in report.items() if name.startswith("dropped."))
    assert reported_drops == tally.dropped.total()


def test_reloads_and_reports_among_eight_threads_lose_no_point_and_free_no_limit() -> None:
    engine, reports = _engine(), list[dict[str, int]]()

    def reload() -> Tally:
        files = [RuleSet.from_text(RULES), RuleSet.from_text(SAME_LIMITS)]
        for turn in range(60):
            engine.apply(files[turn % 2])
        return Tally()

    def report() -> Tally:
        reports.extend(engine.report() for _ in range(25))
        return Tally()

    offering = [lambda seed=seed: (_offering if seed % 2 else _admitting)(engine, seed) for seed in range(THREADS)]
    tally = _together(*offering, reload, report)
    reports.append(engine.report())
    _assert_all_accounted(engine, tally)
    for name, limit in THROUGHPUTS.items():
        namespace = "/" if name == "root" else name.replace("-", ".")
        shown = [report.get(f"usage.throughput.{name}", 0) for report in reports]
        assert max(shown) <= limit
        assert sum(shown) == _accepted_below(tally, namespace), name
    for namespace in ("/", "a", "b", "c"):
        name = "root" if namespace == "/" else namespace
        shown = [report.get(f"dropped.{name}", 0) for report in reports]
        assert sum(shown) == sum(points for who, points in tally.dropped.items() if who[0] == namespace)


def test_a_lowered_limit_holds_for_every_offer_after_the_reload() -> None:
    engine = _engine("[/]\nmetrics = 1000\n")
    lowered = RuleSet.from_text("[/]\nmetrics = 20\n")
    barrier = Barrier(THREADS)

    def offer(seed: int) -> int:
        barrier.wait(timeout=60)
        for number in range(100):
            engine.offer(f"t{seed}.m{number}")
        barrier.wait(timeout=60)
        if seed == 0:
            engine.apply(lowered)
        barrier.wait(timeout=60)
        return sum(engine.offer(f"u{seed}.m{number}").accepted for number in range(50))

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(offer, range(THREADS))) == 0
    assert engine.usage("/").metrics == 100 * THREADS


def test_metrics_forgotten_and_offered_by_eight_threads_leave_no_residue() -> None:
    engine = _engine("[/]\nmetrics = 30\n\n[a]\nnamespaces = 2\nmetrics = 12\n")

    def churn(seed: int) -> Tally:
        random, tally = Random(seed), Tally()
        for _ in range(1500):
            name = random.choice(NAMES)
            if random.random() < 0.5:
                engine.forget(name)
            else:
                engine.offer(name)
            usage = engine.usage("a")
            assert usage.metrics <= 12
            assert usage.namespaces <= 2
            assert len(engine) <= 30
        return tally

    _together(*[lambda seed=seed: churn(seed) for seed in range(THREADS)])
    held = [name for name in NAMES if name in engine]
    assert engine.usage("/").metrics == len(held) == len(engine)
    for name in held:
        assert engine.forget(name)
    usage = engine.usage("/")
    assert (usage.namespaces, usage.metrics, usage.logical_size, len(engine)) == (0, 0, 0, 0)
    assert set(engine.namespaces()) <= {"/"}


class InterruptionError(Exception):
    """What a signal's handler raises."""


INTERRUPTIONS = 150


# Python can but tell of one that comes while an object is being freed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("call", ["offer", "admit"])
def test_a_thread_that_is_interrupted_anywhere_leaves_no_lock_behind(call: str) -> None:
    """As by Ctrl-C in a shell, after which the engine is asked for more."""
    engine = QuotaEngine(RuleSet.from_text("[a]\nthroughput = 1\n"), interval=2.0**32)
    engine.offer("a.b")
    calls: dict[str, Callable[[], object]] = {
        "offer": lambda: engine.offer("a.b"),
        "admit": lambda: engine.admit(b"a.b 1 1\n"),
    }

    def interrupt(*_: object) -> None:
        raise InterruptionError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(INTERRUPTIONS):
            # Repeated, as one that comes while an object is being freed is lost.
            with suppress(InterruptionError):
                signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.01)
                while True:
                    calls[call]()
            signal.setitimer(signal.ITIMER_REAL, 0)
            other = Thread(target=len, args=(engine,), daemon=True)
            other.start()
            other.join(10)
            assert not other.is_alive()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- by the system's clock, by which the compiled kernel decides most calls without Python ----------------------------

SECONDS = 1.5
"""How long the threads are at it: at least one interval ends meanwhile."""

BOTH_CONTROLS = (
    "[/]\nthroughput = 2,000\nmetrics = 400\n\n[a]\nthroughput = 300\nmetrics = 60\n\n[*.*]\nthroughput = 90\n"
)


def _until(end: float, job: Callable[[Random], Tally], seed: int) -> Tally:
    """Do something over and over until it is time."""
    random, tally = Random(seed), Tally()
    while time.monotonic() < end:
        tally += job(random)
    return tally


def test_intervals_end_among_eight_threads_and_each_point_is_counted_in_one() -> None:
    engine = QuotaEngine(
        RuleSet.from_text(BOTH_CONTROLS),
        size_of=lambda _metric: SIZE,
        interval=1.0,
        keep_seen=True,
        record_changes=True,
    )
    rule_files = [RuleSet.from_text(BOTH_CONTROLS), RuleSet.from_text(BOTH_CONTROLS + "[nobody.*]\nmetrics = 1\n")]
    reports, names = list[dict[str, int]](), NAMES[:200]

    def admit_known(random: Random) -> Tally:
        tally = Tally()
        for _ in range(20):
            buffer = b"".join(name.encode() + b" 1 1\n" for name in random.choices(names, k=random.choice((1, 9, 200))))
            result = engine.admit(buffer)
            tally.offered += result.points + result.dropped
            tally.accepted.update(line.split()[0].decode() for line in split_lines(result.accepted))
            tally.dropped.update({who: drop.points for who, drop in result.drops.items()})
        return tally

    def change(random: Random) -> Tally:
        for name in random.choices(names, k=20):
            engine.forget(name)
        for name in random.choices(names, k=20):
            engine.load(name)
        engine.expire(time.time() - 1, most=50)
        engine.apply(random.choice(rule_files))
        engine.take_changes()
        holdings, _ = engine.dump()
        assert len(holdings.names) == len(holdings.size_numbers) == len(holdings.seen)
        return Tally()

    def report(_random: Random) -> Tally:
        reports.append(engine.report())
        return Tally()

    end = time.monotonic() + SECONDS
    kinds = [admit_known, admit_known, admit_known, change, report]
    kinds += [lambda random: _offering(engine, random.randrange(2**31), 100)] * 2
    kinds += [lambda random: _admitting(engine, random.randrange(2**31), 3)]
    tally = _together(*[lambda job=job, seed=seed: _until(end, job, seed) for seed, job in enumerate(kinds)])
    # One gives what ended, another ends the interval that runs.
    reports += [engine.report() for _ in range(3)]
    assert tally.accepted.total() + tally.dropped.total() + tally.malformed == tally.offered
    _assert_reported(reports, tally)
    _assert_usage_is_a_recount(engine)


def _assert_reported(reports: list[dict[str, int]], tally: Tally) -> None:
    """The reports give each accepted and each dropped point once."""
    for name, namespace in (("root", "/"), ("a", "a")):
        throughputs = [report.get(f"usage.throughput.{name}", 0) for report in reports]
        assert sum(throughputs) == _accepted_below(tally, namespace) > 0
        dropped = sum(points for who, points in tally.dropped.items() if who[0] == namespace)
        assert sum(report.get(f"dropped.{name}", 0) for report in reports) == dropped


def _assert_usage_is_a_recount(engine: QuotaEngine) -> None:
    """What each namespace is said to hold is what its metrics come to, and all is given back with them."""
    held = {name.decode() for name in engine.holdings().names}
    stocks = recount(dict.fromkeys(held, (SIZE.logical, SIZE.physical, SIZE.data_points)))
    assert set(engine.namespaces()) == stocks.keys() - {"/"}
    for namespace, counts in stocks.items():
        usage = engine.usage(namespace)
        got = (usage.namespaces, usage.metrics, usage.logical_size, usage.physical_size, usage.data_points)
        expected = ("namespaces", "metrics", "logical-size", "physical-size", "data-points")
        assert got == tuple(counts[key] for key in expected), namespace
    assert all(engine.forget(name) for name in held)
    usage = engine.usage("/")
    assert (usage.metrics, usage.namespaces, usage.logical_size, usage.physical_size, usage.data_points) == (0,) * 5
