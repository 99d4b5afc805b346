"""What is raised in the middle of a decision: what was accepted by then is counted, noted and kept exactly once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import FrameType

import pytest

import carbonquota
from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.kernel import KERNEL
from carbonquota.trie.changes import ChangeLog
from carbonquota.trie.index import Index
from carbonquota.trie.series import Series
from tests.support.kernels import if_built

RULES = "[/]\nmetrics = max\n[*]\nmetrics = max\nthroughput = max\n[*.*]\nlogical-size = max\n"
SIZES = [Size(100, 200, 300), Size(1, 2, 3)]
COUNT = 9
NAMES = [f"team{number % 2}.app{number}.load" for number in range(COUNT)]
BATCH = "".join(f"{name} 1 1\n" for name in NAMES).encode()

ERRORS = [MemoryError, KeyboardInterrupt]
NOTED_BY = {
    "holders of sizes": (Series, "number"),
    "columns by series": (Index, "cover"),
    "journal, a run": (ChangeLog, "note_run"),
    "journal, one": (ChangeLog, "note"),
}
"""What is called for a series once it is accepted, on one kernel or the other."""


class Interrupted:
    """An engine, and what raises at its n-th call; after that it works."""

    def __init__(self, error: type[BaseException], at: int) -> None:
        self.engine = QuotaEngine(RuleSet.from_text(RULES), size_of=self.size_of, record_changes=True, keep_seen=True)
        self.error = error
        self.left = at
        self.asked = 0

    def size_of(self, _metric: str) -> Size:
        self.asked += 1
        return SIZES[self.asked % 2]

    def fail(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error

    def admit(self, lines: bytes = BATCH) -> bool:
        """Whether that raised."""
        try:
            self.engine.admit(lines)
        except self.error:
            return True
        return False

    def offer(self, name: str) -> bool:
        """The same for one of the names."""
        try:
            assert self.engine.offer(name)
        except self.error:
            return True
        return False


def assert_whole(engine: QuotaEngine, all_names: Sequence[str] = NAMES) -> None:
    """All that is told of an engine tells of the same metrics, and nothing is left where these are gone."""
    names = [name for name in all_names if name in engine]
    as_bytes = sorted(name.encode() for name in names)
    holdings = engine.holdings()
    sizes = [holdings.sizes[number] for number in holdings.size_numbers.tolist()]
    assert sorted(holdings.names) == as_bytes
    assert len(engine) == len(names) == engine.usage().metrics
    assert engine.usage().logical_size == sum(size.logical for size in sizes)
    # One may be told of twice, which does no harm: it has come.
    assert sorted({change.name for change in engine.take_changes()}) == as_bytes
    assert all(map(engine.forget, names))
    assert (len(engine), engine.usage().metrics, engine.usage().logical_size, engine.namespaces()) == (0, 0, 0, [])


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("at", [1, 2, COUNT])
def test_what_a_size_raises_costs_no_metric_that_was_accepted_before(error: type[BaseException], at: int) -> None:
    case = Interrupted(error, at)
    size_of = case.size_of

    def failing(metric: str) -> Size:
        case.fail()
        return size_of(metric)

    case.engine = QuotaEngine(RuleSet.from_text(RULES), size_of=failing, record_changes=True, keep_seen=True)
    assert case.admit()
    assert len(case.engine) == at - 1
    assert not case.admit()
    assert len(case.engine) == COUNT
    assert_whole(case.engine)


def let_fail(case: Interrupted, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what notes a series there raise the case's error in its turn."""
    owner, name = NOTED_BY[where]
    worked: Callable[..., object] = getattr(owner, name)

    def failing(*arguments: object, **named: object) -> object:
        case.fail()
        return worked(*arguments, **named)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", NOTED_BY)
def test_what_noting_raises_costs_no_metric_that_was_accepted(
    where: str, error: type[BaseException], at: int, *, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Interrupted(error, at)
    let_fail(case, where, monkeypatch)
    raised = case.admit()
    monkeypatch.undo()
    assert raised or case.left > 0
    if again:
        assert not case.admit()
        assert len(case.engine) == COUNT
    assert_whole(case.engine)


@pytest.mark.parametrize("at", [1, 2, 3, COUNT])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", NOTED_BY)
def test_what_noting_raises_costs_no_single_offer_that_was_accepted(
    where: str, error: type[BaseException], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Interrupted(error, at)
    let_fail(case, where, monkeypatch)
    raised = [name for name in NAMES if case.offer(name)]
    monkeypatch.undo()
    assert len(raised) <= 1
    assert not any(map(case.offer, raised))
    assert len(case.engine) == COUNT
    assert_whole(case.engine)


PACKAGE = str(Path(carbonquota.__file__).parent)


class InterruptedLine:
    """Raises what a signal handler does before the n-th line of the package that is run."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, _argument: object) -> InterruptedLine | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


@if_built
@pytest.mark.skipif(KERNEL != "compiled", reason="the plain kernel decides in steps of Python")
@pytest.mark.parametrize("in_a_batch", [False, True], ids=["alone", "in a batch"])
@pytest.mark.parametrize("name", [NAMES[3], "team0.app0.other;dc=a"])
def test_a_handler_that_interrupts_an_offer_at_whatever_line_leaves_it_whole(name: str, *, in_a_batch: bool) -> None:
    for at in count(1):
        case = Interrupted(KeyboardInterrupt, 0)
        assert not any(map(case.offer, NAMES[:3]))
        before = len(case.engine)
        traced = sys.gettrace()
        sys.settrace(InterruptedLine(at))
        try:
            raised = case.admit(f"{name} 1 1\n".encode()) if in_a_batch else case.offer(name)
        finally:
            sys.settrace(traced)
        assert len(case.engine) in {before, before + 1}
        assert not case.offer(name)
        assert len(case.engine) == before + 1
        assert_whole(case.engine, [*NAMES[:3], name])
        if not raised:
            break
    assert at > 20
