"""Whatever is asked of an engine, it answers the same on either kernel.

The compiled kernel is this process's; the plain one's engine lives in a process of its own, which plays the same plays
and sends back its transcripts. Run as a program, this file is that process.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine, QuotaError, RuleSet, Size
from carbonquota.kernel import KERNEL
from carbonquota.testing import ManualClock
from tests.support.engines import line, size_of
from tests.support.example_counts import examples
from tests.support.model import MAXIMUM, SlowRule, rules_text
from tests.support.names import split_lines
from tests.support.traffic import batches, pools, rule_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carbonquota import Change, Verdict
    from carbonquota.controls import Admission, BatchDecision, Decider
    from carbonquota.controls.native._cy import Batch, Ledger
    from carbonquota.trie import Holdings

ROOT = Path(__file__).parents[2]
LONG = 2.0**32
"""An interval that began in 1970 and outlasts the tests: the clock may as well stand still."""

Anything = Any
Options = dict[str, Any]
Step = tuple[Any, ...]
Play = tuple[Options, list[Step]]
"""How the engine is made, and what is then asked of it, in plain types."""


class Player:
    """An engine that does what a play says and keeps a transcript of its answers."""

    def __init__(self, rules: str, *, ticks: bool, **options: Anything) -> None:
        """Under these rules; with `ticks` by a clock that the play moves, else by the system's."""
        self.clock = ManualClock(1.7e9)
        self.options: Options = options | {"size_of": size_of, "record_changes": True}
        self.options |= {"clock": self.clock} if ticks else {"interval": LONG}
        self.engine = QuotaEngine(RuleSet.from_text(rules), **self.options)

    def play(self, step: Step) -> object:
        """The answer to one step."""
        asked, *arguments = step
        try:
            return getattr(self, asked)(*arguments)
        except (QuotaError, ValueError) as error:
            return type(error).__name__, str(error)

    def admit(self, buffer: bytes) -> object:
        answer = self.engine.admit(buffer)
        return said_of(answer), answer.accepted is buffer

    def offer(self, name: str, points: int, size: tuple[int, int, int] | None) -> object:
        spellings = (name, name.encode(), f".{name}")
        return verdict_of(self.engine.offer(spellings[points % 3], points, size and Size(*size)))

    def load(self, name: str, size: tuple[int, int, int] | None) -> None:
        self.engine.load(name, size and Size(*size))

    def forget(self, name: str) -> object:
        return self.engine.forget(name)

    def expire(self, seconds: int) -> object:
        return sorted(self.engine.expire(self.clock() - seconds))

    def apply(self, rules: str) -> None:
        self.engine.apply(RuleSet.from_text(rules))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def report(self) -> object:
        return self.engine.report()

    def explain(self, name: str, points: int) -> object:
        return repr(self.engine.explain(name, points))

    def dump(self) -> object:
        holdings, changes = self.engine.dump()
        return held(holdings), sorted(map(changed, changes))

    def restart(self) -> object:
        """Go on with an engine that has what this one had."""
        before, holdings = self.engine, self.engine.holdings()
        self.engine = QuotaEngine(before.rules, **self.options)
        self.engine.restore(holdings)
        return held(self.engine.holdings())

    def look(self) -> object:
        engine = self.engine
        names = ["/", *engine.namespaces()]
        counts = len(engine), engine.namespace_count(), repr(engine.quotas())
        return counts, [(name, repr(engine.usage(name)), engine.children(name)) for name in names]


def verdict_of(verdict: Verdict) -> object:
    """A verdict in plain types."""
    return verdict.accepted, verdict.namespace, verdict.control, verdict.rule and verdict.rule.pattern


def said_of(answer: Admission) -> object:
    """All that an admission says."""
    drops = [(who, drop.points, drop.rule and drop.rule.pattern, drop.samples) for who, drop in answer.drops.items()]
    malformed = answer.malformed_by_reason, answer.malformed_samples, answer.malformed_lines
    return answer.accepted, repr(answer), drops, answer.dropped_by_control, malformed


def held(holdings: Holdings) -> object:
    """Holdings with what their rows are called by left out, which each kernel gives as it likes."""
    names, times = list(holdings.names), holdings.seen.tolist()
    sizes = [repr(holdings.sizes[number]) for number in holdings.size_numbers]
    return sorted(zip(names, sizes, times, strict=True)), holdings.interval_start, sorted(holdings.rates.items())


def changed(change: Change) -> tuple[bytes, str]:
    """A change in plain types."""
    return change.name, repr(change.size)


def transcript(play: Play) -> list[tuple[object, object]]:
    """What comes of each step, and how things stand after it."""
    options, steps = play
    player = Player(**options)
    return [(player.play(step), player.look()) for step in steps]


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """Say which kernel runs, then play until nobody asks any more."""
    pickle.dump(KERNEL, answers)
    answers.flush()
    while asked.peek(1):  # type: ignore[attr-defined]
        pickle.dump(transcript(pickle.load(asked)), answers)  # noqa: S301 - our own parent's
        answers.flush()


