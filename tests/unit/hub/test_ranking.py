"""The largest of very many amounts, found without a sort of all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.hub.domain.ranking import largest

AMOUNTS = st.lists(st.one_of(st.integers(0, 5), st.just(10**15)), max_size=40)


@given(AMOUNTS, st.integers(0, 45))
def test_they_are_the_first_of_a_stable_sort(amounts: list[int], most: int) -> None:
    for kind in (np.int64, np.float64):
        column = np.array(amounts, kind)
        assert largest(column, most) == np.argsort(-column, kind="stable")[:most].tolist()


def test_what_has_a_limit_of_nothing_comes_first() -> None:
    assert largest(np.array([1.0, np.inf, 2.0, np.inf]), 3) == [1, 3, 2]
