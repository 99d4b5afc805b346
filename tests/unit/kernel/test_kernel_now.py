"""What the compiled kernel's ledger decides by itself, under the lock: what it answers, and who has the lock then."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.kernel import KERNEL, UNKNOWN
from tests.support.kernels import COMPILED, CONTROLS, STOCKS, if_built

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = if_built

ACCEPTED = 0
QUOTA = 1
LIMIT = 5
LINE = b"a.b 1 1\n"
QUIET = (100.0, 200.0)
Whatever = Any
"""What only the compiled kernel has a type for, or what is wrong on purpose."""

NOBODY_WAITS = 10.0
"""Seconds within which a free lock is had, on whatever machine."""


class Attending:
    """A ledger with one quota of LIMIT points at the root, over the metric `a.b`, with a lock and a clock."""

    def __init__(self, clock: Callable[[], float] = time.time, *, is_system: bool = True) -> None:
        from carbonquota.kernel._cy import Ledger, Lock  # noqa: PLC0415 - only where it is built

        assert COMPILED is not None
        table: Whatever = COMPILED.table_of([b"a.b"])
        self.table = table
        self.lock = Lock()
        self.ledger = Ledger(table, controls=CONTROLS, order=STOCKS)
        columns = {name: np.zeros(2, np.int64) for name in ("held", "rule", "throttle")}
        columns |= {name: np.full(2, LIMIT) for name in ("left", "limit")}
        columns |= {name: np.full(2, QUOTA) for name in ("enforcing", "quota_of")}
        columns["parent"] = np.full(2, -1)
        self.left = columns["left"]
        self.ledger.bind(
            columns=columns,
            used=[np.zeros(2, np.int64) for _ in STOCKS],
            dropped=[np.zeros(2, np.int64) for _ in range(6)],
            flows=np.array([[0, 0], [QUOTA, 0]], np.int32),
            stocks=np.zeros((2, 2), np.int32),
            limits=np.full((1, 6), 2**63 - 1, np.int64),
            size_number=np.zeros(64, np.int32),
            seen=np.zeros(64, np.uint32),
            some_forbid_all=False,
        )
        self.ledger.attend(self.lock, clock, is_system)
        self.ledger.keep_quiet(0.0, 2.0**40 if clock is time.time else QUIET[1])

    @property
    def is_locked(self) -> bool:
        """Whether somebody has the lock."""
        return is_locked(self.lock)

    def count(self, buffer: bytes) -> tuple[int, int, int]:
        """How many of a buffer's lines it has decided by itself as accepted, dropped and malformed."""
        lines = self.ledger.admit_now(buffer)
        return lines.accepted, lines.dropped, lines.malformed


def is_locked(lock: Whatever) -> bool:
    """Whether somebody has a lock, this thread perhaps; asked by a thread that waits for it as briefly as can be."""

    def ask() -> None:
        lock.acquire()
        lock.release()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(0.05)
    # Where it still waits, it gets the lock once the test lets go of it.
    return thread.is_alive()


@pytest.fixture
def attending() -> Attending:
    return Attending()


@pytest.mark.parametrize("buffer", [LINE, LINE * LIMIT, b"", b"\n\r\n", b"what\n" + LINE + b"\n a b\n", b"a.b 1 nan\n"])
def test_a_batch_of_known_metrics_that_all_pass_is_settled_and_the_lock_is_free(
    attending: Attending, buffer: bytes
) -> None:
    lines = attending.ledger.admit_now(buffer)
    assert (lines.is_decided, lines.is_settled) == (True, True)
    assert (lines.accepted, lines.dropped) == (buffer.count(LINE), 0)
    assert attending.left[QUOTA] == LIMIT - lines.accepted
    assert not attending.is_locked


@pytest.mark.parametrize("name", [b"a..b", b".a.b", b"a.b.", b"..a...b.."])
def test_a_known_metric_in_another_spelling_takes_no_python(attending: Attending, name: bytes) -> None:
    lines = attending.ledger.admit_now(LINE + name + b" 1 1\n")
    assert lines.is_settled
    assert (lines.accepted, lines.name(1)) == (2, name)
    assert attending.left[QUOTA] == LIMIT - 2


