"""A comment behind a value, which carbon's files do not have: each kind of file says where comments stand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carbonquota.errors import ConfigError
from carbonquota.rules import RuleSet, Schemas
from carbonquota.rules.aggregation import Aggregations


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (RuleSet.from_text, "metrics = 5 # five"),
        (RuleSet.from_text, "metrics = # none"),
        (RuleSet.from_text, "dropping-policy = new ; as always"),
        (RuleSet.from_text, "stat-metric-prefix = a.b. # short"),
        (Schemas.from_text, "retentions = 60s:1d # a day"),
        (Aggregations.from_text, "xFilesFactor = 0.5 # half"),
        (Aggregations.from_text, "aggregationMethod = sum\t; all of it"),
    ],
)
def test_a_comment_behind_a_value_gets_the_hint(read: Callable[[str], object], line: str) -> None:
    needed = "" if read == RuleSet.from_text else "pattern = .*\n"
    needed += "retentions = 60s:1d\n" if read == Schemas.from_text and "retentions" not in line else ""
    with pytest.raises(ConfigError) as caught:
        read(f"[all]\n{needed}{line}\n")
    assert [problem.suggestion for problem in caught.value.problems] == ["a comment stands on a line of its own"]
