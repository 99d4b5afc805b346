"""What the ledger decides without Python, what it leaves to its owner, and who has the lock then."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.controls.reference import Decider
from carbonquota.kernel import KERNEL, UNKNOWN
from tests.support.kernels import CAPACITY_ORDER, COMPILED, CONTROLS, QUOTA, if_built, without_missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from carbonquota.controls.native._cy import Batch

pytestmark = if_built

COLUMNS = ("throttle", "rule_enforcing", "rule_metered", "rule_throughput", "lag")
ACCEPTED = "accepted"
LIMIT = 5
LINE = b"a.b 1 1\n"
QUIET = (100.0, 200.0)
Whatever = Any
"""What only the compiled kernel has a type for, or what is wrong on purpose."""

NOBODY_WAITS = 10.0
"""Seconds within which a free lock is had, on whatever machine."""


class OwnerError(Exception):
    """What an owner raises."""


class Owned:
    """A ledger with one quota of LIMIT points at the root, over the metric `a.b`, and its owner.

    `called` has what the owner was called for, and whether the lock was held then; with `fails` it raises.
    """

    accepted = ACCEPTED

    def __init__(self, clock: Callable[[], float] = time.time, *, is_system: bool = True) -> None:
        from carbonquota.controls.native._cy import Ledger  # noqa: PLC0415 - only where it is built
        from carbonquota.kernel._cy import Lock  # noqa: PLC0415 - the same

        assert COMPILED is not None
        table: Whatever = COMPILED.table_of([b"a.b"])
        self.table = table
        self.lock = Lock()
        self.called: list[tuple[object, ...]] = []
        self.fails = False
        self.ledger: Whatever = Ledger(table, controls=CONTROLS)
        columns = {name: np.zeros(2, np.int64) for name in COLUMNS}
        columns |= {name: np.full(2, LIMIT) for name in ("remaining", "limit")}
        columns["rule_enforcing"][:] = 1
        self.remaining = columns["remaining"]
        self.ledger.bind(
            columns=columns,
            used=[np.zeros(2, np.int64) for _ in CAPACITY_ORDER],
            dropped=[np.zeros(2, np.int64) for _ in range(6)],
            rates=np.array([[0, 0], [QUOTA, 0]], np.int32),
            checks=np.full((1, 6, 2), -1, np.int64),
            size_number=np.zeros(64, np.int32),
            seen=np.zeros(64, np.uint32),
            **without_missing(),
        )
        self.ledger.bind_lock(self.lock, clock, is_system, self)
        self.ledger.set_time(0.0, 2.0**40 if clock is time.time else QUIET[1], 17)

    def offer_locked(self, metric: object, points: int, size: object, quota: int) -> object:
        self._note("offer", quota, size)
        return metric, points

    def decide_locked(self, batch: Batch) -> None:
        self._note("decide", batch.accepted, batch.rejected)

    def answer(self, batch: Batch) -> object:
        self._note("answer", batch.accepted, batch.rejected)
        return batch

    def _note(self, call: str, *what: object) -> None:
        self.called.append((call, *what, "locked" if self.is_locked else "free"))
        if self.fails:
            raise OwnerError

    @property
    def is_locked(self) -> bool:
        """Whether somebody has the lock, asked by a thread that waits for it as briefly as can be."""

        def ask() -> None:
            self.lock.acquire()
            self.lock.release()

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(0.05)
        # Where it still waits, it gets the lock once whoever has it lets go.
        return thread.is_alive()


@pytest.fixture
def owned() -> Owned:
    return Owned()


@pytest.mark.parametrize("buffer", [LINE, LINE * LIMIT, b"", b"\n\r\n", b"what\n" + LINE + b"\n a b\n", b"a.b 1 nan\n"])
def test_a_batch_of_known_metrics_that_all_pass_takes_no_owner_but_for_the_answer(owned: Owned, buffer: bytes) -> None:
    batch = owned.ledger.admit(buffer)
    assert owned.called == [("answer", buffer.count(LINE), 0, "free")]
    assert owned.remaining[QUOTA] == LIMIT - batch.accepted


@pytest.mark.parametrize("name", [b"a..b", b".a.b", b"a.b.", b"..a...b.."])
def test_a_known_metric_in_another_spelling_takes_no_python(owned: Owned, name: bytes) -> None:
    batch = owned.ledger.admit(LINE + name + b" 1 1\n")
    assert owned.called == [("answer", 2, 0, "free")]
    assert (batch.lines.name(1), batch.lines.normal_name(1)) == (name, "a.b")


def test_where_a_point_is_dropped_the_answer_is_made_under_the_lock(owned: Owned) -> None:
    batch = owned.ledger.admit(LINE * (LIMIT + 2) + b"what\n")
    assert owned.called == [("answer", LIMIT, 2, "locked")]
    assert (batch.dropped, batch.malformed, owned.remaining[QUOTA]) == (2, 1, 0)
    assert not owned.is_locked


def test_names_are_decided_as_lines_are_with_as_many_points_as_they_have(owned: Owned) -> None:
    points = np.array([2, 1, 9, 2], np.int64)
    batch = owned.ledger.admit_names(["a.b", b"a..b", ".a.b", "a.b"], points)
    assert owned.called == [("answer", 5, 1, "locked")]
    assert (batch.dropped, owned.remaining[QUOTA], batch.rejected_at()[0].tolist()) == (9, 0, [2])
    assert [batch.points(at) for at in range(4)] == points.tolist()
    with pytest.raises(ValueError, match=r"^names and points must go pairwise$"):
        owned.ledger.admit_names(["a.b"], points)
    assert not owned.is_locked


@pytest.mark.parametrize("name", ["\ud800", None, 5, [b"a.b"]])
def test_what_is_no_name_is_malformed_beside_names(owned: Owned, name: Whatever) -> None:
    batch = owned.ledger.admit_names(["a.b", name, b"a.b"], None)
    assert owned.called == [("answer", 2, 0, "free")]
    assert list(batch.lines.malformed_at().values()) == [[1]]


LEFT = {
    "unknown": b"a.c 1 1\n",
    "unknown last": LINE * 3 + b"a.c 1 1\n",
    "an error in the name": b"a.b;x 1 1\n",
    "doubt": b" a.b 1 1\n",
    "a doubtful timestamp": LINE + b"a.b 1 1e9\n",
    "too long to be looked for": b"a" * 16_385 + b" 1 1\n",
}


@pytest.mark.parametrize("buffer", LEFT.values(), ids=LEFT)
def test_from_what_takes_python_on_all_is_left_to_the_owner_under_the_lock(owned: Owned, buffer: bytes) -> None:
    batch = owned.ledger.admit(buffer)
    before = 0 if buffer.startswith(b" ") else buffer.count(LINE)
    assert owned.called == [("decide", before, 0, "locked"), ("answer", before, 0, "locked")]
    assert (batch.is_decided, batch.position, owned.remaining[QUOTA]) == (False, before, LIMIT - before)
    assert not owned.is_locked


@pytest.mark.parametrize("quiet", [(0.0, 0.0), (0.0, 1.0), (2.0**40, 2.0**41), (2.0**40, 0.0)])
def test_out_of_the_quiet_stretch_the_owner_is_asked(owned: Owned, quiet: tuple[float, float]) -> None:
    owned.ledger.set_time(*quiet, 17)
    owned.ledger.admit(LINE)
    assert owned.ledger.offer("a.b", 1) == ("a.b", 1)
    assert [call[0] for call in owned.called] == ["decide", "answer", "offer"]
    assert owned.remaining[QUOTA] == LIMIT


def test_with_another_clock_batches_are_left_and_single_offers_are_not() -> None:
    now = [QUIET[0]]
    owned = Owned(lambda: now[0], is_system=False)
    owned.ledger.set_time(*QUIET, 17)
    owned.ledger.admit(LINE)
    assert owned.called.pop(0) == ("decide", 0, 0, "locked")
    assert owned.ledger.offer("a.b", 1) == ACCEPTED
    for now[0] in (QUIET[0] - 0.001, QUIET[1], QUIET[1] + 1, float("nan")):
        assert owned.ledger.offer("a.b", 1) == ("a.b", 1)
    now[0] = QUIET[1] - 0.001
    assert owned.ledger.offer(b"a.b", 1) == ACCEPTED
    assert owned.remaining[QUOTA] == LIMIT - 2


@pytest.mark.parametrize(
    ("metric", "points", "asked"),
    [
        ("a.b", LIMIT, None),
        (b"a.b", 1, None),
        ("a.b", LIMIT + 1, QUOTA),
        ("a.b", 2**63 - 1, QUOTA),
        ("a.c", 1, UNKNOWN),
        ("a..b", 1, UNKNOWN),
        ("\ud800", 1, UNKNOWN),
        (bytearray(b"a.b"), 1, UNKNOWN),
        (None, 1, UNKNOWN),
    ],
)
def test_an_offer_asks_the_owner_unless_it_is_accepted(
    owned: Owned, metric: object, points: int, asked: int | None
) -> None:
    answer = owned.ledger.offer(metric, points, "size")
    assert answer == (ACCEPTED if asked is None else (metric, points))
    assert owned.called == ([] if asked is None else [("offer", asked, "size", "locked")])
    assert owned.remaining[QUOTA] == LIMIT - (points if asked is None else 0)
    assert not owned.is_locked


def test_what_an_owner_raises_comes_through_and_the_lock_is_free(owned: Owned) -> None:
    owned.fails = True
    calls: list[Callable[[], object]] = [
        lambda: owned.ledger.offer("a.c", 1),
        lambda: owned.ledger.offer("a.b", LIMIT + 1),
        *(lambda buffer=buffer: owned.ledger.admit(buffer) for buffer in (LINE, LINE * (LIMIT + 1), *LEFT.values())),
    ]
    for call in calls:
        with pytest.raises(OwnerError):
            call()
        assert not owned.is_locked


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
    owned = Owned(clock, is_system=False)
    with pytest.raises(error):
        owned.ledger.offer("a.b", 1)
    assert not owned.is_locked
    assert owned.remaining[QUOTA] == LIMIT


@pytest.mark.parametrize(("metric", "points"), [("a.b", 2**63), ("a.b", "1"), ("a.b", None)])
def test_points_that_are_no_number_are_refused_before_the_lock_is_taken(
    owned: Owned, metric: str, points: Whatever
) -> None:
    with pytest.raises((TypeError, OverflowError)):
        owned.ledger.offer(metric, points)
    assert not owned.is_locked


@pytest.mark.parametrize("buffer", [None, "a.b 1 1\n", bytearray(LINE), memoryview(LINE)])
def test_a_buffer_that_is_not_bytes_is_refused_before_the_lock_is_taken(owned: Owned, buffer: Whatever) -> None:
    with pytest.raises(TypeError):
        owned.ledger.admit(buffer)
    assert not owned.is_locked


def test_what_is_bound_to_nothing_decides_nothing(owned: Owned) -> None:
    ledger = type(owned.ledger)(owned.table, controls=CONTROLS)
    calls: list[Callable[[], object]] = [
        lambda: ledger.offer("a.b", 1),
        lambda: ledger.admit(LINE),
        lambda: ledger.admit_names(["a.b"], None),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"^a ledger decides once it is bound to a lock and a clock$"):
            call()
    ledger.bind_lock(owned.lock, time.time, True, owned)
    for call in calls:
        with pytest.raises(ValueError, match=r"^a ledger decides over columns that it is bound to$"):
            call()
    assert not owned.is_locked


@pytest.mark.parametrize(("gone", "decided"), [(b"a.b", False), (b"a.x", True)])
def test_a_batch_that_waits_for_the_lock_is_decided_by_what_is_there_when_it_has_it(
    owned: Owned, gone: bytes, *, decided: bool
) -> None:
    answers = []

    def admit() -> None:
        batch = owned.ledger.admit(LINE)
        answers.append((batch.is_decided, batch.lines.row(0) != UNKNOWN))

    owned.table.insert(b"a.x", 0)
    owned.lock.acquire()
    thread = threading.Thread(target=admit)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    owned.table.remove(gone)
    owned.lock.release()
    thread.join(NOBODY_WAITS)
    assert answers == [(decided, decided)]


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


@pytest.mark.skipif(KERNEL != "compiled", reason="the engine decides by the other kernel")
@pytest.mark.parametrize("form", ["team{0}.app{0}.load", "team1.app{0}.load", "team{0}.a.b.c.load"])
def test_metrics_that_bring_namespaces_under_rules_take_no_turn_in_python(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    decide = Decider.offer_line

    def counted(decider: Decider, name: bytes, points: int, size: Size | None) -> object:
        nonlocal turns
        turns += 1
        return decide(decider, name, points, size)

    monkeypatch.setattr(Decider, "offer_line", counted)
    engine = QuotaEngine(RuleSet.from_text("[/]\nmetrics = max\n[*]\nmetrics = max\n[*.*]\nmetrics = max\n"))
    engine.admit(b"".join(form.format(number).encode() + b" 1 1\n" for number in range(500)))
    assert len(engine) == 500
    assert turns <= 2, "only until chains of quotas are as long as these rules make them"
