"""Counts of other nodes: merging is a join of grow-only counters, whatever the network does to the messages."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.cluster.counts import CountBounds, Elsewhere
from carbonquota.cluster.messages import Message, Run

RUNS = [Run(bytes([number]) * 16, epoch) for number in range(3) for epoch in range(2)]
INTERVALS = (10, 11)

Sent = tuple[int, int, dict[int, int]]  # which run, which interval, counts by digest
SENT = st.tuples(
    st.integers(0, len(RUNS) - 1),
    st.sampled_from(INTERVALS),
    st.dictionaries(st.integers(0, 8), st.integers(1, 100), max_size=6),
)


def message_of(sent: Sent, sequence: int = 0) -> Message:
    run, interval, counts = sent
    digests = np.array(sorted(counts), np.uint64)
    amounts = np.array([counts[digest] for digest in sorted(counts)], np.int64)
    return Message(RUNS[run], 60.0, interval, sequence, 0.0, digests, amounts)


def known(elsewhere: Elsewhere) -> dict[int, dict[int, int]]:
    totals = {}
    for interval in INTERVALS:
        digests, counts = elsewhere.total(interval)
        assert sorted(set(digests.tolist())) == digests.tolist()
        totals[interval] = dict(zip(digests.tolist(), counts.tolist(), strict=True))
    return totals


def merged(messages: list[Sent]) -> Elsewhere:
    elsewhere = Elsewhere()
    for sent in messages:
        elsewhere.merge(message_of(sent), 0.0)
    return elsewhere


@given(st.lists(SENT, max_size=12))
def test_what_is_known_is_the_sum_over_the_runs_of_the_greatest_counts(messages: list[Sent]) -> None:
    greatest: dict[int, dict[int, dict[int, int]]] = {interval: defaultdict(dict) for interval in INTERVALS}
    for run, interval, counts in messages:
        for digest, count in counts.items():
            held = greatest[interval][digest]
            held[run] = max(held.get(run, 0), count)
    assert known(merged(messages)) == {
        interval: {digest: sum(held.values()) for digest, held in greatest[interval].items()} for interval in INTERVALS
    }


@given(st.lists(SENT, max_size=12), st.randoms())
def test_merging_is_commutative_and_idempotent(messages: list[Sent], shuffle: random.Random) -> None:
    again = messages + messages[: len(messages) // 2]
    shuffle.shuffle(again)
    assert known(merged(again)) == known(merged(messages))


@given(st.lists(SENT, max_size=12))
def test_what_is_known_only_grows_and_each_merge_tells_by_how_much(messages: list[Sent]) -> None:
    elsewhere = Elsewhere()
    for sent in messages:
        before = known(elsewhere)[sent[1]]
        digests, growth = elsewhere.merge(message_of(sent), 0.0)
        after = known(elsewhere)[sent[1]]
        told = dict(zip(digests.tolist(), growth.tolist(), strict=True))
        assert all(amount > 0 for amount in told.values())
        assert {digest: after[digest] - before.get(digest, 0) for digest in after} == {
            digest: told.get(digest, 0) for digest in after
        }


def test_an_interval_long_past_is_not_kept() -> None:
    elsewhere = Elsewhere()
    for interval in (10, 11, 12):
        elsewhere.merge(message_of((0, interval, {1: 5})), 0.0)
    digests, _ = elsewhere.merge(message_of((0, 10, {1: 9})), 0.0)
    assert len(digests) == len(elsewhere.total(10)[0]) == 0
    assert elsewhere.total(12)[1].tolist() == [5]


def test_messages_that_never_came_are_counted() -> None:
    elsewhere = Elsewhere()
    for sequence in (1, 2, 5, 4, 5, 6):
        elsewhere.merge(message_of((0, 10, {1: 5}), sequence), 0.0)
    assert elsewhere.missed == 2


def test_a_run_that_is_silent_is_forgotten() -> None:
    elsewhere = Elsewhere()
    elsewhere.merge(message_of((0, 10, {1: 5})), 100.0)
    elsewhere.merge(message_of((2, 10, {1: 7})), 130.0)
    assert dict(elsewhere.nodes(150.0)) == {RUNS[0]: 50.0, RUNS[2]: 20.0}
    assert elsewhere.forget_silent(150.0, after=40.0) == [RUNS[0]]
    assert elsewhere.total(10)[1].tolist() == [7]


def test_what_is_remembered_is_bounded() -> None:
    elsewhere = Elsewhere(CountBounds(runs=1, namespaces=2))
    elsewhere.merge(message_of((0, 10, {1: 1, 2: 1})), 0.0)
    elsewhere.merge(message_of((1, 10, {1: 1})), 0.0)
    elsewhere.merge(message_of((0, 10, {3: 1, 4: 1, 5: 1})), 0.0)
    assert (elsewhere.refused, elsewhere.total(10)[0].tolist()) == (2, [1, 2])
