"""The compiled kernel's ledger by itself: what it takes for a metric, what it refuses to decide over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carbonquota.kernel import BLANK, UNKNOWN, Malformed
from tests.support.kernels import CAPACITY_ORDER, COMPILED, CONTROLS, QUOTA, if_built, without_missing
from tests.support.small import engine_under

pytestmark = if_built

LIMIT = 10
LONGEST = 16_384
Whatever = Any
"""What only the compiled kernel has a type for."""
COLUMNS = ("remaining", "limit", "throttle", "lag", "rule_enforcing", "rule_metered", "rule_throughput")
NAMES = (b"a.b", "größe.é".encode(), b"\xff.x", b"z" * LONGEST, b"z" * 28)


class Subtext(str):
    """A str that is more than one."""

    __slots__ = ()


def told_of(batch: Whatever, sizes: int) -> list[tuple[int, int, bytes]]:
    """What a batch tells of the metrics that came, with the numbers of sizes for these; it tells it once."""
    told: list[tuple[int, int, bytes]] = []
    batch.tell_created(told, list(range(sizes)), with_text=True)
    again: list[tuple[int, int, bytes]] = []
    batch.tell_created(again, list(range(sizes)), with_text=True)
    assert again == []
    return told


class Bound:
    """A ledger over columns of one quota at the root, which allows LIMIT points; they can be looked at and replaced."""

    def __init__(self) -> None:
        from carbonquota.controls.native._cy import Batch, Ledger  # noqa: PLC0415 - only where it is built

        assert COMPILED is not None
        table: Any = COMPILED.table_of(NAMES)
        self.table = table
        self.ledger: Any = Ledger(table, controls=CONTROLS)
        self.batch_of: Any = lambda buffer: Batch.of(table.read(buffer))
        columns = {name: np.zeros(2, np.int64) for name in COLUMNS}
        columns["limit"][:] = columns["remaining"][:] = LIMIT
        columns["rule_enforcing"][:] = 1
        self.parts: dict[str, Any] = {
            "columns": columns,
            "used": [np.zeros(2, np.int64) for _ in CAPACITY_ORDER],
            "dropped": [np.zeros(2, np.int64) for _ in range(6)],
            "rates": np.array([[0, 0], [QUOTA, 0]], np.int32),
            "checks": np.full((1, 6, 2), -1, np.int64),
            "size_number": np.zeros(64, np.int32),
            "seen": np.zeros(64, np.uint32),
            **without_missing(),
        }

    accepted = 0

    def offer_locked(self, _metric: object, _points: int, _size: object, quota: int) -> int:
        """As the ledger's owner: what it has found."""
        return quota

    def bind(self, **others: object) -> None:
        """Have the ledger decide over the columns, or some others."""
        self.ledger.bind(**self.parts | others)

    @property
    def remaining(self) -> int:
        """What the quota still has."""
        return int(self.parts["columns"]["remaining"][QUOTA])


@pytest.fixture
def bound() -> Bound:
    from carbonquota.kernel._cy import Lock  # noqa: PLC0415 - only where it is built

    bound = Bound()
    bound.bind()
    bound.ledger.bind_lock(Lock(), lambda: 0.0, False, bound)
    bound.ledger.set_time(-1.0, 1.0, 17)
    return bound


@pytest.mark.parametrize("metric", [b"a.b", "a.b", "größe.é", "größe.é".encode(), b"\xff.x", "z" * LONGEST, "z" * 28])
def test_a_known_metric_is_charged_as_text_or_as_bytes(bound: Bound, metric: str | bytes) -> None:
    row = NAMES.index(metric.encode() if isinstance(metric, str) else metric)
    assert bound.ledger.offer(metric, 3) == 0
    assert bound.remaining == LIMIT - 3
    assert bound.parts["seen"].nonzero()[0].tolist() == [row]
    assert bound.parts["seen"][row] == 17


def test_points_over_the_limit_are_rejected_by_its_quota_and_counted(bound: Bound) -> None:
    assert bound.ledger.offer("a.b", LIMIT + 1) == QUOTA
    assert (bound.remaining, bound.parts["seen"].any()) == (LIMIT, False)
    assert bound.parts["dropped"][CONTROLS["throughput"]][QUOTA] == LIMIT + 1
    assert bound.parts["columns"]["throttle"][QUOTA] == LIMIT + 1
    assert [bound.ledger.offer("a.b", LIMIT), bound.ledger.offer("a.b", 1)] == [0, QUOTA]


