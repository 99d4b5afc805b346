"""Plaintext lines: what carbon reads, exactly."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, RuleSet
from carbonquota.model import MAXIMUM
from carbonquota.stats import plaintext_lines


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, b"0"),
        (7, b"7"),
        (-7, b"-7"),
        (MAXIMUM, b"9223372036854775807"),
        (2.0, b"2"),
        (0.25, b"0.25"),
        (1700000000.0, b"1700000000"),
        (1e20, b"100000000000000000000"),
        (1e-7, b"1e-07"),
        (True, b"1"),
    ],
)
def test_a_number_is_written_as_short_as_it_is_exact(value: float, written: bytes) -> None:
    assert plaintext_lines("p", {"a.b": value}, 60) == b"p.a.b " + written + b" 60\n"


def test_lines_are_in_order_and_each_has_its_end() -> None:
    assert plaintext_lines("carbon.agents.here", {"x": 1, "y": 2.5}, 120) == (
        b"carbon.agents.here.x 1 120\ncarbon.agents.here.y 2.5 120\n"
    )


def test_without_a_prefix_a_name_stands_alone() -> None:
    assert plaintext_lines("", {"x": 1}, 120) == b"x 1 120\n"


def test_without_values_there_is_no_line() -> None:
    assert plaintext_lines("p", {}, 120) == b""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_has_no_line(value: float) -> None:
    assert plaintext_lines("p", {"a": value, "b": 1}, 60) == b"p.b 1 60\n"


def test_names_are_utf_8() -> None:
    assert plaintext_lines("p", {"größe": 1}, 60) == "p.größe 1 60\n".encode()


def test_our_own_engine_takes_the_lines() -> None:
    lines = plaintext_lines("p", {"a": MAXIMUM, "b": 0.1, "c": 1e-7, "d": 1e20}, 60)
    admission = QuotaEngine(RuleSet.from_text("")).admit(lines)
    assert (admission.points, admission.malformed) == (4, 0)


def test_a_hundred_thousand_values_are_a_line_each() -> None:
    values: dict[str, float] = {f"usage.metrics.teams.team-{number}": number for number in range(100_000)}
    lines = plaintext_lines("carbon.agents.here", values, 60)
    assert lines.count(b"\n") == 100_000
