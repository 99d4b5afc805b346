"""Aggregations: which section counts, what each key may hold, and every error with its full text."""

from __future__ import annotations

from pathlib import Path

import pytest
import whisper

from carbonquota.errors import ConfigError
from carbonquota.rules import Aggregation, Aggregations

ETC = Path(__file__).parents[3] / "etc"


def aggregation(*lines: str) -> Aggregation:
    return Aggregations.from_text("\n".join(["[all]", "pattern = .", *lines])).match("a.b")


def errors_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Aggregations.from_text(text, "aggregation.conf")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "method"),
    [(name, name) for name in whisper.aggregationMethods] + [("avg", "average"), ('"sum"', "sum")],
)
def test_every_method_of_whisper_is_taken(written: str, method: str) -> None:
    assert aggregation(f"aggregationMethod = {written}") == Aggregation(0.5, method)


@pytest.mark.parametrize(
    ("written", "factor"), [("0", 0.0), ("1", 1.0), ("0.25", 0.25), (".5", 0.5), ("1.", 1.0), ("5e-1", 0.5)]
)
def test_a_factor_is_a_share(written: str, factor: float) -> None:
    assert aggregation(f"xFilesFactor = {written}") == Aggregation(factor, "average")


@pytest.mark.parametrize("key", ["xFilesFactor", "xfilesfactor", "XFILESFACTOR"])
def test_keys_are_compared_without_case(key: str) -> None:
    assert aggregation(f"{key} = 0.1").x_files_factor == 0.1


def test_keys_of_go_carbons_migration_are_passed_over() -> None:
    assert aggregation("xffMigration = false", "aggregationMethodMigration = true") == Aggregation()


@pytest.mark.parametrize(
    "found", [Aggregations(), Aggregations.from_text(""), Aggregations.from_text("[x]\npattern=^x$")]
)
def test_without_a_section_it_is_the_average_of_half_of_the_points(found: Aggregations) -> None:
    assert found.match("a.b") == Aggregation(0.5, "average")


@pytest.mark.parametrize(
    ("metric", "method"), [("a.count", "sum"), ("count", "min"), ("a.max", "max"), ("max.count", "sum"), ("b", "last")]
)
def test_the_first_pattern_that_is_found_counts_in_file_order(metric: str, method: str) -> None:
    found = Aggregations.from_text(
        "[a]\npattern = \\.count$\naggregationMethod = sum\n"
        "[b]\npattern = count\naggregationMethod = min\n"
        "[c]\npattern = max\naggregationMethod = max\n"
        "[d]\npattern =.*\naggregationMethod = last\n"
        "[e]\npattern =^b\naggregationMethod = min\n"
    )
    assert found.match(metric).method == method


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("a.b.min", Aggregation(0.1, "min")),
        ("stats.timers.x.upper_90", Aggregation(0.1, "max")),
        ("stats.x.count", Aggregation(0.0, "sum")),
        ("servers.web1.cpu", Aggregation(0.5, "average")),
        ("a.minutes", Aggregation(0.5, "average")),
    ],
)
def test_the_example_file_aggregates_as_its_comments_say(metric: str, expected: Aggregation) -> None:
    assert Aggregations.from_file(ETC / "storage-aggregation.conf").match(metric) == expected


METHODS = "methods are: average, sum, last, max, min, avg_zero, absmax, absmin"
SHARE = "it is the share of points that must be known, from 0 to 1; without it 0.5"


@pytest.mark.parametrize(
    ("line", "column", "message", "caret", "hint"),
    [
        ("aggregationMethod = p95", 21, 'no Whisper file can aggregate by "p95"', "^^^", METHODS),
        ("aggregationMethod = first", 21, 'no Whisper file can aggregate by "first"', "^^^^^", METHODS),
        ("aggregationMethod = mix", 21, 'no Whisper file can aggregate by "mix"', "^^^", METHODS),
        (
            "aggregationMethod = avarage",
            21,
            'unknown aggregationMethod "avarage"',
            "^^^^^^^",
            'did you mean "average"?',
        ),
        ("aggregationMethod = SUM", 21, 'unknown aggregationMethod "SUM"', "^^^", 'did you mean "sum"?'),
        ("aggregationMethod = x", 21, 'unknown aggregationMethod "x"', "^", METHODS),
        ("aggregationMethod =", 20, "aggregationMethod is empty", "^", METHODS),
        ("xFilesFactor = 1.5", 16, "xFilesFactor: 1.5 is not from 0 to 1", "^^^", SHARE),
        ("xFilesFactor = -0.1", 16, "xFilesFactor: -0.1 is not from 0 to 1", "^^^^", SHARE),
        ("xFilesFactor = half", 16, 'xFilesFactor: "half" is not a number', "^^^^", SHARE),
        ("xFilesFactor = nan", 16, 'xFilesFactor: "nan" is not a number', "^^^", SHARE),
        ("xFilesFactor = 0_1", 16, 'xFilesFactor: "0_1" is not a number', "^^^", SHARE),
        ("xFilesFactor =", 15, "xFilesFactor is empty", "^", SHARE),
        ("xffMigration = no", 16, 'unknown xffmigration "no"', "^^", "values are: true, false"),
    ],
)
def test_what_a_section_cannot_hold(line: str, column: int, message: str, caret: str, hint: str) -> None:
    assert errors_of(f"[a]\npattern = .\n{line}\n") == (
        f"aggregation.conf:3:{column}: {message}\n    {line}\n    {' ' * (column - 1)}{caret}\n  {hint}"
    )


def test_all_errors_come_in_one_run_and_in_file_order() -> None:
    assert errors_of("[a]\npattern = (\nxFilesFactor = 2\n[b]\naggregationMethod = p50\n") == (
        "aggregation.conf:2:11: pattern: missing ), unterminated subpattern\n"
        "    pattern = (\n"
        "              ^\n"
        "aggregation.conf:3:16: xFilesFactor: 2 is not from 0 to 1\n"
        "    xFilesFactor = 2\n"
        "                   ^\n"
        f"  {SHARE}\n"
        "aggregation.conf:4:2: this section has no pattern\n"
        "    [b]\n"
        "     ^\n"
        '  "pattern = .*" matches all metrics\n'
        'aggregation.conf:5:21: no Whisper file can aggregate by "p50"\n'
        "    aggregationMethod = p50\n"
        "                        ^^^\n"
        f"  {METHODS}"
    )


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        Aggregations.from_file(tmp_path / "missing.conf")


def test_a_pattern_that_may_take_very_long_is_a_warning() -> None:
    found = Aggregations.from_text("[a]\npattern = (.)\\1\n", "aggregation.conf").findings
    assert "\n".join(map(str, found)) == (
        "aggregation.conf:2:14: S001 only Python's re reads this pattern (a back-reference), and this part may take "
        "very long\n    pattern = (.)\\1\n                 ^^\n"
        "  RE2 takes patterns without look-around, back-references and possessive repetitions"
    )


def test_a_key_that_carbon_passes_over_is_a_warning() -> None:
    found = Aggregations.from_text("[a]\npattern = .\nxFileFactor = 0\n[b]\npattern = b\n", "aggregation.conf")
    assert "\n".join(map(str, found.findings)) == (
        'aggregation.conf:3:1: S006 unknown key "xfilefactor", which has no effect\n'
        '    xFileFactor = 0\n    ^^^^^^^^^^^\n  did you mean "xfilesfactor"?'
    )
    assert found.match("a").x_files_factor == 0.5