@pytest.mark.parametrize(
    "metric",
    [
        *(b"", "", b"a", b"a.b ", "a.c", "a.b\0", b"a.b\0", "größe", "z" * (LONGEST + 1), b"z" * (1 << 20)),
        *("\udcff.x", "\ud800", None, 5, ["a.b"], bytearray(b"a.b"), memoryview(b"a.b"), Subtext("a.b")),
    ],
    ids=lambda metric: "view" if isinstance(metric, memoryview) else repr(metric)[:20],
)
def test_whatever_else_is_unknown_to_it(bound: Bound, metric: object) -> None:
    assert bound.ledger.offer(metric, 1) == UNKNOWN
    assert bound.remaining == LIMIT


@pytest.mark.parametrize("points", [2**63, -(2**63) - 1, "1", None])
def test_points_are_whole_numbers_of_64_bits(bound: Bound, points: object) -> None:
    with pytest.raises((TypeError, OverflowError)):
        bound.ledger.offer("a.b", points)
    assert bound.remaining == LIMIT


def test_a_series_is_known_from_its_insertion_to_its_removal(bound: Bound) -> None:
    assert bound.ledger.offer("new", 1) == UNKNOWN
    bound.table.insert(b"new", 0)
    assert bound.ledger.offer("new", 1) == 0
    bound.table.remove(b"new")
    assert bound.ledger.offer("new", 1) == UNKNOWN


WRONG: dict[str, Any] = {
    "rates": [np.zeros(4, np.int32), np.zeros((2, 2), np.int64), np.zeros((2, 4), np.int32)[:, ::2]],
    "checks": [np.zeros((1, 5, 2), np.int64), np.zeros((1, 6), np.int64), np.zeros((1, 6, 2), np.int32)],
    "size_number": [np.zeros(64, np.int64), np.zeros((8, 8), np.int32), np.zeros(64, np.int32)[::2]],
    "matcher": [None, object()],
    "seen": [np.zeros(64, np.int32), np.zeros(64, np.int64), np.zeros((8, 8), np.uint32)],
}


