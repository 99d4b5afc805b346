"""Limits suggested from usage: rules that can be read, hold what they are made from, and keep all else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.suggest import percentile, rounded_up, suggest
from carbonquota.model import MAXIMUM, Usage
from carbonquota.rules import RuleSet

IN_FORCE = """\
[team.*]
metrics = 10
logical-size = max
throughput = 7
stat-metric-prefix = "teams."

[other]
metrics = 5
dropping-policy = none
"""
USAGES = [(f"team.t{number}", Usage(metrics=number)) for number in range(1, 101)]


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 50), (95, 95), (99.5, 100), (100, 100)])
def test_a_percentile_is_one_of_the_values(percent: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


@pytest.mark.parametrize(
    ("amount", "limit"), [(0, 1), (1, 1), (9.2, 10), (95, 95), (142.5, 150), (1234, 1300), (9999, 10_000)]
)
def test_limits_are_round_and_never_lower(amount: float, limit: int) -> None:
    assert rounded_up(amount) == limit


def test_rules_in_force_get_new_limits_on_what_they_limit() -> None:
    rules = RuleSet.from_text(suggest(USAGES, RuleSet.from_text(IN_FORCE)))
    team, other = rules.rules
    assert (team.pattern, team.limits.metrics, team.limits.logical_size) == ("team.*", 150, MAXIMUM)
    assert (team.limits.throughput, team.stat_prefix) == (7, "teams.")
    assert (other.limits.metrics, other.enforcing) == (5, False)


def test_what_no_rule_holds_is_taken_together_by_depth_and_loses_to_rules_in_force() -> None:
    usages = [*USAGES, ("free", Usage(metrics=8, logical_size=2048)), ("a.b.c.d", Usage(metrics=1))]
    rules = RuleSet.from_text(suggest(usages, RuleSet.from_text(IN_FORCE)))
    assert [rule.pattern for rule in rules.rules] == ["*", "team.*", "other"]
    assert (rules.rules[0].limits.metrics, rules.rules[0].limits.logical_size) == (12, 3100)


@given(st.lists(st.tuples(st.sampled_from(["team.a", "team.b", "x", "x.y", "/"]), st.integers(0, 2**60)), max_size=20))
def test_all_that_is_suggested_can_be_read_and_holds_all_at_the_hundredth_percentile(
    told: list[tuple[str, int]],
) -> None:
    usages = [(name, Usage(metrics=amount)) for name, amount in told]
    rules = RuleSet.from_text(suggest(usages, RuleSet.from_text(IN_FORCE), percent=100, headroom=1))
    for name, usage in usages:
        rule = rules.match(name)
        assert rule is not None
        assert usage.metrics <= (rule.limits.metrics or MAXIMUM)


@pytest.mark.parametrize(("percent", "headroom"), [(0, 1), (101, 1), (95, 0.5), (95, 1000), (float("nan"), 1)])
def test_what_makes_no_sense_is_refused(percent: float, headroom: float) -> None:
    with pytest.raises(InvalidError, match="the percentile is from 1 to 100"):
        suggest([], RuleSet.from_text(""), percent, headroom)