def test_where_a_point_is_dropped_all_is_decided_and_the_lock_is_the_callers(attending: Attending) -> None:
    lines = attending.ledger.admit_now(LINE * (LIMIT + 2) + b"what\n")
    assert (lines.is_decided, lines.is_settled) == (True, False)
    assert (lines.accepted, lines.dropped, lines.malformed) == (LIMIT, 2, 1)
    assert attending.left[QUOTA] == 0
    assert attending.is_locked
    attending.lock.release()


LEFT = {
    "unknown": b"a.c 1 1\n",
    "unknown last": LINE * 3 + b"a.c 1 1\n",
    "an error in the name": b"a.b;x 1 1\n",
    "doubt": b" a.b 1 1\n",
    "a doubtful timestamp": LINE + b"a.b 1 1e9\n",
    "too long to be looked for": b"a" * 16_385 + b" 1 1\n",
}


@pytest.mark.parametrize("buffer", LEFT.values(), ids=LEFT)
def test_what_takes_python_is_left_undecided_as_a_whole_and_the_lock_is_the_callers(
    attending: Attending, buffer: bytes
) -> None:
    lines = attending.ledger.admit_now(buffer)
    assert (lines.is_decided, lines.is_settled) == (False, False)
    assert (lines.accepted, lines.dropped, lines.malformed, attending.left[QUOTA]) == (0, 0, 0, LIMIT)
    assert attending.is_locked
    attending.lock.release()


@pytest.mark.parametrize("quiet", [(0.0, 0.0), (0.0, 1.0), (2.0**40, 2.0**41), (2.0**40, 0.0)])
def test_out_of_the_quiet_stretch_nothing_is_decided(attending: Attending, quiet: tuple[float, float]) -> None:
    attending.ledger.keep_quiet(*quiet)
    assert not attending.ledger.admit_now(LINE).is_decided
    attending.lock.release()
    assert attending.ledger.offer_now("a.b", 1) == UNKNOWN
    attending.lock.release()
    assert attending.left[QUOTA] == LIMIT


def test_with_another_clock_batches_are_left_and_single_offers_are_not() -> None:
    now = [QUIET[0]]
    attending = Attending(lambda: now[0], is_system=False)
    attending.ledger.keep_quiet(*QUIET)
    assert not attending.ledger.admit_now(LINE).is_decided
    assert attending.is_locked
    attending.lock.release()
    assert attending.ledger.offer_now("a.b", 1) == ACCEPTED
    for now[0] in (QUIET[0] - 0.001, QUIET[1], QUIET[1] + 1, float("nan")):
        assert attending.ledger.offer_now("a.b", 1) == UNKNOWN
        attending.lock.release()
    now[0] = QUIET[1] - 0.001
    assert attending.ledger.offer_now(b"a.b", 1) == ACCEPTED
    assert attending.left[QUOTA] == LIMIT - 2


@pytest.mark.parametrize(
    ("metric", "points", "answer"),
    [
        ("a.b", LIMIT, ACCEPTED),
        (b"a.b", 1, ACCEPTED),
        ("a.b", LIMIT + 1, QUOTA),
        ("a.b", 2**63 - 1, QUOTA),
        ("a.c", 1, UNKNOWN),
        ("a..b", 1, UNKNOWN),
        ("\ud800", 1, UNKNOWN),
        (bytearray(b"a.b"), 1, UNKNOWN),
        (None, 1, UNKNOWN),
    ],
)
def test_an_offer_leaves_the_lock_with_the_caller_unless_it_is_accepted(
    attending: Attending, metric: object, points: int, answer: int
) -> None:
    assert attending.ledger.offer_now(metric, points) == answer
    assert attending.left[QUOTA] == LIMIT - (points if answer == ACCEPTED else 0)
    assert attending.is_locked == (answer != ACCEPTED)
    if answer != ACCEPTED:
        attending.lock.release()


