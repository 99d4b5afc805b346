"""An engine whose state is kept, and runs of a program that end without a last word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.service.state import StateKeeper
from carbonquota.testing import ManualClock
from carbonquota.trie import Change, ChangeRun
from carbonquota.trie.changes import ChangeLog

NOW = 2_000_000_000.0
SIZE, OTHER = Size(10, 4096, 3), Size(22, 8192, 4)
RULES = "[/]\nthroughput = 1000\n[a]\nmetrics = 1000\n"


def new_engine(clock: ManualClock | None = None, *, keep_seen: bool = False) -> QuotaEngine:
    return QuotaEngine(
        RuleSet.from_text(RULES),
        size_of=lambda _: SIZE,
        clock=clock or ManualClock(NOW),
        record_changes=True,
        keep_seen=keep_seen,
    )


@contextmanager
def life(
    directory: Path,
    engine: QuotaEngine | None = None,
    clock: ManualClock | None = None,
    disk: AbstractContextManager[object] | None = None,
) -> Iterator[StateKeeper]:
    """One run of a program, that ends without a last word: as after kill -9; `disk` holds during its start."""
    kept = StateKeeper(str(directory), new_engine() if engine is None else engine, clock or ManualClock(NOW))
    with disk or nullcontext():
        kept.restore()
    try:
        yield kept
    finally:
        kept.abandon()


def runs(changes: Iterable[Change]) -> list[ChangeRun]:
    """Changes as an index records them."""
    log = ChangeLog()
    for name, size in changes:
        log.note(name, size)
    return log.take()


def restored(directory: Path) -> dict[str, Size]:
    """What a restart would begin with."""
    engine = new_engine()
    with life(directory, engine):
        held = engine.holdings()
    return {
        name.decode(): held.sizes[number] for name, number in zip(held.names, held.size_numbers.tolist(), strict=True)
    }
