"""Holdings of nodes as they are heard: what is known depends on the messages that came, not on how they came."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota.cluster.messages import ClusterMessageError, Run
from carbonquota.cluster.own_holdings import OwnHoldings, VersionsPart
from carbonquota.cluster.peer_holdings import PeerHoldings, PeerTimeouts
from carbonquota.cluster.run_holdings import Stretches
from carbonquota.cluster.stock import Kind, Stock
from carbonquota.cluster.stock_messages import Asks, StockCodec, Stretch

RUNS = (Run(b"a" * 16, 1), Run(b"b" * 16, 1))
ROOT, TEAM, OTHER = 1, 2, 3
ABOVE = {ROOT: 0, TEAM: ROOT, OTHER: ROOT}


def digest(metric: int) -> bytes:
    return metric.to_bytes(16, "little")


def kind(metric: int) -> Kind:
    return Kind(TEAM if metric % 2 else OTHER, 10 + metric % 3, 20, 30)


def stretch(run: Run, part: VersionsPart, last: int) -> Stretch:
    kinds = [kind(int.from_bytes(one, "little")) for one in part.digests]
    places = {one: place for place, one in enumerate(dict.fromkeys(kinds))}
    return Stretch(
        run,
        part.after,
        part.until,
        versions=part.versions,
        digests=part.digests,
        kinds=[places[one] for one in kinds],
        of_kind=list(places),
        namespaces=ABOVE,
        gone=part.gone,
        last=last,
        is_declared=True,
    )


class Speaker:
    """A run that tells what it holds."""

    def __init__(self, run: Run, most_gone: int = 100) -> None:
        self.run = run
        self.own = OwnHoldings(most_gone)
        self.said: list[Stretch] = []

    def toggle(self, metric: int) -> None:
        if not self.own.remove(digest(metric)):
            self.own.add(digest(metric))

    def tell(self) -> None:
        self.said += [stretch(self.run, part, self.own.last) for part in self.own.news(3)]

    def tell_since(self, version: int) -> list[Stretch]:
        return [stretch(self.run, part, self.own.last) for part in self.own.since(version, 3)]


def known(stock: Stock) -> dict[int, list[int]]:
    return {namespace: held.amounts for namespace, held in stock.held.items() if held.amounts[0]}


def truth(speakers: list[Speaker]) -> dict[int, list[int]]:
    stock = Stock()
    for namespace, above in ABOVE.items():
        stock.place(namespace, above)
    for metric in {one for speaker in speakers for one in speaker.own.digests()}:
        stock.add((metric,), (stock.kind(kind(int.from_bytes(metric, "little"))),))
    return known(stock)


HISTORIES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["toggle", "tell"]), st.integers(0, 7)), max_size=40)


def speakers_of(history: list[tuple[int, str, int]], most_gone: int = 100) -> list[Speaker]:
    speakers = [Speaker(run, most_gone) for run in RUNS]
    for who, what, metric in history:
        speakers[who].toggle(metric) if what == "toggle" else speakers[who].tell()
    for speaker in speakers:
        speaker.tell()
    return speakers


@settings(max_examples=100)
@given(HISTORIES, st.randoms(use_true_random=False), st.booleans())
def test_messages_in_any_order_and_any_of_them_twice_come_to_what_the_nodes_hold(
    history: list[tuple[int, str, int]], dice: random.Random, is_told_anew: bool
) -> None:
    speakers = speakers_of(history)
    messages = [message for speaker in speakers for message in speaker.said]
    if is_told_anew:
        messages += [message for speaker in speakers for message in speaker.tell_since(dice.randint(0, 20))]
    messages += dice.sample(messages, len(messages) // 2)
    dice.shuffle(messages)
    peers = PeerHoldings(stock := Stock())
    for message in messages:
        peers.hear(message, 0.0)
    assert known(stock) == truth(speakers)
    assert peers.are_known
    assert not list(peers.missing(0.0))


@settings(max_examples=100)
@given(HISTORIES, st.randoms(use_true_random=False), st.sampled_from([100, 2]))
def test_who_missed_messages_notices_and_knows_all_once_he_was_told(
    history: list[tuple[int, str, int]], dice: random.Random, most_gone: int
) -> None:
    speakers = speakers_of(history, most_gone)
    peers = PeerHoldings(stock := Stock())
    for speaker in speakers:
        for message in speaker.said[:-1]:
            if dice.random() < 0.5:
                peers.hear(message, 0.0)
        # The last one comes, as a node speaks now and then though there be nothing new.
        peers.hear(speaker.said[-1], 0.0)
    by_run = {speaker.run: speaker for speaker in speakers}
    for run, after in list(peers.missing(1.0)):
        for message in by_run[run].tell_since(after):
            peers.hear(message, 1.0)
    assert known(stock) == truth(speakers)
    assert peers.are_known


def test_more_that_went_between_two_messages_than_is_remembered_is_known_to_be_gone() -> None:
    speaker = Speaker(RUNS[0], most_gone=2)
    for metric in range(5):
        speaker.toggle(metric)
    speaker.tell()
    for metric in range(4):
        speaker.toggle(metric)
    speaker.tell()
    peers = PeerHoldings(stock := Stock())
    for message in speaker.said:
        peers.hear(message, 0.0)
    assert known(stock) == truth([speaker])
    assert peers.are_known


def test_a_node_that_begins_again_is_another_run_and_the_one_before_counts_until_all_is_told() -> None:
    before, again = Speaker(Run(b"a" * 16, 1)), Speaker(Run(b"a" * 16, 2))
    for metric in range(5):
        before.toggle(metric)
    before.tell()
    peers = PeerHoldings(stock := Stock())
    peers.hear(before.said[0], 0.0)
    peers.hear(before.said[1], 0.0)
    for metric in range(4):
        again.toggle(metric)
    again.tell()
    first, second = again.said
    peers.hear(first, 1.0)
    assert len(stock) == 5
    peers.hear(second, 1.0)
    assert len(stock) == 4
    # What the first run said may still be under way.
    peers.hear(before.said[0], 1.5)
    assert len(stock) == 4


def test_a_clock_that_was_set_back_does_not_keep_a_node_from_being_heard() -> None:
    before, again = Speaker(Run(b"a" * 16, 9)), Speaker(Run(b"a" * 16, 2))
    for speaker, metric in ((before, 1), (again, 2)):
        speaker.toggle(metric)
        speaker.tell()
    peers = PeerHoldings(stock := Stock(), PeerTimeouts(lapse=10.0))
    peers.hear(before.said[0], 0.0)
    peers.hear(again.said[0], 5.0)
    assert digest(2) not in stock
    peers.hear(again.said[0], 11.0)
    assert digest(2) in stock
    assert digest(1) not in stock


def test_a_silent_node_keeps_its_place_for_long_and_not_for_ever() -> None:
    speaker = Speaker(RUNS[0])
    speaker.toggle(1)
    speaker.tell()
    peers = PeerHoldings(stock := Stock(), PeerTimeouts(silence=100.0))
    peers.hear(speaker.said[0], 0.0)
    peers.forget_silent(100.0)
    assert len(stock) == 1
    peers.forget_silent(101.0)
    assert len(stock) == 0
    assert known(stock) == {}


def test_of_a_run_with_too_many_gaps_no_more_is_taken_until_they_are_filled() -> None:
    peers = PeerHoldings(Stock())
    for gap in range(200):
        part = VersionsPart(10 * gap, 10 * gap + 1, [10 * gap + 1], [digest(gap)], [])
        peers.hear(stretch(RUNS[0], part, 2_000), 0.0)
    assert peers.refused > 100
    assert list(peers.missing(0.0)) == [(RUNS[0], 1)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=20))
def test_stretches_are_the_set_of_their_versions(added: list[tuple[int, int]]) -> None:
    stretches, versions = Stretches(), set[int]()
    for after, length in added:
        assert stretches.meet(after, after + length) == any(
            one in versions for one in range(after + 1, after + length + 1)
        )
        stretches.add(after, after + length)
        versions.update(range(after + 1, after + length + 1))
    assert {one for one in range(40) if one in stretches} == versions
    until = next(one for one in range(40) if one + 1 not in versions)
    assert stretches.known_until == (until if 1 in versions else 0)


@given(HISTORIES)
def test_a_message_is_read_as_it_was_written(history: list[tuple[int, str, int]]) -> None:
    codec = StockCodec("c")
    for speaker in speakers_of(history):
        for message in speaker.said:
            read = codec.decode(codec.encode(message))
            assert isinstance(read, Stretch)
            assert [read.of_kind[place] for place in read.kinds] == [message.of_kind[place] for place in message.kinds]
            for part in ("run", "after", "until", "versions", "digests", "namespaces", "gone", "last", "is_declared"):
                assert getattr(read, part) == getattr(message, part)
    question = Asks(b"n" * 16, RUNS[0], 7)
    assert codec.decode(codec.ask(question)) == question


MESSAGE = StockCodec("c").encode(
    stretch(RUNS[0], VersionsPart(0, 2, [1, 2], [digest(1), digest(2)], []), 2),
)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not well-formed"),
        (MESSAGE[:-1], "not well-formed"),
        (MESSAGE + b"\0", "not well-formed"),
        (MESSAGE[:30], "not well-formed"),
        (b"CQH2" + MESSAGE[4:], "of another version"),
        (StockCodec("other").ask(Asks(b"n" * 16, RUNS[0], 0)), "of another cluster"),
        (StockCodec("c").ask(Asks(b"n" * 15, RUNS[0], 0)), "not well-formed"),
    ],
    ids=["empty", "cut", "longer", "header", "version", "cluster", "question"],
)
def test_what_is_no_message_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ClusterMessageError, match=why):
        StockCodec("c").decode(data)


@given(st.data())
def test_a_message_with_flipped_bytes_is_refused_or_does_no_harm(data: st.DataObject) -> None:
    flipped = bytearray(MESSAGE)
    flipped[data.draw(st.integers(4, len(MESSAGE) - 1))] ^= data.draw(st.integers(1, 255))
    peers = PeerHoldings(stock := Stock())
    try:
        message = StockCodec("c").decode(bytes(flipped))
    except ClusterMessageError:
        return
    if isinstance(message, Stretch):
        peers.hear(message, 0.0)
        peers.forget_silent(1e9)
        assert known(stock) == {}
