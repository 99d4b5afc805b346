"""Throughput: one offer held against the points still left."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from carbonquota.control import CONTROLS
from carbonquota.controls.reference import throughput
from carbonquota.controls.table import METRICS, THROUGHPUT
from carbonquota.model import MAXIMUM
from carbonquota.trie import NO_QUOTA, Quotas

DATA_POINTS = next(control.index for control in CONTROLS if control.stat == "data_points")


@dataclass(frozen=True, slots=True)
class Grants:
    """What a rule grants, for these tests: a throughput limit, or None for none."""

    limit: int | None
    enforcing: bool = True
    stat_prefix: str = ""

    @property
    def throughput(self) -> int:
        """The limit, or what stands for none."""
        return MAXIMUM if self.limit is None else self.limit

    @property
    def metered(self) -> bool:
        """Whether there is a limit."""
        return self.limit is not None


def chain_of(*grants: Grants) -> tuple[Quotas, tuple[int, ...]]:
    """Quotas one below the other, and the flow chain of the lowest."""
    quotas, quota = Quotas(grants, str), NO_QUOTA
    for number in range(len(grants)):
        quota = quotas.create(number, number, quota)
    return quotas, quotas.rate_chain(quota)


def take(quotas: Quotas, chain: tuple[int, ...], points: int) -> int:
    """Offer points to the quotas of a chain: the one that rejects them, or NO_QUOTA and they are charged."""
    rejecter = throughput.ask(quotas, chain, points)
    if rejecter == NO_QUOTA:
        throughput.charge(quotas, chain, points)
    return rejecter


def counted(quotas: Quotas) -> list[tuple[int, ...]]:
    """By quota: what is used, the throttle count, and what was dropped by each control."""
    return [(quotas.used(row), *(int(count[row]) for count in quotas.counts)) for row in quotas.rows()]


def dropped(quotas: Quotas, quota: int, control: int) -> int:
    """What a quota dropped by one control."""
    return quotas.dropped_at[control][quota]


@pytest.mark.parametrize(
    ("limits", "points", "rejecter", "used", "throttle"),
    [
        ((10, 10), 10, None, (10, 10), (0, 0)),
        ((10, 10), 11, 0, (0, 0), (11, 0)),
        ((10, 5), 6, 1, (0, 0), (0, 6)),
        ((5, 10), 6, 0, (0, 0), (6, 0)),
        ((5, 5), 6, 0, (0, 0), (6, 0)),
        ((MAXIMUM, 5), 5, None, (5, 5), (0, 0)),
        ((MAXIMUM, MAXIMUM), MAXIMUM, None, (MAXIMUM, MAXIMUM), (0, 0)),
        ((MAXIMUM - 1, MAXIMUM), MAXIMUM, 0, (0, 0), (MAXIMUM, 0)),
    ],
)
def test_an_offer_is_taken_whole_or_charged_nowhere(
    limits: tuple[int, ...], points: int, rejecter: int | None, used: tuple[int, ...], throttle: tuple[int, ...]
) -> None:
    quotas, chain = chain_of(*map(Grants, limits))
    expected = NO_QUOTA if rejecter is None else chain[rejecter]
    assert take(quotas, chain, points) == expected
    assert tuple(quotas.used(row) for row in chain) == used
    assert tuple(quotas.throttle_at[row] for row in chain) == throttle
    assert tuple(dropped(quotas, row, THROUGHPUT) for row in chain) == throttle


def test_asking_charges_nothing_and_counts_the_rejection() -> None:
    quotas, chain = chain_of(Grants(10), Grants(5))
    assert throughput.ask(quotas, chain, 5) == NO_QUOTA
    assert throughput.ask(quotas, chain, 6) == chain[1]
    assert [quotas.used(row) for row in chain] == [0, 0]
    assert [quotas.throttle_at[row] for row in chain] == [0, 6]


def test_a_quota_that_does_not_enforce_counts_and_lets_pass() -> None:
    quotas, chain = chain_of(Grants(10, enforcing=False), Grants(8), Grants(5, enforcing=False))
    assert take(quotas, chain, 7) == NO_QUOTA
    assert take(quotas, chain, 4) == chain[1]
    assert [quotas.used(row) for row in chain] == [7, 7, 7]
    assert [quotas.throttle_at[row] for row in chain] == [4, 4, 7]
    assert [dropped(quotas, row, THROUGHPUT) for row in chain] == [0, 4, 0]


def test_points_over_a_limit_of_any_control_are_counted_up_to_the_maximum() -> None:
    quotas, (first, second) = chain_of(Grants(1), Grants(1, enforcing=False))
    assert [throughput.over(quotas, first, METRICS, MAXIMUM - 1) for _ in range(3)] == [True] * 3
    assert throughput.over(quotas, first, DATA_POINTS, 5)
    assert not throughput.over(quotas, second, METRICS, MAXIMUM)
    assert [quotas.throttle_at[row] for row in (first, second)] == [MAXIMUM, MAXIMUM]
    assert (dropped(quotas, first, METRICS), dropped(quotas, first, DATA_POINTS)) == (MAXIMUM, 5)
    assert dropped(quotas, second, METRICS) == 0


@pytest.mark.parametrize("enforcing", [True, False])
@pytest.mark.parametrize("limit", [1, 100, MAXIMUM])
def test_used_never_passes_the_maximum_nor_wraps(limit: int, enforcing: bool) -> None:
    quotas, chain = chain_of(Grants(limit, enforcing=enforcing))
    for points in (2**62, 2**62, MAXIMUM, MAXIMUM, 1):
        take(quotas, chain, points)
        assert 0 <= quotas.used(chain[0]) <= (limit if enforcing else MAXIMUM)
    assert enforcing or quotas.used(chain[0]) == MAXIMUM
