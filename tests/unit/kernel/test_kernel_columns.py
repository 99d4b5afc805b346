"""What a store takes of lines: names, seconds and values are those that `point_of` reads, on each kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.kernel import Malformed, PointColumns, parse
from carbonquota.kernel._columns import point_of
from tests.support.kernels import Kernel, on_each_kernel
from tests.support.names import split_lines

pytestmark = on_each_kernel

NUMBERS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.integers().map(str),
    st.text("0123456789", min_size=1, max_size=20).map(lambda digits: f"1.{digits}"),
    st.sampled_from(
        ["1e400", "-inf", "Infinity", "+1", ".5", "5.", "-0", "1E-3", "1e999999999999999999999", "0" * 400 + "1"]
    ),
).map(str.encode)
TIMES = st.one_of(
    st.integers(-2, 2**40).map(str),
    st.floats(0, 1e12).map(repr),
    st.sampled_from(["-1", "-1.5", "1e9", "+5", "17.", ".9", "0" * 20 + "7", "1700000000.99999999999"]),
).map(str.encode)
BLANKS = st.sampled_from([b" ", b"  ", b"\t"])
ENDS = st.sampled_from([b"\n", b"\r\n", b" \n"])
NAMES = st.sampled_from([b"a.b", b"a..b", b"a;x=1;b=2", "größe".encode(), b"z" * 300])
LINES = st.builds(lambda *parts: b"".join(parts), NAMES, BLANKS, NUMBERS, BLANKS, TIMES, ENDS) | st.sampled_from(
    [b"\n", b"half\n", b"a nan 1\n", b"a 1 x\n", b" \r\n"]
)


def columns_of(kernel: Kernel, buffer: bytes, gone: list[int]) -> PointColumns:
    """The points of all lines but some, and the malformed ones."""
    malformed = [at for at, line in enumerate(split_lines(buffer)) if isinstance(parse(line), Malformed)]
    columns: PointColumns = (
        kernel.table_of([b"a.b"]).read(buffer).columns(np.array(sorted({*gone, *malformed}), np.int64))
    )
    return columns


@given(lines=st.lists(LINES, max_size=80), gone=st.sets(st.integers(0, 79)), whole=st.booleans())
def test_the_columns_of_lines_are_their_points(kernel: Kernel, lines: list[bytes], gone: set[int], whole: bool) -> None:
    buffer = b"".join(lines) if whole else b"".join(lines).removesuffix(b"\n")
    listed = split_lines(buffer)
    gone = {at for at in gone if at < len(listed)}
    kept = [line for at, line in enumerate(listed) if at not in gone and isinstance(parse(line), bytes)]
    assert columns_of(kernel, buffer, list(gone)) == PointColumns.of(map(point_of, kept))


def test_a_value_has_the_last_bit_that_python_gives_it(kernel: Kernel) -> None:
    texts = [
        b"0.1",
        b"2.2250738585072014e-308",
        b"9007199254740993",
        b"1.7976931348623157e308",
        b"4.9e-324",
        b"0.30000000000000004",
    ]
    found = columns_of(kernel, b"".join(b"a %b 1\n" % text for text in texts), [])
    assert found.values == [float(text) for text in texts]
    assert math.copysign(1, columns_of(kernel, b"a -0 1\n", []).values[0]) == -1


@pytest.mark.parametrize("second", [b"0", b"7", b"1700000000", b"4294967295", b"999999999999999"])
def test_whole_seconds_stay_what_they_are(kernel: Kernel, second: bytes) -> None:
    assert columns_of(kernel, b"a 1 %b" % second, []).timestamps == [int(second)]
