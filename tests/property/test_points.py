"""Points that came as names and numbers are decided, told and passed on as the lines that mean the same."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.daemon.whisper.points import read_points, storable
from carbonquota.ingest import read_pickle
from carbonquota.storage.paths import storable_below
from carbonquota.testing import ManualClock

if TYPE_CHECKING:
    from carbonquota.controls import Admission

RULES = "[/]\nthroughput = 30\n[a]\nmetrics = 2\n[*.*]\nthroughput = 3\ndropping-policy = none\n[b]\nthroughput = 2\n"

NAMES = st.sampled_from(
    [
        "a.x",
        "a.y",
        "a.z",
        "b.x",
        "b.x.",
        "b..x",
        "b.x;host=a;dc=b",
        "b.x;dc=b;host=a",
        "/b/x",
        "~b.x",
        "é.ü",
        ".",
        "a!;=b",
        'b{dc="1"}',
        "c" * 600,
        "b.x;name=y",
    ]
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.sampled_from(["1.50", b" 2", "nan", "1e400", "-0"])
)
TIMES = st.one_of(
    st.integers(-3, 2**33),
    st.sampled_from([1700000000, 1700000000.75, 1700000000.0, -1, "1700000000", float("inf"), 1700000000000]),
    st.floats(),
)
POINTS = st.lists(st.tuples(NAMES, st.tuples(TIMES, NUMBERS)), max_size=30)


def engine(*, stores: bool) -> QuotaEngine:
    """An engine with tight limits, before a store or a relay."""
    return QuotaEngine(
        RuleSet.from_text(RULES), clock=ManualClock(60.0), storable=storable_below("/data") if stores else None
    )


def told(admission: Admission) -> tuple[object, ...]:
    """All that an answer tells."""
    return (
        admission.points, admission.dropped, admission.malformed, admission.accepted, admission.rejected,
        admission.drops, admission.malformed_by_reason, admission.malformed_samples, admission.malformed_lines,
        admission.rejected_at.tolist(), admission.malformed_at.tolist(), admission.passes(),
    )  # fmt: skip


@given(batches=st.lists(POINTS, max_size=4), stores=st.booleans())
def test_points_are_decided_as_the_lines_that_mean_the_same(batches: list[list[object]], stores: bool) -> None:
    by_points, by_lines = engine(stores=stores), engine(stores=stores)
    for batch in batches:
        points = read_pickle(pickle.dumps(batch, 4)).points
        lines = points.lines
        admission = by_points.admit(points)
        assert told(admission) == told(by_lines.admit(lines))
        assert len(points) == lines.count(b"\n") == len(points.lines.splitlines())
        read = read_points(admission.accepted, admission.points, 1_700_000_000)
        written = storable(admission.columns(), 1_700_000_000)
        assert (written.timestamps, written.values, written.refused) == (read.timestamps, read.values, read.refused)
    assert by_points.report() == by_lines.report()


@given(POINTS, st.booleans())
def test_an_answer_without_what_is_held_back_passes_the_others(batch: list[object], stores: bool) -> None:
    points = read_pickle(pickle.dumps(batch, 4)).points
    admission = engine(stores=stores).admit(points)
    which = np.arange(len(admission.rejected_at)) % 2 == 0
    rest = admission.holding_back(which)
    assert (rest.points, rest.accepted, rest.columns()) == (
        admission.points, admission.accepted, admission.columns()
    )  # fmt: skip
    assert rest.dropped == admission.dropped - which.sum()
