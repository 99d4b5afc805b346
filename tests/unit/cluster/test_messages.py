"""Messages between nodes: what is written is read, and nothing that is not well-formed is taken."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.cluster.messages import ClusterMessageError, Codec, Fault, Message, Run, digests_of

CODEC = Codec("fleet", most_entries=100)
COUNTS = st.sampled_from([2**32 - 1, 2**32, 2**63 - 1]).flatmap(
    lambda most: st.dictionaries(st.integers(0, 2**64 - 1), st.integers(1, most), max_size=20)
)


def message_of(counts: dict[int, int], *, full: bool = False) -> Message:
    ordered = sorted(counts.items())
    return Message(
        run=Run(b"n" * 16, 7),
        length=60.0,
        interval=28_333_333,
        sequence=5,
        sent=1_700_000_000.25,
        digests=np.array([digest for digest, _ in ordered], np.uint64),
        counts=np.array([count for _, count in ordered], np.int64),
        full=full,
    )


@given(COUNTS, st.booleans())
def test_what_is_written_is_read(counts: dict[int, int], full: bool) -> None:
    message = message_of(counts, full=full)
    read = CODEC.decode(CODEC.encode(message))
    assert (read.run, read.length, read.interval, read.sequence, read.sent, read.full) == (
        message.run,
        message.length,
        message.interval,
        message.sequence,
        message.sent,
        full,
    )
    assert dict(zip(read.digests.tolist(), read.counts.tolist(), strict=True)) == counts


@given(COUNTS, st.data())
def test_a_message_that_is_cut_or_longer_is_not_taken(counts: dict[int, int], data: st.DataObject) -> None:
    whole = CODEC.encode(message_of(counts))
    cut = data.draw(st.integers(0, len(whole) - 1))
    for spoilt in (whole[:cut], whole + b"\0"):
        with pytest.raises(ClusterMessageError):
            CODEC.decode(spoilt)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    for start in (b"", b"CQS1"):
        with pytest.raises(ClusterMessageError):
            CODEC.decode(start + data)


@pytest.mark.parametrize(
    ("spoil", "fault", "text"),
    [
        (lambda data: b"CQS2" + data[4:], Fault.VERSION, "of another version: b'CQS2', this node speaks b'CQS1'"),
        (lambda data: b"HTTP" + data[4:], Fault.FORM, "not well-formed: it does not begin with b'CQS'"),
        (lambda data: data[:4] + b"\x07" + data[5:], Fault.FORM, "flags or times out of range"),
        (lambda data: data[:5] + b"\0" * 8 + data[13:], Fault.CLUSTER, "its nodes have another cluster name"),
        (lambda data: data + bytes(1_700), Fault.TOO_LONG, "at most 1,673 are taken"),
        (lambda data: data[:-8] + struct.pack("<q", 0), Fault.FORM, "counts below 1"),
        (lambda data: data[:-32] + data[-24:-16] + data[-32:-24] + data[-16:], Fault.FORM, "digests out of order"),
    ],
    ids=["version", "foreign", "flags", "cluster", "too long", "a count of zero", "out of order"],
)
def test_each_fault_is_told_apart(spoil: object, fault: Fault, text: str) -> None:
    assert callable(spoil)
    data = CODEC.encode(message_of({1: 5, 2: 2**40}))
    with pytest.raises(ClusterMessageError, match=text) as caught:
        CODEC.decode(spoil(data))
    assert caught.value.fault is fault


def test_counts_take_four_bytes_where_all_fit() -> None:
    empty, small, large = (len(CODEC.encode(message_of(counts))) for counts in ({}, {1: 2**32 - 1}, {1: 2**32}))
    assert (small - empty, large - empty) == (12, 16)


def test_nodes_of_another_cluster_have_other_digests() -> None:
    assert digests_of(["a", "b"], "x").tolist() == digests_of(["a", "b"], "x").tolist()
    assert not set(digests_of(["a", "b"], "x").tolist()) & set(digests_of(["a", "b"], "y").tolist())
