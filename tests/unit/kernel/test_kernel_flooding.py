"""Names made to fall into one place of a hash table are found as quickly as others."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from carbonquota.kernel import JoinedNames
from tests.support.kernels import COMPILED, PLAIN, Kernel, Series, if_built

COUNT = 100_000
LENGTH = 40
LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def random_names(alphabet: bytes = LETTERS) -> list[bytes]:
    """Names that nobody chose."""
    letters = np.random.default_rng(1).choice(np.frombuffer(alphabet, np.uint8), (COUNT, LENGTH))
    return names_of(letters)


def names_of(letters: NDArray[np.uint8]) -> list[bytes]:
    """A name for each row, every one once."""
    return list(dict.fromkeys(row.tobytes() for row in letters))


def same_bytes() -> list[bytes]:
    """Names of the same bytes in another order: their sums, xors and products are the same."""
    letters = np.frombuffer(LETTERS + LETTERS[:14], np.uint8)
    return names_of(np.random.default_rng(2).permuted(np.tile(letters, (COUNT, 1)), axis=1))


def same_words() -> list[bytes]:
    """Names of the same 4-byte words in another order."""
    order = np.random.default_rng(3).permuted(np.tile(np.arange(10), (COUNT, 1)), axis=1)
    words = np.frombuffer(LETTERS + LETTERS[:14], np.uint8).reshape(10, 4)
    return names_of(words[order].reshape(COUNT, LENGTH))


def cancelled(change: Callable[[int, int], tuple[int, int]]) -> list[bytes]:
    """Names with pairs of bytes changed, 8 or 16 bytes apart, so that the changes cancel each other out."""
    names = []
    for steps in product(range(4), repeat=8):
        name = bytearray(b"m" * LENGTH)
        for place, step in enumerate(steps):
            name[place], name[place + 8] = change(name[place], step)
        names.append(bytes(name))
        name[16:32], name[0:16] = name[0:16], name[16:32]
        names.append(bytes(name))
    return [*dict.fromkeys(names)][:COUNT]


def same_ends() -> list[bytes]:
    """Names that differ in the bits of 17 bytes in the middle only, by one bit each."""
    middle = [bytes(97 + (number >> bit & 1) for bit in range(17)) for number in range(COUNT)]
    return [b"begin-%b-end-of-the-name--" % part for part in middle]


def of_zeros() -> list[bytes]:
    """Names of bytes of which hashes of words make nothing: 0x80 and what is beside it."""
    return random_names(b"\x7e\x80\xff")


FLOODS: dict[str, Callable[[], list[bytes]]] = {
    "the same bytes": same_bytes,
    "the same words": same_words,
    "sums that cancel out": lambda: cancelled(lambda byte, step: (byte + step, byte - step)),
    "xors that cancel out": lambda: cancelled(lambda byte, step: (byte ^ step, byte ^ step)),
    "the same ends": same_ends,
    "bytes of no text": of_zeros,
}


@cache
def flood_of(flood: str) -> list[bytes]:
    """The names of one flood."""
    return FLOODS[flood]()


def buffer_of(names: list[bytes]) -> bytes:
    """A line for each name."""
    return b"".join(name + b" 1 1\n" for name in names)


def filled(kernel: Kernel, names: list[bytes]) -> Series:
    """A table that has these names."""
    table = kernel.table_of()
    table.insert_many(JoinedNames.of(names), np.zeros(len(names), np.int64))
    return table


def seconds_of(table: Series, buffer: bytes) -> float:
    """The CPU time that it takes to find what a buffer has."""
    start = time.thread_time()
    table.read(buffer)
    return time.thread_time() - start


@cache
def usual() -> tuple[Series, bytes]:
    """A table of random names in the compiled kernel, and lines of them."""
    assert COMPILED is not None
    return filled(COMPILED, random_names()), buffer_of(random_names())


@pytest.mark.parametrize("flood", FLOODS)
def test_chosen_names_have_places_of_their_own_in_the_plain_kernel(flood: str) -> None:
    """Its index gives up after two places, so what finds one there is found as quickly as anything."""
    names = flood_of(flood)[: COUNT // 5]
    table = filled(PLAIN, names)
    rows = np.array(PLAIN.rows_of(table, table.read(buffer_of(names))))
    assert np.mean(rows == np.arange(len(names))) > 0.99


@if_built
@pytest.mark.parametrize("flood", FLOODS)
def test_chosen_names_are_found_about_as_quickly_as_random_ones_by_the_compiled_kernel(flood: str) -> None:
    assert COMPILED is not None
    names = flood_of(flood)
    assert len(set(names)) == len(names) > COUNT // 2
    table, buffer = filled(COMPILED, names), buffer_of(names)
    assert COMPILED.rows_of(table, table.read(buffer)) == list(range(len(names)))
    # In turns, at the quickest of some times: what else the machine does slows both down.
    turns = [(seconds_of(table, buffer), seconds_of(*usual())) for _ in range(7)]
    chosen, random = (min(times) for times in zip(*turns, strict=True))
    assert chosen / len(names) < 3 * random / len(random_names())
