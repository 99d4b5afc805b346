"""The switches that commands share: what they take, and what they say of what they do not."""

from __future__ import annotations

import click
import pytest

from carbonquota.cli.options import count, interval, rows_shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60.0), ("1.5", 1.5), ("1", 1.0), ("90s", 90.0), ("5m", 300.0), ("2h", 7200.0), ("1d", 86400.0)],
)
def test_an_interval_is_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    assert interval(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0.5", "-5", "1w", "m", "nan", "inf", "1e3", "5 m", "٣", "9" * 400])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        interval(text)
    assert refusal.value.message == f"{text!r} is not an interval of a second or more, such as 60, 90s, 5m or 1h"


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "", "²"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as refusal:
        count(text)
    assert refusal.value.message == f"{text!r} is not a whole number from 0 on"


@pytest.mark.parametrize(
    ("top", "as_json", "rows"), [(None, False, 50), (None, True, 0), (0, False, 0), (7, False, 7), (7, True, 7)]
)
def test_people_see_the_first_rows_and_programs_all(top: int | None, as_json: bool, rows: int) -> None:
    assert rows_shown(top, as_json=as_json) == rows
