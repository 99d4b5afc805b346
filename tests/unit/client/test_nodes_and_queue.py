"""Which node the limiter's client asks, and what it keeps on disk while none is there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from carbonquota.client.limiter import ChargeQueue, Nodes, Question
from carbonquota.errors import InputError
from carbonquota.testing import ManualClock

THREE = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]


def test_nodes_of_one_store_take_turns() -> None:
    nodes = Nodes(THREE)
    assert Counter(nodes.order("key")[0] for _ in range(300)) == dict.fromkeys(THREE, 100)
    assert sorted(nodes.order("key")) == THREE


def test_a_key_of_shards_has_one_node_and_a_node_less_moves_no_other_keys() -> None:
    keys = [f"key {n}" for n in range(3_000)]
    three, two = Nodes(THREE, sharded=True), Nodes(THREE[:2], sharded=True)
    before = {key: three.order(key)[0] for key in keys}
    assert min(Counter(before.values()).values()) > 600
    after = {key: two.order(key)[0] for key in keys}
    assert all(after[key] == node for key, node in before.items() if node != THREE[2])


def test_a_node_that_does_not_answer_rests_for_longer_each_time_and_is_asked_last() -> None:
    clock = ManualClock(0.0)
    nodes = Nodes(THREE, sharded=True, clock=clock)
    first, second, third = nodes.order("key")
    nodes.failed(first)
    assert nodes.order("key") == [second, third, first]
    clock.advance(1.1)
    assert nodes.order("key")[0] == first
    nodes.failed(first)
    clock.advance(1.1)
    assert nodes.order("key")[0] == second
    clock.advance(1.1)
    nodes.succeeded(first)
    assert nodes.order("key") == [first, second, third]


def test_every_address_of_a_name_is_a_node_and_stays_one_while_names_cannot_be_looked_up() -> None:
    clock, found = ManualClock(0.0), {"limits": ["10.0.0.1"]}
    nodes = Nodes(["dns://limits:80", "10.9.9.9:81"], sharded=True, look_up=lambda name: found[name], clock=clock)
    assert sorted(nodes.order("key")) == ["10.0.0.1:80", "10.9.9.9:81"]
    found["limits"] = ["10.0.0.2", "2001:db8::1"]
    assert sorted(nodes.order("key")) == ["10.0.0.1:80", "10.9.9.9:81"]
    clock.advance(5.0)
    assert sorted(nodes.order("key")) == ["10.0.0.2:80", "10.9.9.9:81", "[2001:db8::1]:80"]

    def away(name: str) -> list[str]:
        raise OSError(name)

    clock.advance(5.0)
    nodes._look_up = away  # noqa: SLF001 - the name server goes away
    assert sorted(nodes.order("key")) == ["10.0.0.2:80", "10.9.9.9:81", "[2001:db8::1]:80"]


@pytest.mark.parametrize("nodes", [[], ["here"], ["http://x:80"]], ids=["none", "no port", "a URL"])
def test_what_is_no_node_is_told(nodes: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no host:port|at least one"):
        Nodes(nodes)


def question(n: int) -> Question:
    return Question("d", [[("k", str(n)), ("l", "")], [("m", "x")]], n, tier="pro")


def test_charges_come_out_in_their_order_as_they_went_in_also_after_a_restart(tmp_path: Path) -> None:
    ChargeQueue(tmp_path / "charges").put([question(n) for n in range(5)])
    queue = ChargeQueue(tmp_path / "charges")
    rows = queue.first(3)
    assert [one for _, one in rows] == [question(n) for n in range(3)]
    queue.remove([number for number, _ in rows])
    assert [one.hits for _, one in queue.first(9)] == [3, 4]


def test_a_full_queue_lets_the_oldest_go_and_counts_it(tmp_path: Path) -> None:
    queue = ChargeQueue(tmp_path / "charges", most=3)
    queue.put([question(n) for n in range(2)])
    queue.put([question(n) for n in range(2, 5)])
    assert [one.hits for _, one in queue.first(9)] == [2, 3, 4]
    assert (len(queue), queue.dropped) == (3, 2)


def test_a_file_that_cannot_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="charges cannot be kept there: unable to open database file"):
        ChargeQueue(tmp_path / "no" / "charges")
