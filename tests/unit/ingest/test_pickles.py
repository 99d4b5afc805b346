"""Pickles become points; what is no point is counted, and nothing of a pickle ever runs."""

from __future__ import annotations

import builtins
import os
import pickle
import resource
import struct
from collections import Counter, OrderedDict
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.ingest import PickleAssembler, read_pickle
from carbonquota.ingest.opcodes import fault

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

POINTS = [("a.b", (1700000000, 1.5)), ("c;d=e", (1700000000.25, -3)), ("é", (0, 1e300)), ("a.b", (1.0, 2**63))]
LINES = "a.b 1.5 1700000000\nc;d=e -3 1700000000.25\né 1e+300 0\na.b 9223372036854775808 1\n".encode()


def frame(message: bytes) -> bytes:
    """A message behind its length."""
    return struct.pack(">I", len(message)) + message


def test_each_reason_of_a_message_has_a_sample_of_its_own() -> None:
    read = read_pickle(pickle.dumps([("a b", (1, 2)), ("ok", (1, 2)), ("c", "no"), ("d e", (1, 2))]))
    assert read.malformed == {"name": 2, "pickle_point": 1}
    assert read.samples == {"name": b"('a b', (1, 2))", "pickle_point": b"('c', 'no')"}


def lines_of(message: bytes) -> bytes:
    """The lines that mean the points of a message without a fault."""
    read = read_pickle(message)
    assert (read.malformed, read.samples) == ({}, {})
    return read.points.lines


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_gives_the_same_points(protocol: int) -> None:
    assert lines_of(pickle.dumps(POINTS, protocol)) == LINES


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_thousands_of_points_in_one_message(protocol: int) -> None:
    points = [(f"servers.web{i}.cpu", (1700000000 + i, i / 7)) for i in range(30_000)]
    read = read_pickle(pickle.dumps(points, protocol))
    assert (len(read.points), read.malformed) == (30_000, {})
    assert read.points.lines.splitlines()[-1] == f"servers.web29999.cpu {29999 / 7!r} 1700029999".encode()


@pytest.mark.parametrize(
    "written_by_python_2",
    [
        b"(lp0\n(S'a.b'\np1\n(I10\nF1.5\ntp2\ntp3\na.",
        b"]q\x01U\x03a.bq\x02K\nG?\xf8\x00\x00\x00\x00\x00\x00\x86q\x03\x86q\x04a.",
        b"\x80\x02]q\x01U\x03a.bq\x02K\nG?\xf8\x00\x00\x00\x00\x00\x00\x86q\x03\x86q\x04a.",
        b"\x80\x02]q\x01X\x03\x00\x00\x00a.bq\x02\x8a\x01\nG?\xf8\x00\x00\x00\x00\x00\x00\x86q\x03\x86q\x04a.",
    ],
)
def test_pickles_of_python_2(written_by_python_2: bytes) -> None:
    assert lines_of(written_by_python_2) == b"a.b 1.5 10\n"


@pytest.mark.parametrize(
    ("point", "line"),
    [
        (("a", (1, 2)), b"a 2 1\n"),
        (["a", [1, 2]], b"a 2 1\n"),
        ((b"a", (1, 2)), b"a 2 1\n"),
        (("a", ("1", "2.50")), b"a 2.50 1\n"),
        (("a", (b"1", b" 2\n")), b"a 2 1\n"),
        (("a", (".0", "1.0")), b"a 1.0 .0\n"),
        (("a", (1.0, 2.0)), b"a 2.0 1\n"),
        (("a", (1, 0.1 + 0.2)), b"a 0.30000000000000004 1\n"),
        (("a", (1, float("nan"))), b"a nan 1\n"),
        (("a", (1, float("-inf"))), b"a -inf 1\n"),
        (("a", (1, True)), b"a 1 1\n"),
        (("a", (True, False)), b"a 0 1\n"),
        (("a", (1, 2**64)), b"a 1.8446744073709552e+19 1\n"),
        (("a", (1, -(2**64))), b"a -1.8446744073709552e+19 1\n"),
        (("a", (1, 10**300)), b"a 1e+300 1\n"),
        (("a\xa0b", (1, 2)), "a\xa0b 2 1\n".encode()),
    ],
)
def test_a_point_has_a_line_that_means_it(point: object, line: bytes) -> None:
    assert lines_of(pickle.dumps([point], 4)) == line


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (("a b", (1, 2)), "name"),
        (("a\n", (1, 2)), "name"),
        (("a\x00", (1, 2)), "name"),
        (("", (1, 2)), "name"),
        ((b"\xff", (1, 2)), "name"),
        (("\ud800", (1, 2)), "name"),
        (("a" * 4097, (1, 2)), "name"),
        ((None, (1, 2)), "pickle_point"),
        ((1, (1, 2)), "pickle_point"),
        ("ab", "pickle_point"),
        (("a", 1, 2), "pickle_point"),
        (("a", (1,)), "pickle_point"),
        (("a", "12"), "pickle_point"),
        (("a", (None, 2)), "pickle_point"),
        (("a", (1, "two")), "pickle_point"),
        (("a", (1, "1_0")), "pickle_point"),
        (("a", (1, "\u0661")), "pickle_point"),
        (("a", (1, "1" * 200)), "pickle_point"),
        (("a", (1, 10**400)), "pickle_point"),
        (("a", (1, [2])), "pickle_point"),
        (None, "pickle_point"),
        ([[[[[[]]]]]], "pickle_point"),
    ],
)
def test_a_bad_point_is_counted_and_the_others_are_taken(point: object, reason: str) -> None:
    read = read_pickle(pickle.dumps([("a", (1, 2)), point, ("b", (1, 2))], 4))
    assert (read.points.lines, read.malformed) == (b"a 2 1\nb 2 1\n", {reason: 1})
    assert 0 < len(read.samples[reason]) <= 200