class ClockError(Exception):
    """What a clock of ours raises."""


def _broken() -> float:
    raise ClockError


@pytest.mark.parametrize(
    ("clock", "error"),
    [(_broken, ClockError), (lambda: "noon", TypeError), (None, TypeError)],
    ids=("raises", "text", "none"),
)
def test_what_a_clock_raises_comes_through_and_the_lock_is_free(clock: Whatever, error: type[Exception]) -> None:
    attending = Attending(clock, is_system=False)
    with pytest.raises(error):
        attending.ledger.offer_now("a.b", 1)
    assert not attending.is_locked
    assert attending.left[QUOTA] == LIMIT


@pytest.mark.parametrize(("metric", "points"), [("a.b", 2**63), ("a.b", "1"), ("a.b", None)])
def test_points_that_are_no_number_are_refused_before_the_lock_is_taken(
    attending: Attending, metric: str, points: Whatever
) -> None:
    with pytest.raises((TypeError, OverflowError)):
        attending.ledger.offer_now(metric, points)
    assert not attending.is_locked


@pytest.mark.parametrize("buffer", [None, "a.b 1 1\n", bytearray(LINE), memoryview(LINE)])
def test_a_buffer_that_is_not_bytes_is_refused_before_the_lock_is_taken(attending: Attending, buffer: Whatever) -> None:
    with pytest.raises(TypeError):
        attending.ledger.admit_now(buffer)
    assert not attending.is_locked


def test_what_is_bound_to_nothing_decides_nothing() -> None:
    from carbonquota.kernel._cy import Ledger, Lock  # noqa: PLC0415 - only where it is built

    assert COMPILED is not None
    table: Any = COMPILED.table_of([b"a.b"])
    ledger, lock = Ledger(table, controls=CONTROLS, order=STOCKS), Lock()
    ledger.attend(lock, time.time, is_system=True)
    for decide in (lambda: ledger.offer_now("a.b", 1), lambda: ledger.admit_now(LINE)):
        with pytest.raises(ValueError, match=r"^a ledger decides over columns that it is bound to$"):
            decide()
        assert not is_locked(lock)


def test_what_attends_to_no_lock_decides_nothing() -> None:
    from carbonquota.kernel._cy import Ledger  # noqa: PLC0415 - only where it is built

    assert COMPILED is not None
    table: Whatever = COMPILED.table_of([b"a.b"])
    ledger = Ledger(table, controls=CONTROLS, order=STOCKS)
    for call in (lambda: ledger.offer_now("a.b", 1), lambda: ledger.admit_now(LINE), ledger.leave):
        with pytest.raises(ValueError, match=r"^a ledger decides by itself once it attends to a lock and a clock$"):
            call()


def test_who_has_the_lock_can_leave_it_and_nobody_else(attending: Attending) -> None:
    attending.ledger.leave()
    attending.lock.acquire()
    thread = threading.Thread(target=attending.ledger.leave)
    thread.start()
    thread.join(NOBODY_WAITS)
    assert attending.is_locked
    attending.ledger.leave()
    assert not attending.is_locked


@pytest.mark.parametrize("metric", ["p.q.r.s.t.u.v.w.m", "p.q.r.s.t.u.m"])
def test_no_number_overflows_where_chains_are_of_many_lengths(metric: str) -> None:
    """All of 2^63 - 1 points at once, below more limits than a namespace has at hand."""
    rules = "".join(f"[{'.'.join('*' * depth)}]\nthroughput = max\n" for depth in range(1, 13))
    engine = QuotaEngine(RuleSet.from_text(rules), interval=2.0**32)
    for known in (metric, "a.b.c.d.e.f.g.h.i.j.k.l.m"):
        engine.load(known)
    assert engine.offer(metric, 2**63 - 1).accepted
    assert not engine.offer(metric).accepted
    assert engine.usage("p.q").throughput == 2**63 - 1