class Other:
    """A process that plays on the plain kernel."""

    def __init__(self) -> None:
        environment = os.environ | {"CARBONQUOTA_KERNEL": "python", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.asked, self.answers = self.process.stdin, self.process.stdout
        assert self._answer() == "python"

    def _answer(self) -> Anything:
        return pickle.load(self.answers)  # noqa: S301 - our own child's

    def transcript(self, play: Play) -> list[tuple[object, object]]:
        """What it makes of a play."""
        pickle.dump(play, self.asked)
        self.asked.flush()
        answers: list[tuple[object, object]] = self._answer()
        return answers

    def end(self) -> None:
        """Have it leave."""
        self.asked.close()
        assert self.process.wait(timeout=60) == 0
        self.answers.close()


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    other = Other()
    yield other
    other.end()


pytestmark = pytest.mark.skipif(KERNEL != "compiled", reason="this process is to run the compiled kernel")

AMOUNTS = st.integers(0, 500)
SIZES = st.none() | st.tuples(AMOUNTS, AMOUNTS.map(lambda blocks: blocks * 4096), AMOUNTS)
POINTS = st.integers(1, 9) | st.integers(1, 300) | st.sampled_from([MAXIMUM, MAXIMUM // 2])
LENGTHS = st.integers(1, 20) | st.integers(50, 400)
NOISE = st.binary(max_size=40).map(lambda noise: noise + b"\n") | st.binary(max_size=9).map(lambda noise: b"a." + noise)
COMMON = ("admit", "admit", "scattered", "known", "known", "offer", "offer", "load", "forget", "apply", "report")
OTHERS = ("explain", "dump", "restart", "noise")
TICKING = ("wait", "wait", "expire")


@st.composite
def plays(draw: st.DrawFn, *, ticks: bool) -> Play:
    """An engine under random rules, and steps to go through; without `ticks` nothing in it depends on the time.

    All metrics may be there from the start, and the root has a limit, so that batches of them are dropped in part.
    """
    root = SlowRule("/", {"throughput": draw(st.integers(20, 300))})
    options: Options = {"ticks": ticks, "rules": rules_text([root, *draw(rule_files)])}
    if ticks:
        options["interval"], options["throughput_unit"] = draw(st.sampled_from([(60.0, "interval"), (7.0, "minute")]))
        options["keep_seen"] = draw(st.booleans())
        options["max_creates_per_second"] = draw(st.none() | st.sampled_from([1, 7, 100]))
    pool = draw(pools)
    kinds = st.sampled_from(COMMON + OTHERS + (TICKING if ticks else ()))
    start: list[Step] = [("load", name, None) for name in pool] if draw(st.booleans()) else []
    return options, start + [_step(draw, kind, pool) for kind in draw(st.lists(kinds, min_size=3, max_size=15))] + [
        ("report",)
    ]


def _step(draw: st.DrawFn, kind: str, pool: list[str]) -> Step:
    """One step with what it takes."""
    if kind in BUFFERS:
        return "admit", BUFFERS[kind](draw, pool)
    return kind, *(draw(part if part is not NAME else st.sampled_from(pool)) for part in PARTS.get(kind, ()))


def _dirty(draw: st.DrawFn, pool: list[str]) -> bytes:
    return b"".join(draw(batches(pool)).lines())


def _noisy(draw: st.DrawFn, pool: list[str]) -> bytes:
    return draw(NOISE).join(draw(batches(pool)).lines())


def _of_the_pool(draw: st.DrawFn, pool: list[str]) -> bytes:
    return b"".join(Random(draw(st.integers(0, 99))).choices([*map(line, pool)], k=draw(LENGTHS)))


def _scattered(draw: st.DrawFn, _pool: list[str]) -> bytes:
    """Many new namespaces at once, some of which are called in stats as others are."""
    random = Random(draw(st.integers(0, 99)))
    paths = [random.choice(CLASHING).replace("N", str(random.randrange(30))) for _ in range(60)]
    return b"".join(line(f"{path}.m{random.randrange(3)}") for path in paths)


CLASHING = ("N.a", "N.a", "a.N", "a-N", "b.a.N", "b.a-N", "b-a.N", "b-a-N", "b.a-N;t=1")
BUFFERS = {"admit": _dirty, "noise": _noisy, "known": _of_the_pool, "scattered": _scattered}
NAME: st.SearchStrategy[str] = st.just("")
"""Stands for one of the pool's names."""

PARTS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "offer": (NAME, POINTS, SIZES),
    "load": (NAME, SIZES),
    "explain": (NAME, POINTS),
    "forget": (NAME,),
    "apply": (rule_files.map(rules_text),),
    "wait": (st.sampled_from([0, 0.5, 1, 6, 59, 61]),),
    "expire": (st.sampled_from([0, 1, 6, 59, 300]),),
}


def assert_same(other: Other, play: Play) -> None:
    """Both transcripts, step by step."""
    expected = other.transcript(play)
    for step, got, wanted in zip(play[1], transcript(play), expected, strict=True):
        assert got == wanted, step


@settings(max_examples=examples(100))
@given(play=plays(ticks=True))
def test_both_kernels_answer_the_same_whatever_time_it_is(other: Other, play: Play) -> None:
    assert_same(other, play)


class Ways:
    """How the compiled kernel's batches were decided, counted on the way."""

    def __init__(self) -> None:
        self.taken = Counter[str]()
        self._helped: Batch | None = None
        self._decide, self._answer = native_batch().decide, native_batch().answer

    def decide(self, decider: Decider, ledger: Ledger, batch: Batch, sizes: Anything) -> None:
        self._helped = batch
        self._decide(decider, ledger, batch, sizes)

    def answer(self, decider: Decider, batch: Batch) -> BatchDecision:
        by_itself = "with drops" if batch.rejected else "settled"
        self.taken["helped" if batch is self._helped else by_itself] += len(batch.lines) > 0
        answer: BatchDecision = self._answer(decider, batch)
        return answer


def native_batch() -> Anything:
    """The module that decides batches beside C; only where it is built."""
    return import_module("carbonquota.controls.native.batch")


def counting(play_all: Callable[[], None]) -> Counter[str]:
    """In what ways batches were decided meanwhile."""
    ways = Ways()
    with patch.multiple(native_batch(), decide=ways.decide, answer=ways.answer):
        play_all()
    return ways.taken


def test_both_kernels_answer_the_same_where_the_compiled_one_decides_by_itself(other: Other) -> None:
    """The clock is the system's, so a batch of known metrics is decided in C, and told of where a point is dropped."""

    @settings(max_examples=examples(200))
    @given(play=plays(ticks=False))
    def all_plays(play: Play) -> None:
        assert_same(other, play)

    taken = counting(all_plays)
    assert min(taken["settled"], taken["with drops"], taken["helped"]) > 2, taken


ALL_CONTROLS = """
[/]
throughput = 2,000
metrics = 350
[*]
namespaces = 5
logical-size = 3,000
[*.*]
data-points = 60
throughput = 100
[b.*]
physical-size = 81,920
[c]
metrics = 50
throughput = 9
dropping-policy = none
"""


@pytest.mark.parametrize("ticks", [True, False])
def test_ten_thousand_points_of_a_thousand_metrics_under_all_controls(other: Other, *, ticks: bool) -> None:
    names = [f"{top}.{middle}.m{number}" for top in "abcd" for middle in "uvwxyz" for number in range(40)]
    lines = [line(name) for name in Random(1).choices(names, k=10_000)]
    steps: list[Step] = [("admit", b"".join(lines[start : start + 700])) for start in range(0, len(lines), 700)]
    steps[5:5] = [("forget", name) for name in names[::3]]
    steps[-3:-3] = [("report",), ("dump",), ("restart",)]
    play: Play = {"rules": ALL_CONTROLS, "ticks": ticks}, steps
    assert_same(other, play)
    dropped: set[str] = {control for step in transcript(play) for control in controls_in(step[0])}
    assert dropped == {"namespaces", "metrics", "logical-size", "physical-size", "data-points", "throughput"}


def controls_in(answer: Anything) -> set[str]:
    """By which controls a batch's points were dropped."""
    return {who[1] for who, *_ in answer[0][2]} if isinstance(answer, tuple) and isinstance(answer[1], bool) else set()


@pytest.mark.parametrize("first", ["a-b.m", "a-b.m;t=1", "b.a-b.m", " a-b.m"])
def test_of_two_namespaces_that_stats_would_call_the_same_the_first_to_come_is(other: Other, first: str) -> None:
    """Among so many new ones that the compiled kernel has them created at once."""
    lines = [line(first), *[line(f"x{number}.y.m") for number in range(20)], line("a.b.m"), line("b.a.b.m")]
    rules = "".join(f"[{pattern}]\nmetrics = 99\n" for pattern in ("*", "*.*", "*.*.*"))
    assert_same(other, ({"rules": rules, "ticks": False}, [("admit", b"".join(lines)), ("report",)]))


def test_the_transcripts_tell_plays_apart(other: Other) -> None:
    """What makes the other tests worth something: a single line more, or another limit, shows."""
    lines = split_lines(line("a.b") * 5)
    play: Play = {"rules": "[a]\nthroughput = 3\n", "ticks": False}, [("admit", b"".join(lines))]
    more: Play = play[0], [("admit", b"".join(lines[:4]))]
    looser: Play = {"rules": "[a]\nthroughput = 4\n", "ticks": False}, play[1]
    assert other.transcript(play) == transcript(play)
    assert other.transcript(play) not in (transcript(more), transcript(looser))


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