@pytest.mark.parametrize(("part", "wrong"), [(part, wrong) for part, wrongs in WRONG.items() for wrong in wrongs])
def test_columns_of_another_shape_or_type_are_refused_and_the_last_ones_stay(
    bound: Bound, part: str, wrong: np.ndarray[Any, Any]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        bound.bind(**{part: wrong})
    assert bound.ledger.offer("a.b", 1) == 0
    assert bound.remaining == LIMIT - 1


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_that_is_missing_or_of_another_kind_is_refused(bound: Bound, name: str) -> None:
    columns = bound.parts["columns"]
    with pytest.raises(KeyError, match=name):
        bound.bind(columns={key: column for key, column in columns.items() if key != name})
    for wrong in (np.zeros(2, np.int32), np.zeros((2, 2), np.int64), np.zeros(4, np.int64)[::2]):
        with pytest.raises(ValueError, match=r"Buffer|contiguous"):
            bound.bind(columns=columns | {name: wrong})


@pytest.mark.parametrize("part", ["used", "dropped"])
def test_too_few_columns_by_control_are_refused(bound: Bound, part: str) -> None:
    with pytest.raises(ValueError, match=r"^there must be columns of 5 capacities and 6 controls$"):
        bound.bind(**{part: bound.parts[part][:-1]})


def test_limits_that_are_not_laid_out_by_rules_are_refused(bound: Bound) -> None:
    checks = np.asfortranarray(np.arange(24, dtype=np.int64).reshape(2, 6, 2))
    with pytest.raises(ValueError, match="contiguous"):
        bound.bind(checks=checks)


def test_a_ledger_needs_a_number_for_every_control(bound: Bound) -> None:
    with pytest.raises(KeyError, match="creates"):
        type(bound.ledger)(bound.table, controls={name: at for name, at in CONTROLS.items() if name != "creates"})
    with pytest.raises(ValueError, match=r"^there are 6 controls and the bound on new metrics, not 8$"):
        type(bound.ledger)(bound.table, controls=CONTROLS | {"tags": 7})


def test_lines_say_what_was_decided_on_them(bound: Bound) -> None:
    batch = bound.batch_of(b"a.b 1 1\n\nx y\na.b 1 1\n a.b 1 1\na.b 1 nan\na.b x 1\n")
    bound.parts["columns"]["remaining"][QUOTA] = 1
    assert bound.ledger.decide(batch, 0, 5) == 4, "only `parse` understands the fifth line"
    batch.put_decision(4, QUOTA, 2)
    assert bound.ledger.decide(batch, 5, 5) == len(batch.lines) == 7
    assert (batch.accepted, batch.dropped, batch.malformed, batch.created, batch.creates_remaining) == (1, 2, 3, 0, 5)
    assert [column.tolist() for column in batch.rejected_at()] == [[3, 4], [QUOTA, QUOTA], [CONTROLS["throughput"], 2]]
    assert batch.lines.malformed_at() == {Malformed.FIELDS: [2], Malformed.TIMESTAMP: [5], Malformed.VALUE: [6]}
    gone = np.array([2, 3, 4, 5, 6], np.int64)
    assert batch.lines.without(gone) == b"a.b 1 1\n\n"
    assert told_of(batch, 2) == []


@pytest.mark.parametrize("position", [-1, 2, 2**40])
def test_there_are_no_lines_but_those_of_the_buffer(bound: Bound, position: int) -> None:
    batch = bound.batch_of(b"a.b 1 1\n 1 1\n")
    asks = (
        batch.lines.line,
        batch.lines.row,
        batch.lines.name,
        batch.points,
        lambda at: batch.put_malformed(at, BLANK),
        lambda at: batch.put_decision(at, 0, 0),
        lambda at: batch.lines.without(np.array([at], np.int64)),
    )
    for ask in asks:
        with pytest.raises(IndexError, match=f"^there is no line {position}$"):
            ask(position)


@pytest.mark.parametrize("row", [0, 1, UNKNOWN, -100, -101])
def test_only_a_reason_can_be_noted_on_a_line(bound: Bound, row: int) -> None:
    with pytest.raises(ValueError, match=f"^{row} does not say why a line is no data point$"):
        bound.batch_of(b"a.b 1 1\n").put_malformed(0, row)


AMOUNTS = (0, 1, 2, 3, 4)


def test_a_decision_asks_for_a_size_only_where_it_takes_one(bound: Bound) -> None:
    batch = bound.batch_of(b"new 1 1\nnew..b 1 1\na.b 1 1\nnewer 1 1\nnew 1 1")
    bound.ledger.reserve(len(batch.lines))
    asked: list[str] = []

    def size_of(metric: str) -> str:
        asked.append(metric)
        return metric

    bound.ledger.ask_for_sizes(size_of, lambda _: bound.ledger.add_size(AMOUNTS, 0))
    assert bound.ledger.decide(batch, 0, 9) == 1, "for the second line's namespace there is no room"
    batch.put_decision(1, QUOTA, 1)
    assert bound.ledger.decide(batch, 2, 9) == len(batch.lines)
    assert asked == ["new", "new.b", "newer"], "the last one's metric is known by then"
    assert told_of(batch, 3) == [(0, 1, b"new\n"), (2, 1, b"newer\n")]


def test_the_size_of_all_below_a_namespace_is_asked_for_once(bound: Bound) -> None:
    batch = bound.batch_of(b"new 1 1\nnewer 1 1\n")
    bound.ledger.reserve(len(batch.lines))
    asked: list[str] = []

    def below(namespace: str) -> str:
        asked.append(namespace)
        return "the only one"

    bound.ledger.ask_for_sizes(str, lambda _: bound.ledger.add_size(AMOUNTS, 0), below)
    assert bound.ledger.decide(batch, 0, 9) == 2
    assert asked == [""]
    assert told_of(batch, 1) == [(0, 2, b"new\nnewer\n")]
    bound.ledger.forget_sizes()
    again = bound.batch_of(b"newest 1 1\n")
    assert bound.ledger.decide(again, 0, 9) == 1
    assert asked == ["", ""]


def test_sizes_are_whole_and_those_that_were_added(bound: Bound) -> None:
    assert [bound.ledger.add_size(AMOUNTS, number) for number in range(40)] == list(range(40))
    for wrong in ((0, 1, -2, 3, 4), (0, 1, 2, 3)):
        with pytest.raises(ValueError, match=r"^a size has 5 amounts, none below 0$"):
            bound.ledger.add_size(wrong, 0)
    batch = bound.batch_of(b"new 1 1\n")
    assert batch.size(0) == -1
    bound.ledger.ask_for_sizes(str, lambda _: 40)
    with pytest.raises(ValueError, match=r"^there is no size 40$"):
        bound.ledger.decide(batch, 0, 9)


@pytest.mark.parametrize("doubtful", [b" %b 1 1\n", b"%b 1 1e9\n", b"%b. 1 1\n"])
@pytest.mark.parametrize("before", [1, 40, 300])
def test_metrics_on_lines_that_the_ledger_leaves_take_nobody_elses_room(before: int, doubtful: bytes) -> None:
    """Each of them comes by itself, between others that come many at a time."""
    engine = engine_under()
    known = [b"a.known%d" % number for number in range(before)]
    engine.admit(b"".join(name + b" 1 1\n" for name in known))
    odd, usual = ([b"a.%b%d" % (kind, number) for number in range(1500)] for kind in (b"odd", b"usual"))
    admission = engine.admit(b"".join(doubtful % name for name in odd) + b"".join(name + b" 1 1\n" for name in usual))
    assert admission.points == 3000
    assert engine.usage("a").metrics == before + 3000
