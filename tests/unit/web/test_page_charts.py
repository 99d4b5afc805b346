"""Charts drawn by the server: round axes, lines that break where nothing is known, and the same values as a table."""

from __future__ import annotations

import pytest

from carbonquota.web.page.charts import HEIGHT, WIDTH, ChartLine, chart, nice_top, path_of


@pytest.mark.parametrize(
    ("most", "control", "top"),
    [
        (0, "", 4),
        (1, "", 1),
        (3.2, "", 4),
        (464, "", 600),
        (1001, "", 2000),
        (9_999, "", 10_000),
        (1500, "logical-size", 2048),
    ],
)
def test_the_top_of_an_axis_is_round_and_not_below_the_values(most: float, control: str, top: float) -> None:
    assert nice_top(most, control) == top >= most


def test_a_line_goes_from_the_first_to_the_last_time() -> None:
    assert path_of([0, 50, 100], [0, 5, 10], 10) == f"M0.0 {HEIGHT:.1f} L500.0 100.0 L{WIDTH:.1f} 0.0"


def test_a_line_breaks_where_nothing_is_known() -> None:
    assert path_of([0, 1, 2, 3, 4], [1, None, 1, 1, None], 2) == "M0.0 100.0 h2 M500.0 100.0 L750.0 100.0"


def test_a_chart_has_its_values_as_a_table_too() -> None:
    drawn = chart(
        "Usage", [0, 60, 120], [ChartLine("used", [1, 2, None], "first"), ChartLine("limit", [4, 4, 4], "limit")]
    )
    assert drawn is not None
    assert [(row.time[11:16], row.values) for row in drawn.rows] == [
        ("00:00", ("1", "4")),
        ("00:01", ("2", "4")),
        ("00:02", ("\N{EN DASH}", "4")),
    ]
    assert drawn.data == [[0, 60, 120], [1, 2, None], [4, 4, 4]]
    assert [line.last for line in drawn.lines] == ["2", "4"]


def test_long_charts_have_short_tables() -> None:
    drawn = chart("Usage", range(1000), [ChartLine("used", [1.0] * 1000, "first")])
    assert drawn is not None
    assert len(drawn.rows) == 12


def test_no_chart_is_made_of_a_single_moment() -> None:
    assert chart("Usage", [0], [ChartLine("used", [1], "first")]) is None
