"""What is raised in the middle of a decision: what was accepted by then is counted, noted and kept exactly once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.trie.changes import ChangeLog
from carbonquota.trie.index import Index
from carbonquota.trie.series import Series

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

    def admit(self) -> bool:
        """Whether that raised."""
        try:
            self.engine.admit(BATCH)
        except self.error:
            return True
        return False


def assert_whole(engine: QuotaEngine) -> None:
    """All that is told of an engine tells of the same metrics, and nothing is left where these are gone."""
    names = [name for name in NAMES if name in engine]
    as_bytes = sorted(name.encode() for name in names)
    holdings = engine.holdings()
    sizes = [holdings.sizes[number] for number in holdings.size_numbers.tolist()]
    assert sorted(holdings.names) == as_bytes
    assert len(engine) == len(names) == engine.usage().metrics
    assert engine.usage().logical_size == sum(size.logical for size in sizes)
    assert sorted(change.name for change in engine.take_changes()) == as_bytes
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


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", NOTED_BY)
def test_what_noting_raises_costs_no_metric_that_was_accepted(
    where: str, error: type[BaseException], at: int, *, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = NOTED_BY[where]
    case = Interrupted(error, at)
    worked: Callable[..., object] = getattr(owner, name)

    def failing(*arguments: object, **named: object) -> object:
        case.fail()
        return worked(*arguments, **named)

    monkeypatch.setattr(owner, name, failing)
    raised = case.admit()
    monkeypatch.undo()
    assert raised or case.left > 0
    if again:
        assert not case.admit()
        assert len(case.engine) == COUNT
    assert_whole(case.engine)
