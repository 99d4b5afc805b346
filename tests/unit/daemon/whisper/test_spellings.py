"""What is remembered of names: never more than two generations, and what is asked for stays."""

from __future__ import annotations

import pytest

from carbonquota.daemon.whisper.spellings import SpellingBounds, Spellings


@pytest.mark.parametrize(("bounds", "most"), [(SpellingBounds(10, 10**6), 20), (SpellingBounds(10**6, 70), 20)])
def test_ever_new_names_are_forgotten_and_what_is_asked_for_is_not(bounds: SpellingBounds, most: int) -> None:
    spellings: Spellings[int] = Spellings(bounds)
    spellings.remember(b"popular", -1)
    for number in range(1000):
        spellings.remember(b"new%04d" % number, number)
        assert spellings.find(b"popular") == -1
        assert len(spellings) <= most
    assert spellings.find(b"new0999") == 999
    assert spellings.find(b"new0000") is None


def test_who_reads_the_young_generation_may_hold_on_to_it() -> None:
    spellings: Spellings[int] = Spellings(SpellingBounds(2, 100))
    young = spellings.young
    for number in range(5):
        spellings.remember(b"%d" % number, number)
    assert young is spellings.young
    assert young == {b"4": 4}
    assert spellings.find(b"3") == 3
    assert young == {b"4": 4, b"3": 3}


def test_a_name_longer_than_all_bounds_is_remembered_alone() -> None:
    spellings: Spellings[int] = Spellings(SpellingBounds(10, 3))
    spellings.remember(b"longer", 1)
    spellings.remember(b"x", 2)
    assert (spellings.find(b"longer"), spellings.find(b"x")) == (1, 2)
    assert len(spellings) == 2
