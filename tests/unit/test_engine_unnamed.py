"""Quotas whose names are looked up when somebody asks: they equal those of a report, and what is gone has no name."""

from __future__ import annotations

from carbonquota import QuotaEngine
from tests.support.small import engine_under

RULES = "[team.*]\nmetrics = 2\nthroughput = 5\n[/]\nmetrics = max\n"


def filled() -> QuotaEngine:
    engine = engine_under(RULES)
    engine.admit(b"".join(b"team.n%d.x%d 1 1\n" % (number, leaf) for number in range(50) for leaf in range(3)))
    return engine


def test_they_equal_those_that_are_named() -> None:
    engine = filled()
    unnamed = engine.unnamed_quota_columns()
    assert len(unnamed) == 51
    assert unnamed.names_at(slice(None)) == engine.quota_columns().names.tolist()
    assert unnamed.values() == engine.quota_columns().values()
    assert (unnamed.pressures() == engine.quota_columns().pressures()).all()


def test_a_namespace_that_is_gone_or_another_by_now_has_no_name() -> None:
    engine = filled()
    unnamed = engine.unnamed_quota_columns()
    before = unnamed.names_at(slice(None))
    gone = before.index("team.n7")
    for leaf in range(3):
        engine.forget(f"team.n7.x{leaf}")
    for _ in range(2):
        engine.report()
    engine.admit(b"team.new.x 1 1\n")
    after = unnamed.names_at(slice(None))
    assert after[gone] == ""
    assert [name for name in after if name] == [name for name in before if name != "team.n7"]
