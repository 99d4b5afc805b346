"""Customers in memory: each has a number of its own for as long as anybody may be at work with it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from carbonquota.hub.domain.held_customers import HeldCustomers


class Histories:
    """What is done at random, and what it has to come to: numbers by name of those found, leaving and deleted."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.held, self.now = chance, HeldCustomers(5), 100.0
        self.found: dict[str, int] = {}
        self.leaving: dict[str, int] = {}
        self.deleted: dict[str, int] = {}

    def put(self, name: str) -> None:
        there = self.found | self.leaving | self.deleted
        number = int(self.held.put([id_of(name)], [name], self.now)[0])
        assert there.get(name, number) == number
        assert name in there or number not in there.values()
        self.found[name] = number
        self.leaving.pop(name, None)
        self.deleted.pop(name, None)

    def find(self, name: str) -> None:
        if name in self.leaving:
            self.found[name] = self.leaving.pop(name)
        assert self.held.found(name, self.now) == self.found.get(name)

    def let_go(self, _: str) -> None:
        oldest = self.held.least_used().tolist()
        assert sorted(oldest) == sorted(self.found.values())
        self.held.let_go(oldest[:1], self.now)
        for name in [name for name, number in self.found.items() if number in oldest[:1]]:
            self.leaving[name] = self.found.pop(name)

    def free(self, _: str) -> None:
        for number in self.held.left_before(self.now - 5).tolist():
            self.held.free(number)
            for left in (self.leaving, self.deleted):
                for name in [name for name, one in left.items() if one == number]:
                    del left[name]

    def delete(self, name: str) -> None:
        number = self.held.delete(id_of(name), name, self.now)
        assert number == (self.found | self.leaving | self.deleted).get(name, 0)
        if number:
            self.deleted[name] = number
        self.found.pop(name, None)
        self.leaving.pop(name, None)

    def check(self) -> None:
        for name, number in (self.found | self.leaving).items():
            one = id_of(name)
            assert (self.held.names[number], self.held.ids[number], self.held.at_one(one)) == (name, one, number)
        assert self.held.numbers == self.found


def id_of(name: str) -> int:
    return int(name[1:]) + 1


@pytest.mark.parametrize("seed", range(5))
def test_a_number_is_one_customers_until_it_is_freed(seed: int) -> None:
    histories = Histories(random.Random(seed))
    for _ in range(500):
        histories.now += 1
        step = histories.chance.choice(("put", "put", "find", "let_go", "free", "delete"))
        getattr(histories, step)(f"c{histories.chance.randrange(12)}")
        histories.check()
    assert histories.held.at(np.array([0, 10**6])).tolist() == [0, 0]


def test_those_asked_for_least_recently_come_first() -> None:
    held = HeldCustomers(5)
    a, b, c = held.put([1, 2, 3], ["a", "b", "c"], 1.0).tolist()
    held.found("a", 2.0)
    held.note_used([b, 0], 3.0)
    assert held.least_used().tolist() == [c, a, b]
    held.let_go([c], 4.0)
    # A thread that found it before.
    held.note_used([c], 5.0)
    held.used[c] = 5.0
    held.let_go(held.least_used().tolist()[-1:], 6.0)
    assert held.numbers == {"a": a, "b": b}
    assert held.found("c", 7.0) == c
