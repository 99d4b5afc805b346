"""Rows by hash: whatever comes and goes, each row is found under its hash, and hardly any other one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from carbonquota.trie.rows_by_hash import RowsByHash

LOWEST, HIGHEST = -(2**63), 2**63 - 1


def column(numbers: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Numbers as an array."""
    return np.array(numbers, np.int64)


def test_without_rows_nothing_is_known() -> None:
    held = RowsByHash()
    assert held.rows(5) == []
    assert held.any_known(column([0, 5, LOWEST])).tolist() == []


@pytest.mark.parametrize("key", [0, 1, -1, 63, 2**31, 2**31 - 1, LOWEST, HIGHEST])
def test_a_row_is_found_under_its_hash_until_it_is_removed(key: int) -> None:
    held = RowsByHash()
    held.add(key, 1)
    held.add(key, 2**32 - 1)
    assert held.rows(key) == [1, 2**32 - 1]
    assert held.rows(key + 1 if key < 0 else key - 1) == []
    held.remove(key, 1)
    assert held.rows(key) == [2**32 - 1]


def test_the_first_under_a_hash_is_told_from_a_later_one() -> None:
    held = RowsByHash()
    assert held.add_first(7, 1)
    assert not held.add_first(7, 2)
    assert held.rows(7) == [1], "the later one was not put in"
    assert held.add_first(8, 2)


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_come_and_go_by_thousands_are_found_and_no_other(seed: int) -> None:
    random, held, kept = Random(seed), RowsByHash(), dict[int, int]()
    # Neighbouring hashes share their slots' surroundings; far ones use all bits.
    spread = random.choice([2**12, 2**63])
    for turn in range(30):
        fresh = {random.randrange(-spread, spread): row for row in range(turn * 1000 + 1, turn * 1000 + 300)}
        fresh = {key: row for key, row in fresh.items() if key not in kept}
        if turn % 2:
            held.add_many(column(list(fresh)), column(list(fresh.values())))
        else:
            for key, row in fresh.items():
                held.add(key, row)
        kept |= fresh
        for key in random.sample(sorted(kept), len(kept) // 2):
            held.remove(key, kept.pop(key))
        assert all(row in held.rows(key) for key, row in kept.items())
        asked = sorted(kept)[:50]
        assert held.any_known(column(asked)).tolist() == list(range(len(asked)))
    others = [key for key in range(-300, 300) if key not in kept]
    wrong = sum(len(set(held.rows(key)) - set(kept.values())) for key in others)
    assert wrong == 0, "rows that were removed are gone"


def test_rows_that_come_and_go_for_long_take_no_more_memory() -> None:
    held = RowsByHash()
    tracemalloc.start()
    try:
        for number in range(20_000):
            held.add(number, number + 1)
            if number >= 100:
                held.remove(number - 100, number - 99)
        assert tracemalloc.get_traced_memory()[0] < 24 * 1024
    finally:
        tracemalloc.stop()
    assert held.rows(19_950) == [19_951]


@pytest.mark.parametrize("at_once", [1, 700, 90_000])
def test_all_are_found_while_rows_move_to_a_larger_array(at_once: int) -> None:
    held, count = RowsByHash(), 120_000 if at_once > 1 else 30_000
    keys = np.arange(count, dtype=np.int64) * 7919
    for start in range(0, count, at_once):
        rows = np.arange(start, min(start + at_once, count), dtype=np.int64)
        if at_once == 1:
            held.add(int(keys[start]), start + 1)
        else:
            held.add_many(keys[rows], rows + 1)
        if start % 97 == 0:
            held.remove(int(keys[start]), start + 1)
            assert held.rows(int(keys[start])) == [], "it is gone from wherever it was"
    gone = {place for place in range(0, count, at_once) if place % 97 == 0}
    assert held.any_known(keys).tolist() == [place for place in range(count) if place not in gone]
    assert all(held.rows(int(keys[place])) == [place + 1] for place in range(0, count, 61) if place not in gone)