@pytest.mark.parametrize(("gone", "decided"), [(b"a.b", False), (b"a.x", True)])
def test_a_batch_that_waits_for_the_lock_is_decided_by_what_is_there_when_it_has_it(
    attending: Attending, gone: bytes, *, decided: bool
) -> None:
    answers = []

    def admit() -> None:
        lines = attending.ledger.admit_now(LINE)
        answers.append((lines.is_decided, lines.row(0) != UNKNOWN))
        if not lines.is_settled:
            attending.lock.release()

    attending.table.insert(b"a.x", 0)
    attending.lock.acquire()
    thread = threading.Thread(target=admit)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    attending.table.remove(gone)
    attending.lock.release()
    thread.join(NOBODY_WAITS)
    assert answers == [(decided, decided)]


# --- the same through an engine, whose calls use these ways ----------------------------------------------------------


@pytest.mark.skipif(KERNEL != "compiled", reason="the engine decides by the other kernel")
class TestEngine:
    """An engine with the system's clock, whose lock is free after each call, whatever became of it."""

    def engine(self) -> QuotaEngine:
        rules = RuleSet.from_text("[a]\nthroughput = 5\nmetrics = 2\n")
        return QuotaEngine(rules, interval=2.0**32)

    def test_after_each_kind_of_answer_others_have_their_turn(self) -> None:
        engine = self.engine()
        offers = [("a.b", 1), ("a.b", 1), ("a.b", 9), ("a.c", 1), ("a.d", 1), ("...a.b", 1)]
        for metric, points in offers:
            engine.offer(metric, points)
            assert _is_free(engine)
        for buffer in (b"", LINE, LINE * 9, b"a.x 1 1\n", b"b.x 1 1e9\n", b"what\n"):
            engine.admit(buffer)
            assert _is_free(engine)
        assert engine.usage("a").throughput == 5

    @pytest.mark.parametrize("metric", ["", "...", "a\0b", "a" * 5000, b"\xff"])
    def test_a_name_that_is_none_is_refused_and_others_have_their_turn(self, metric: str | bytes) -> None:
        engine = self.engine()
        with pytest.raises(ValueError, match="metric name"):
            engine.offer(metric)
        assert _is_free(engine)

    def test_where_a_size_cannot_be_told_what_was_decided_before_stays_counted(self) -> None:
        """A metric with tags has its turn in Python, after others came into the table in C."""

        def size_of(name: str) -> Size:
            if ";" in name:
                raise LookupError(name)
            return Size(10, 20, 30)

        rules = RuleSet.from_text("[/]\nmetrics = 99\n")
        engine = QuotaEngine(rules, size_of=size_of, interval=2.0**32, record_changes=True, keep_seen=True)
        engine.load("b.known", Size(1, 1, 1))
        engine.take_changes()
        with pytest.raises(LookupError):
            engine.admit(b"b.c 1 1\nb.d 1 1\nb.tagged;t=1 1 1\nb.e 1 1\n")
        assert _is_free(engine)
        assert [change.name for change in engine.take_changes()] == [b"b.c", b"b.d"]
        holdings = engine.holdings()
        sizes = [holdings.sizes[number] for number in holdings.size_numbers]
        assert dict(zip(holdings.names, sizes, strict=True)) == {
            b"b.known": Size(1, 1, 1),
            b"b.c": Size(10, 20, 30),
            b"b.d": Size(10, 20, 30),
        }
        for name in ("b.c", "b.known", "b.d"):
            engine.forget(name)
            engine.load(f"c.{name}", Size(7, 7, 7))
        usage = engine.usage("/")
        assert (usage.metrics, usage.logical_size, usage.data_points) == (3, 21, 21)


def _is_free(engine: QuotaEngine) -> bool:
    """Whether another thread's call comes through."""
    thread = threading.Thread(target=lambda: len(engine), daemon=True)
    thread.start()
    thread.join(NOBODY_WAITS)
    return not thread.is_alive()
