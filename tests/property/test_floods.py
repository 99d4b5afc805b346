"""A batch full of new namespaces is its lines one by one, though namespaces are created many at a time."""

from __future__ import annotations

from random import Random

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.model import SizeOf
from carbonquota.rules import Schemas
from carbonquota.testing import ManualClock

RULES = {
    "room for all": "[*]\nmetrics = 1,000,000\n",
    "some metrics below a team": "[*]\nmetrics = 25\n",
    "some namespaces below a team": "[*]\nnamespaces = 7\n",
    "some of both, at every level": "[/]\nmetrics = 120\n[*]\nnamespaces = 12\n[*.*]\nnamespaces = 3\nmetrics = 5\n",
    "a metric a host": "[*.*.*]\nmetrics = 1\n",
    "hosts too small for a metric": "[*.*.host?]\nlogical-size = 1\n[*.*.*]\nthroughput = 1\n",
    "points of a team": "[*]\nthroughput = 40\n",
    "points of each, and metrics of some": "[*.*]\nthroughput = 6\n[*.*.*]\nmetrics = 2\nthroughput = 3\n",
    "sizes": "[/]\nlogical-size = 4,000\n[*]\ndata-points = 90\n[*.*]\nphysical-size = 260\n",
    "sizes that some have": (
        "[*]\ndata-points = 300\n[*.*]\nlogical-size = 200\nphysical-size = 8192\n[*.*.*]\ndata-points = 5\n"
    ),
    "nothing is dropped": "[*]\nmetrics = 5\nnamespaces = 2\nthroughput = 9\ndropping-policy = none\n",
    "some are dropped below": "[*]\nnamespaces = 2\nthroughput = 9\ndropping-policy = none\n[*.*]\nmetrics = 3\n",
    "names in stats with prefixes": "[*]\nmetrics = 9\nstat-metric-prefix = level1.\n[*.*]\nmetrics = 3\n",
}


SCHEMAS = """
[an application]
pattern = ^team0\\.app[12]\\.
retentions = 60:3
[a namespace]
pattern = ^team1\\.app3\\.
retentions = 60:2,600:4
[leaves]
pattern = free$
retentions = 60:20
[a team]
pattern = ^team0\\.
retentions = 60:1
[the rest]
pattern = .*
retentions = 60:7
"""
SIZES: dict[str, SizeOf] = {
    "by their names": lambda name: Size(100, 50 + len(name), 10),
    "by schemas": Schemas.from_text(SCHEMAS, sparse=True, physical_size_factor=0.01),
    "by schemas of whole namespaces": Schemas.from_text(SCHEMAS.replace("free$", "^team2"), sparse=True),
}


def engine_under(text: str, creates: int | None, size_of: SizeOf = SIZES["by their names"]) -> QuotaEngine:
    return QuotaEngine(
        RuleSet.from_text(text),
        size_of=size_of,
        clock=ManualClock(60.0),
        record_changes=True,
        keep_seen=True,
        max_creates_per_second=creates,
    )


def flood(random: Random, teams: int, number: int) -> list[bytes]:
    """Lines of many new namespaces, some of them with dashes, tags or upper levels only; some metrics come twice."""
    names = []
    for _ in range(number):
        depth = random.choice([1, 2, 3, 3, 3, 4])
        parts = [f"team{random.randrange(teams)}", f"app{random.randrange(9)}", f"host{random.randrange(400)}", "disk"]
        if random.random() < 0.1:
            parts[1] = parts[1].replace("app", "app-")
        leaf = random.choice(["load", "load", "free", "used;dc=a"])
        names.append(".".join([*parts[:depth], leaf]))
    return [f"{name} 1 1700000000\n".encode() for name in names]


@pytest.mark.parametrize("creates", [None, 70])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_a_flood_of_namespaces_is_decided_as_its_lines_one_by_one(
    rules: str, creates: int | None, sizes: str, seed: int
) -> None:
    random = Random(seed)
    at_once, singly = (engine_under(RULES[rules], creates, SIZES[sizes]) for _ in range(2))
    for _ in range(3):
        lines = flood(random, random.choice([1, 3]), random.choice([20, 200]))
        accepted = [line for line in lines if singly.offer(line.split()[0])]
        batch = at_once.admit(b"".join(lines))
        assert batch.accepted == b"".join(accepted)
        assert at_once.namespaces() == singly.namespaces()
        assert {name: at_once.usage(name) for name in ["/", *at_once.namespaces()]} == {
            name: singly.usage(name) for name in ["/", *singly.namespaces()]
        }
        # Which of a batch's metrics came first matters to nobody.
        assert sorted(at_once.take_changes(), key=str) == sorted(singly.take_changes(), key=str)
        if random.random() < 0.5:
            assert at_once.report() == singly.report()
    assert at_once.report() == singly.report()
    assert at_once.report() == singly.report(), "what waited for the report is gone in both"


def test_namespaces_that_nobody_gets_into_leave_nothing_behind() -> None:
    engine = engine_under("[*]\nmetrics = 1\n", None)
    assert engine.offer("team.first")
    for turn in range(5):
        lines = b"".join(b"team.app%d.host%d.load 1 1\n" % (turn, number) for number in range(500))
        assert engine.admit(lines).dropped == 500
    engine.report()
    assert engine.namespaces() == ["team"]
    assert len(engine.quotas()) == 1
