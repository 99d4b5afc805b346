"""Names with several points each, dropped by namespaces that are there and by such that are not."""

from __future__ import annotations

from carbonquota import QuotaEngine, RuleSet
from carbonquota.controls.admission import Drop


def test_names_that_a_namespace_rejects_before_it_exists_are_told_with_their_points() -> None:
    rules = RuleSet.from_text("[a.*]\ndata-points = 1\n")
    batch = QuotaEngine(rules).admit_names(["a.b.c", "a.b.d"], [2, 1])
    assert batch.drops == {("a.b", "data-points"): Drop(3, rules.rules[0], ("a.b.c", "a.b.d"))}


def test_names_that_no_namespace_rejects_have_no_drops() -> None:
    assert QuotaEngine(RuleSet.from_text("[a]\nmetrics = 5\n")).admit_names(["a.b"], [2]).drops == {}


def test_an_empty_name_is_malformed_and_the_others_are_decided() -> None:
    batch = QuotaEngine(RuleSet.from_text("")).admit_names(["", "a.b", "", "a..b"])
    assert batch.passes() == [False, True, False, True]
    assert batch.malformed == 2


def test_several_points_of_a_new_metric_do_not_pass_a_limit_for_which_one_is_not_too_many() -> None:
    engine = QuotaEngine(RuleSet.from_text("[team]\nthroughput = 2\n"), clock=lambda: 60.0)
    assert not engine.offer("team.x", 3).accepted
    decided = engine.admit_names(["team.y", "team.z", "other.x"], [5, 2, 9])
    assert (decided.passes(), decided.points, decided.dropped) == ([False, True, True], 11, 5)
    assert engine.usage("team").throughput == 2