class Harmful:
    """An object whose pickle calls something when it is unpickled."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, ...]:
        function, *arguments = self.call
        return function, tuple(arguments)


class WithState:
    """An object that a pickle makes by naming its class."""

    def __init__(self) -> None:
        self.state = 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_calls_something_leaves_no_trace(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for harmful in (Harmful(os.system, f"touch {trace}"), Harmful(open, str(trace), "w"), Harmful(exec, "1/0")):
        message = pickle.dumps([("a", (1, harmful)), ("b", (1, 2))], protocol)
        read = read_pickle(message)
        assert (read.points.lines, read.malformed) == (b"", {"unsafe_pickle": 1})
    assert not trace.exists()
    pickle.loads(pickle.dumps([Harmful(open, str(trace), "w")], protocol))[0].close()  # noqa: S301 - shows that the harm is real
    assert trace.exists()


@pytest.mark.parametrize(
    "thing",
    [
        builtins.list,
        OrderedDict(),
        Counter(),
        Fraction(1, 2),
        WithState(),
        Path("/"),
        1j,
        range(3),
    ],
)
def test_a_pickle_that_names_any_global_is_refused(thing: object) -> None:
    for protocol in PROTOCOLS:
        assert read_pickle(pickle.dumps([("a", (1, thing))], protocol)).malformed == {"unsafe_pickle": 1}


@pytest.mark.parametrize(
    "unsafe",
    [
        b"cos\nsystem\n.",
        b"(S'ls'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02K\x01Q.",
        b"Pstored elsewhere\n.",
        b"\x80\x02]Nb.",
        b"\x80\x05\x97.",
    ],
)
def test_opcodes_that_name_call_or_fetch_are_refused(unsafe: bytes) -> None:
    assert read_pickle(unsafe).malformed == {"unsafe_pickle": 1}


@pytest.mark.parametrize(
    "unreadable",
    [
        b"",
        b".",
        b"N.",
        b"a.b 1 1\n",
        b"\x80\x02",
        b"\x80\x02]",
        b"\x80\x02]q",
        b"\x80\x02a.",
        b"\x80\x09].",
        b"]p\n.",
        b"I\n.",
        b"\x80\x02X\xff\xff\xff\x7fa.",
        b"\x80\x04\x8e" + b"\xff" * 8 + b".",
        b"\x80\x04\x95" + b"\xff" * 8 + b".",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        pickle.dumps({"a": (1, 2)}, 2),
        pickle.dumps({1, 2}, 4),
        pickle.dumps(b"ab", 4),
        pickle.dumps([bytearray(b"ab")], 5),
        pickle.dumps([1 << 4000], 2),
    ],
)
def test_what_is_no_list_of_points_is_counted_once(unreadable: bytes) -> None:
    read = read_pickle(unreadable)
    assert (len(read.points), read.malformed, read.samples) == (0, {"pickle": 1}, {"pickle": unreadable[:100]})


def test_a_sound_pickle_of_the_shortest_points_is_without_fault() -> None:
    name = "a"
    points = [(name, (1, 2)) for _ in range(1000)]
    for protocol in PROTOCOLS:
        assert fault(pickle.dumps(points, protocol)) is None
        assert read_pickle(pickle.dumps(points, protocol)).points.names == [name] * 1000


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"\x80\x02]r\xff\xff\xff\x3f.", id="room for a thousand million memos"),
        pytest.param(b"]p1000000000\n.", id="the same in text"),
        pytest.param(b"\x80\x02" + b"]" * 5_000_000 + b".", id="lists without end"),
        pytest.param(b"\x80\x02)" + b"\x85" * 5_000_000 + b".", id="tuples in tuples"),
        pytest.param(b"\x80\x02" + b"(" * 5_000_000 + b"t" * 5_000_000 + b".", id="marks"),
        pytest.param(b"I" + b"9" * 1_000_000 + b"\n.", id="a number of a million digits"),
        pytest.param(b"\x80\x02\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000 + b".", id="the same packed"),
    ],
)
def test_a_bomb_is_refused_before_it_takes_memory(bomb: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_pickle(bomb).malformed == {"pickle": 1}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_point_that_is_repeated_by_reference_does_not_swell() -> None:
    name = "a" * 4000
    point = (name, (1, 2))
    repeated = read_pickle(pickle.dumps([point] * 100_000, 4))
    assert (len(repeated.points), repeated.malformed) == (0, {"pickle_point": 100_000})
    by_name = read_pickle(pickle.dumps([(name, (i, i)) for i in range(1000)], 4))
    assert len(by_name.points) + by_name.malformed["pickle_point"] == 1000
    assert len(by_name.points.lines) < 2_000_000


def test_a_list_within_itself_and_a_billion_laughs_are_shown_shortly() -> None:
    inside: list[object] = []
    inside.append(inside)
    laughs: object = "ha"
    for _ in range(40):
        laughs = [laughs, laughs]
    for bad in (inside, laughs):
        read = read_pickle(pickle.dumps([("a", (1, bad))], 2))
        assert read.malformed == {"pickle_point": 1}
        assert len(read.samples["pickle_point"]) <= 100


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from(b"\x80\x02]()tlapq\x86\x85K\x01GI.0\n12UXha"), max_size=40).map(bytes)
)
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    read = read_pickle(message)
    assert len(read.points) == read.points.lines.count(b"\n")
    assert len(read.points) or read.malformed or read_pickle(message + b"x") == read


def assemble(chunks: list[bytes], bound: int = 10) -> tuple[list[bytes], list[tuple[str, bytes]], bool]:
    """The messages of a stream, what was refused, and whether it cannot go on."""
    refused: list[tuple[str, bytes]] = []
    assembler = PickleAssembler(lambda reason, sample: refused.append((reason, sample)), bound)
    messages = [message for chunk in chunks for message in assembler.feed(chunk)]
    assembler.close()
    assert not assembler.unfinished
    return messages, refused, assembler.broken


@pytest.mark.parametrize(
    ("stream", "messages", "reasons", "broken"),
    [
        (b"", [], [], False),
        (frame(b"abc"), [b"abc"], [], False),
        (frame(b"a") + frame(b"b" * 10), [b"a", b"b" * 10], [], False),
        (frame(b"a") + b"\x00\x00", [b"a"], ["unfinished"], False),
        (frame(b"a") + b"\x00\x00\x00\x03ab", [b"a"], ["unfinished"], False),
        (frame(b"a") + b"\x00\x00\x00\x0b" + frame(b"b"), [b"a"], ["length"], True),
        (frame(b"a") + frame(b"") + frame(b"b"), [b"a"], ["length"], True),
        (b"a.b 1 1\n", [], ["length"], True),
    ],
)
def test_a_stream_gives_its_messages_in_every_cut(
    stream: bytes, messages: list[bytes], reasons: list[str], broken: bool
) -> None:
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            got, told, ended = assemble([stream[:first], stream[first:second], stream[second:]])
            assert (got, [reason for reason, _ in told], ended) == (messages, reasons, broken)


def test_a_length_past_the_bound_keeps_nothing() -> None:
    refused: list[tuple[str, bytes]] = []
    assembler = PickleAssembler(lambda reason, sample: refused.append((reason, sample)), 1000)
    assert assembler.feed(b"\xff\xff\xff\xff" + b"x" * 5000) == []
    assert assembler.feed(b"x" * 5000) == []
    assert (assembler.held, assembler.broken, refused) == (0, True, [("length", b"\xff\xff\xff\xff" + b"x" * 96)])
