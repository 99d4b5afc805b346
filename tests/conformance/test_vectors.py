"""The engine gives every answer that go-carbon gave, by single offers and by batches of lines."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock
from tests.support.engines import line
from tests.support.names import namespaces_of
from tests.support.vectors import quotas_conf, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carbonquota.model import SizeOf

RECORDED = vectors()
SINGLE_POINTS = [
    scenario
    for scenario in RECORDED["scenarios"]
    if all(step["points"] == 1 for step in scenario["steps"] if step["op"] == "offer")
]


def _name(scenario: dict[str, Any]) -> str:
    return str(scenario["name"])


def _engine(scenario: dict[str, Any], size_of: SizeOf = lambda _metric: Size()) -> QuotaEngine:
    rules = RuleSet.from_text(quotas_conf(scenario), source="storage-quotas.conf")
    return QuotaEngine(rules, size_of=size_of, clock=ManualClock(0.0), interval=60.0)


def _assert_report(engine: QuotaEngine, recorded: dict[str, float]) -> None:
    report = {name: float(value) for name, value in engine.report().items() if not name.startswith("dropped.")}
    assert report == {name: float(value) for name, value in recorded.items()}


def test_the_vectors_are_all_there() -> None:
    assert len(RECORDED["scenarios"]) == 48
    assert len(SINGLE_POINTS) == 24
    assert sum(len(case["patterns"]) for case in RECORDED["globs"]) == 480


@pytest.mark.parametrize("scenario", RECORDED["scenarios"], ids=_name)
def test_offers_answer_as_recorded(scenario: dict[str, Any]) -> None:
    engine = _engine(scenario)
    for step in scenario["steps"]:
        match step["op"]:
            case "load":
                engine.load(step["metric"], Size(*step["size"]))
            case "offer":
                verdict = engine.offer(step["metric"], step["points"], Size(*step["size"]))
                assert verdict.accepted is step["accept"], (step, verdict)
            case _:
                _assert_report(engine, step["stats"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scenario", SINGLE_POINTS, ids=_name)
def test_batches_answer_as_recorded(scenario: dict[str, Any], seed: int) -> None:
    sizes = {step["metric"]: Size(*step["size"]) for step in scenario["steps"] if step["op"] != "report"}
    engine = _engine(scenario, sizes.__getitem__)
    for steps in _batches(scenario["steps"], Random(f"{scenario['name']} {seed}")):
        match steps[0]["op"]:
            case "load":
                engine.load(steps[0]["metric"])
            case "report":
                _assert_report(engine, steps[0]["stats"])
            case _:
                _assert_batch(engine, steps)


def _batches(steps: list[dict[str, Any]], random: Random) -> Iterator[list[dict[str, Any]]]:
    """Runs of offers cut at random; loads and reports stand alone."""
    batch: list[dict[str, Any]] = []
    length = random.randint(1, 400)
    for step in steps:
        if batch and (step["op"] != "offer" or len(batch) == length):
            yield batch
            batch, length = [], random.choice((random.randint(1, 12), random.randint(1, 400)))
        if step["op"] == "offer":
            batch.append(step)
        else:
            yield [step]
    if batch:
        yield batch


def _assert_batch(engine: QuotaEngine, offers: list[dict[str, Any]]) -> None:
    # A line's number is its timestamp, so that the accepted bytes tell each line's fate.
    lines = [line(step["metric"])[:-1] + b"%d\n" % number for number, step in enumerate(offers)]
    result = engine.admit(b"".join(lines))
    expected = [text for text, step in zip(lines, offers, strict=True) if step["accept"]]
    assert result.accepted.splitlines(keepends=True) == expected
    assert (result.points, result.dropped, result.malformed) == (len(expected), len(lines) - len(expected), 0)


@pytest.mark.parametrize("case", RECORDED["globs"], ids=lambda case: str(case["metrics"][0]))
def test_globs_match_as_recorded(case: dict[str, Any]) -> None:
    namespaces = {namespace for metric in case["metrics"] for namespace in namespaces_of(metric)} - {"/"}
    for pattern, recorded in case["patterns"].items():
        rules = RuleSet.from_text(f"[{pattern}]\nmetrics = 1\n", source="storage-quotas.conf")
        matched = [namespace for namespace in sorted(namespaces) if rules.match(namespace) is not None]
        assert matched == sorted(recorded), pattern
