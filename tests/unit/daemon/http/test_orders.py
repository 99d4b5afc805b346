"""Orders of many rows equal Python's own sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.daemon.http.orders import WIDTH, by_amount, by_name

names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["i8", "u8", "f8"])
@given(amounts=st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 3)))
def test_those_with_the_same_amount_stay_in_their_order(descending: bool, dtype: str, amounts: list[int]) -> None:
    column = np.array(amounts, dtype)
    sign = -1 if descending else 1
    values = column.tolist()
    expected = sorted(range(len(values)), key=lambda position: sign * values[position])
    assert by_amount(column, descending=descending).tolist() == expected


@given(st.lists(st.lists(names, max_size=4), max_size=4))
def test_names_come_as_their_bytes_do_in_whatever_stretches(stretches: list[list[str]]) -> None:
    together = [name for stretch in stretches for name in stretch]
    ordered = [together[position] for position in by_name(stretches, descending=False)]
    assert [name.encode() for name in ordered] == sorted(name.encode() for name in together)


@pytest.mark.parametrize("descending", [False, True])
def test_the_root_is_first(descending: bool) -> None:
    order = by_name([["b", "-a"], ["/", "a"]], descending=descending).tolist()
    assert order == ([0, 3, 1, 2] if descending else [2, 1, 3, 0])


def test_names_that_begin_alike_stay_in_their_order() -> None:
    assert by_name([["x" * WIDTH + "b", "x" * WIDTH + "a"]], descending=False).tolist() == [0, 1]
