"""Gzip undone chunk by chunk: whatever way it is cut, packed and padded."""

from __future__ import annotations

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import InputError
from carbonquota.ingest import GZIP_MAGIC, Gunzip


def unpack(chunks: list[bytes]) -> bytes:
    reader = Gunzip("x.gz")
    data = b"".join(piece for chunk in chunks for piece in reader.feed(chunk))
    reader.close()
    return data


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(0, 9), st.integers(1, 50))
def test_any_members_in_any_chunks_give_their_data(members: list[bytes], padding: int, size: int) -> None:
    packed = b"".join(gzip.compress(member, mtime=0) + b"\0" * padding for member in members)
    assert packed.startswith(GZIP_MAGIC)
    assert unpack([packed[at : at + size] for at in range(0, len(packed), size)]) == b"".join(members)


@pytest.mark.parametrize("length", [1 << 18, 1 << 19, 5_000_000])
def test_pieces_stay_small_however_well_it_is_packed(length: int) -> None:
    reader = Gunzip("x.gz")
    pieces = list(reader.feed(gzip.compress(bytes(length))))
    reader.close()
    assert sum(map(len, pieces)) == length
    assert max(map(len, pieces)) <= 1 << 18


@given(st.integers(1, 60))
def test_data_that_is_cut_short_is_refused(missing: int) -> None:
    packed = gzip.compress(b"a.b.c\n" * 100, mtime=0)[:-missing]
    reader = Gunzip("names.gz")
    list(reader.feed(packed))
    if packed:
        with pytest.raises(InputError, match=r"^names.gz: the gzip data is cut short: it ends before its trailer$"):
            reader.close()


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"\x1f\x8bnot gzip at all", "names.gz: damaged gzip data: unknown compression method"),
        (gzip.compress(b"a", mtime=0) + b"trailing", "names.gz: damaged gzip data: incorrect header check"),
        (gzip.compress(b"a.b.c", mtime=0)[:-8] + bytes(8), "names.gz: damaged gzip data: incorrect data check"),
    ],
)
def test_damaged_data_is_refused(packed: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        list(Gunzip("names.gz").feed(packed))
