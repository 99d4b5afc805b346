"""The slow model, by which the property tests judge, gives every answer that go-carbon gave."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.globs import glob_matches
from tests.support.model import SlowQuotas
from tests.support.names import namespaces_of
from tests.support.vectors import size_tuple, slow_rules, vectors

RECORDED = vectors()


@pytest.mark.parametrize("scenario", RECORDED["scenarios"], ids=lambda scenario: scenario["name"])
def test_the_model_answers_as_recorded(scenario: dict[str, Any]) -> None:
    model = SlowQuotas(slow_rules(scenario))
    for step in scenario["steps"]:
        match step["op"]:
            case "load":
                model.load(step["metric"], size_tuple(step))
            case "offer":
                fate = model.offer(step["metric"], step["points"], size_tuple(step))
                assert (fate.kind == "accepted") is step["accept"], (step, fate)
            case _:
                stats = {name: float(value) for name, value in model.report().items() if name[:8] != "dropped."}
                assert stats == {name: float(value) for name, value in step["stats"].items()}


@pytest.mark.parametrize("case", RECORDED["globs"], ids=lambda case: case["metrics"][0])
def test_the_slow_matcher_finds_what_was_recorded(case: dict[str, Any]) -> None:
    namespaces = {namespace for metric in case["metrics"] for namespace in namespaces_of(metric)} - {"/"}
    for pattern, matched in case["patterns"].items():
        assert {name for name in namespaces if glob_matches(pattern, name)} == set(matched), pattern
