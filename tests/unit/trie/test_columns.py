"""Columns: rows are given out one by one and many at once alike, and always clean."""

from __future__ import annotations

import pytest

from carbonquota.trie.columns import Column, Columns, NarrowColumn, View


class Two(Columns):
    """A wide and a narrow column."""

    COLUMNS = "wide"
    NARROW = "narrow"

    wide: Column
    wide_at: View
    narrow: NarrowColumn
    narrow_at: View


def filled(rows: int) -> Two:
    """Columns with so many rows, in which something is written."""
    columns = Two()
    for number in range(rows):
        row = columns.take_row()
        columns.wide_at[row], columns.narrow_at[row] = number + 2**40, -number
    return columns


@pytest.mark.parametrize("count", [0, 1, 3, 4, 500])
@pytest.mark.parametrize("given_back", [[], [2], [3, 1, 2]])
def test_many_rows_are_those_that_one_after_the_other_would_be(given_back: list[int], count: int) -> None:
    single, many = filled(5), filled(5)
    for row in given_back:
        single.give_row(row)
        many.give_row(row)
    expected = [single.take_row() for _ in range(count)]
    rows = many.take_rows(count)
    assert rows.tolist() == expected
    assert many.size == single.size
    assert not many.wide[rows].any()
    assert not many.narrow[rows].any()
    assert many.take_row() == single.take_row()


def test_what_is_written_stays_as_columns_grow() -> None:
    columns = filled(3000)
    assert columns.wide[:3000].tolist() == [number + 2**40 for number in range(3000)]
    assert columns.narrow[:3000].tolist() == [-number for number in range(3000)]
    columns.wide[7] = 5
    columns.narrow[7] = 6
    assert (columns.wide_at[7], columns.narrow_at[7]) == (5, 6), "array and view are of one memory"
