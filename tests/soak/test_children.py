"""Two million children of one namespace: what the index takes and how long it takes, and what a report costs then."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from carbonquota import QuotaEngine, RuleSet

CHILDREN = 2_000_000
_AT_ONCE = 20_000


def _resident() -> int:
    """The mebibytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20


def test_two_million_children_of_one_namespace() -> None:
    engine = QuotaEngine(RuleSet.from_text("[team]\nnamespaces = 2,000,000\n"))
    before, started = _resident(), perf_counter()
    for first in range(0, CHILDREN, _AT_ONCE):
        batch = b"".join(b"team.child%07d.m 1 1\n" % number for number in range(first, first + _AT_ONCE))
        assert engine.admit(batch).dropped == 0
    taken, seconds = _resident() - before, perf_counter() - started
    assert not engine.offer("team.one-more.m")
    known = perf_counter()
    assert engine.offer("team.child1999999.m")
    known = perf_counter() - known
    listed = perf_counter()
    children = engine.children("team")
    listed = perf_counter() - listed
    assert len(children) == CHILDREN
    reported = perf_counter()
    assert engine.report()["usage.namespaces.team"] == CHILDREN
    reported = perf_counter() - reported
    print(f"{taken} MiB, {seconds:.1f} s to come in, {listed:.1f} s to list, {reported * 1000:.1f} ms a report")
    # Each has a namespace, a metric and their names.
    assert taken < CHILDREN * 800 // 2**20
    # A namespace with many children makes neither a decision nor a report slower.
    assert known < 0.1
    assert reported < 0.5
