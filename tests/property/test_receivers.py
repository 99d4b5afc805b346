"""Any bytes in any cuts never end a receiver, nor lose a good line that came on another connection."""

from __future__ import annotations

import asyncio
import pickle
import struct
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.example_counts import examples
from tests.support.receiving import Receiving, hang_up, receiving, run, until

PICKLED = pickle.dumps([("p.q", (1, 2))], 2)

BITS = [
    b"a.b 1 1\n", b"a.b 1", b" 1\n", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"x" * 9000, b".", b"GET / HTTP/1.1",
    b"\x80\x02", b"]", b"cos\nsystem\n", b"(S'true'\ntR.", b"\x00\x00\x00\x05", b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff", b"\x00\x00\x00\x02N.", struct.pack(">I", len(PICKLED)), PICKLED,
]  # fmt: skip
hostile = st.lists(st.sampled_from(BITS) | st.binary(max_size=20), max_size=12)
receivers = st.sampled_from(["tcp", "pickle", "udp"])

_PICKLED = pickle.dumps([("afterwards.pickle", (1, 1))], 2)
AFTERWARDS = {"pickle": struct.pack(">I", len(_PICKLED)) + _PICKLED, "udp": b"afterwards.udp 1 1"}

GOOD = [f"good.m{number} {number} 1700000000\n".encode() for number in range(20)]


async def harass(daemon: Receiving, receiver: str, chunks: list[bytes]) -> None:
    """Send these bytes, each chunk by itself."""
    if receiver == "udp":
        for chunk in chunks:
            await daemon.send_datagram(chunk)
        return
    writer = await daemon.connect(receiver)
    for chunk in chunks:
        writer.write(chunk)
        await asyncio.sleep(0)
    await hang_up(writer)


@settings(max_examples=examples(40), derandomize=True)
@given(st.lists(st.tuples(receivers, hostile), min_size=1, max_size=4))
def test_no_bytes_end_a_receiver_or_cost_another_sender_a_line(attacks: list[tuple[str, list[bytes]]]) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            good = await daemon.connect()
            attacking = asyncio.gather(*(harass(daemon, *attack) for attack in attacks))
            for line in GOOD:
                good.write(line[:7])
                await asyncio.sleep(0)
                good.write(line[7:])
            await attacking
            await daemon.has("connections", 1, "tcp")
            await daemon.has("connections", 0, "pickle")
            good.write(b"good.last 1 1\n")
            await until(lambda: b"good.last 1 1\n" in daemon.sink.lines)
            assert [line for line in daemon.sink.lines if line in GOOD] == GOOD
            for receiver in ("pickle", "udp"):
                await harass(daemon, receiver, [AFTERWARDS[receiver]])
            await daemon.has("connections", 0, "pickle")
            await until(lambda: set(daemon.sink.lines) >= {b"afterwards.pickle 1 1\n", b"afterwards.udp 1 1\n"})
            assert daemon.counts("internal_errors") == {}
            outcome = sum(sum(daemon.counts(stat).values()) for stat in ("accepted", "dropped", "malformed"))
            assert daemon.counts("received") == {"": outcome}
            assert daemon.counts("accepted") == {"": len(daemon.sink.lines)}
            await hang_up(good)

    run(main())


@settings(max_examples=examples(30), derandomize=True)
@given(st.binary(max_size=200) | hostile.map(b"".join), st.lists(st.integers(0, 200), max_size=6))
def test_cutting_what_one_sender_sends_changes_no_count(stream: bytes, cuts: list[int]) -> None:
    outcomes = []

    async def main(chunks: list[bytes]) -> None:
        async with receiving() as daemon:
            await harass(daemon, "tcp", chunks)
            await daemon.has("connections", 0, "tcp")
            daemon.intake.flush()
            outcomes.append((daemon.sink.lines, daemon.counts("malformed"), daemon.counts("received")))

    edges = [0, *sorted(cuts), len(stream)]
    run(main([stream]))
    run(main([stream[start:end] for start, end in pairwise(edges)]))
    assert outcomes[0] == outcomes[1]
