"""What a daemon tells of its drops: what came since it told the last time, the most first."""

from __future__ import annotations

from carbonquota.client.fleet_usage import DropsSince
from carbonquota.controls import NamespaceQuota
from carbonquota.engine import QuotaEngine
from carbonquota.rules import RuleSet
from carbonquota.service.totals import OverQuota


def any_quota() -> NamespaceQuota:
    engine = QuotaEngine(RuleSet.from_text("[team.*]\nmetrics = 1\n"))
    engine.load("team.a.x")
    return engine.quotas()[0]


def test_it_is_what_came_since_the_last_time_the_most_first() -> None:
    quota = any_quota()
    tallies: dict[str, OverQuota] = {}

    def dropped(namespace: str, **points: int) -> None:
        tallies[namespace] = OverQuota(quota, sum(points.values()), points)

    drops = DropsSince(lambda: tallies)
    assert drops.take() == []
    dropped("a", metrics=5)
    dropped("b", metrics=1, throughput=9)
    assert drops.take() == [
        {"namespace": "b", "control": "throughput", "points": 9},
        {"namespace": "a", "control": "metrics", "points": 5},
        {"namespace": "b", "control": "metrics", "points": 1},
    ]
    assert drops.take() == []
    dropped("a", metrics=7)
    # One that was forgotten, and begins anew.
    dropped("b", metrics=1, throughput=3)
    assert drops.take() == [
        {"namespace": "b", "control": "throughput", "points": 3},
        {"namespace": "a", "control": "metrics", "points": 2},
    ]
