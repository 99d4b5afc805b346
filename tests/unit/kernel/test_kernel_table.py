"""The series table: a dict by name, and a batch look-up that never gives a wrong row and finds all."""

from __future__ import annotations

import gc
import tracemalloc
from random import Random

import numpy as np
import pytest

from carbonquota.kernel import UNKNOWN, JoinedNames
from tests.support.kernels import PLAIN, Copy, Kernel, Series, on_each_kernel

ROOT = 0
LONGEST = 16_384
"""So many bytes have the names that the tables must take."""


def buffer_of(names: list[bytes]) -> bytes:
    """A line for each name."""
    return b"".join(name + b" 1 1700000000\n" for name in names)


def assert_right(kernel: Kernel, table: Series, names: list[bytes], *, found: float) -> None:
    """No wrong row, and at least this part of the names found; by the compiled kernel every one that there is."""
    rows = kernel.look_up(table, buffer_of(names))
    held = [table.find(name) for name in names]
    if kernel is not PLAIN:
        assert rows == held
    assert all(row in {own, UNKNOWN} for own, row in zip(held, rows, strict=True))
    assert sum(row != UNKNOWN for row in rows) >= found * len(names)


@on_each_kernel
def test_an_empty_table_finds_nothing(kernel: Kernel) -> None:
    table = kernel.table_of()
    assert (len(table), table.size, table.rows().tolist(), list(table.copy().names())) == (0, 0, [], [])
    assert table.find(b"a") == UNKNOWN
    assert table.find(b"") == UNKNOWN
    assert kernel.look_up(table, b"a 1 1\nb 1 1\n") == [UNKNOWN, UNKNOWN]
    assert kernel.look_up(table, b"") == []


@on_each_kernel
def test_rows_are_given_in_order_and_given_again_after_removal(kernel: Kernel) -> None:
    table = kernel.table_of([b"a", b"b", b"c"])
    assert [table.find(name) for name in (b"a", b"b", b"c")] == [0, 1, 2]
    assert table.remove(b"b") == 1
    assert (table.find(b"b"), len(table), table.size) == (UNKNOWN, 2, 3)
    assert table.insert(b"d", ROOT) == 1
    assert (table.find(b"d"), len(table), table.size) == (1, 3, 3)


@on_each_kernel
def test_removing_what_is_not_there_is_an_error(kernel: Kernel) -> None:
    table = kernel.table_of([b"a"])
    for name in (b"b", b"", b"a.b", b"x" * (LONGEST + 1)):
        with pytest.raises(KeyError) as error:
            table.remove(name)
        assert error.value.args == (name,)
    assert len(table) == 1


@on_each_kernel
def test_no_names_are_put_in_at_once(kernel: Kernel) -> None:
    table = kernel.table_of([b"a"])
    assert table.insert_many(JoinedNames(b""), np.zeros(0, np.int64)).tolist() == []
    assert table.names_at(np.zeros(0, np.int64)) == []
    assert (len(table), table.size) == (1, 1)


@on_each_kernel
@pytest.mark.parametrize("name", [b"a", b"n" * 27, b"n" * 28, b"n" * 255, b"n" * 256, b"n" * 257, b"n" * LONGEST])
def test_names_of_every_length_come_back_as_they_were(kernel: Kernel, name: bytes) -> None:
    namespaces = kernel.new_names()
    namespaces.insert(b"", ROOT)
    namespaces.insert(name[:-2] or b"-", 1)
    table = kernel.new_series(namespaces)
    below = (name[:-2] or b"-") + b"." + name[-1:]
    assert (table.insert(name, ROOT), table.insert(below, 1)) == (0, 1)
    assert (table.find(name), table.find(below), table.find(name[:-1])) == (0, 1, UNKNOWN)
    assert table.names_at(np.array([1, 0, 1])) == [below, name, below]
    assert list(table.copy().names()) == [name, below]
    assert [table.namespace_of(row) for row in (0, 1)] == [ROOT, 1]
    assert_right(kernel, table, [name, below, name[:-1]], found=0.66 if len(name) < 257 else 0)
    assert (table.remove(name), table.find(name), table.find(below)) == (0, UNKNOWN, 1)


@on_each_kernel
def test_names_of_namespaces_are_found_by_name_and_by_row(kernel: Kernel) -> None:
    namespaces = kernel.new_names()
    rows = {b"": 0, b"a": 1, b"a.b": 70_000, b"x" * LONGEST: 2}
    for name, row in rows.items():
        namespaces.insert(name, row)
    assert {name: namespaces.find(name) for name in rows} == rows
    assert [namespaces.name(row) for row in rows.values()] == list(rows)
    assert [namespaces.name(row) for row in (3, 69_999, 70_001, 10_000_000)] == [b""] * 4
    assert (namespaces.find(b"b"), namespaces.find(b"x" * (LONGEST + 1)), len(namespaces)) == (UNKNOWN, UNKNOWN, 4)
    namespaces.remove(70_000)
    namespaces.insert(b"c", 70_000)
    assert (namespaces.find(b"a.b"), namespaces.find(b"c"), namespaces.name(70_000)) == (UNKNOWN, 70_000, b"c")


FAMILIES = {
    "one byte differs": [
        b"a" * place + bytes([code]) + b"a" * (39 - place) for place in range(40) for code in b"bcdxyz"
    ],
    "prefixes of one another": [(b"abcdefgh" * 32)[: n + 1] for n in range(256)],
    "8 bytes and longer ones": [b"%08d" % n for n in range(150)] + [b"%012d" % n for n in range(150)],
    "16 bytes and longer ones": [b"%016d" % n for n in range(150)] + [b"%040d" % n for n in range(150)],
    "zeros at the end": [b"name%d." % n + b"0" * k for n in range(30) for k in range(10)],
    "long common prefix": [b"x" * 200 + b".%d" % n for n in range(300)],
    "the longest": [b"%d" % n + b"y" * (256 - len(b"%d" % n)) for n in range(100)],
    "bytes of no UTF-8": [b"\xff\xfe%d\x80" % n for n in range(300)],
    "tagged": [b"cpu;host=%d;dc=%d" % (n, k) for n in range(60) for k in range(5)],
}


@on_each_kernel
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_finds_nearly_all_known_names_and_no_wrong_one(kernel: Kernel, family: str) -> None:
    names = FAMILIES[family]
    assert_right(kernel, kernel.table_of(names), names, found=0.95)
    known, others = names[::2], names[1::2]
    table = kernel.table_of(known)
    assert_right(kernel, table, names, found=0.45)
    assert set(kernel.look_up(table, buffer_of(others))) == {UNKNOWN}


@on_each_kernel
def test_a_batch_finds_its_shortest_name_whatever_its_length(kernel: Kernel) -> None:
    names = [(b"abcdefgh" * 5)[:length] for length in range(1, 41)]
    table = kernel.table_of(names)
    for shortest in range(40):
        batch = names[shortest:]
        assert kernel.look_up(table, buffer_of(batch)) == [table.find(name) for name in batch]


@on_each_kernel
def test_the_last_name_of_a_buffer_is_found_wherever_the_buffer_ends(kernel: Kernel) -> None:
    names = [(b"abcdefgh" * 5)[:length] for length in (*range(1, 34), 40)]
    table = kernel.table_of(names)
    for rest in (b" 1 1\n", b" 1 1", b" 12345678901234567 1\r\n"):
        kernel.look_up(table, buffer_of(names))
        found = [kernel.rows_of(table, table.read(name + rest)) for name in names]
        assert found == [[table.find(name)] for name in names]


@on_each_kernel
def test_names_too_long_for_a_batch_are_left_to_the_single_look_up(kernel: Kernel) -> None:
    long, short = b"z" * (LONGEST + 1), b"z" * LONGEST
    table = kernel.table_of([short])
    assert kernel.look_up(table, buffer_of([long, short, long])) == [UNKNOWN, 0, UNKNOWN]
    assert (table.find(long), table.find(short)) == (UNKNOWN, 0)


@on_each_kernel
def test_lines_that_need_a_closer_look_are_unknown(kernel: Kernel) -> None:
    table = kernel.table_of([b"a.b", b"c.d"])
    rows = kernel.look_up(table, b"a.b 1 1\n\nc.d x 1\n a.b 1 1\na.b 1 1e9\nc.d 1 1\r\n")
    closer = 0 if kernel is PLAIN else UNKNOWN
    assert rows == [0, UNKNOWN, UNKNOWN, closer, closer, 1]


@on_each_kernel
def test_a_removed_name_is_not_found_though_another_has_its_row(kernel: Kernel) -> None:
    names = [b"name.%d" % n for n in range(300)]
    table = kernel.table_of(names)
    kernel.look_up(table, buffer_of(names))
    for name in names[::3]:
        table.remove(name)
    fresh = [b"fresh.%d" % n for n in range(100)]
    for name in fresh:
        table.insert(name, ROOT)
    assert table.size <= 301
    assert set(kernel.look_up(table, buffer_of(names[::3]))) == {UNKNOWN}
    assert_right(kernel, table, [*names[1::3], *names[2::3], *fresh], found=0.95)


@on_each_kernel
def test_lines_read_before_a_removal_are_not_given_its_row(kernel: Kernel) -> None:
    names = [b"name.%d" % n for n in range(300)]
    table = kernel.table_of(names)
    kernel.look_up(table, buffer_of(names))
    lines = table.read(buffer_of(names))
    for name in names[::3]:
        table.remove(name)
    for n in range(100):
        table.insert(b"fresh.%d" % n, ROOT)
    rows = kernel.rows_of(table, lines)
    assert set(rows[::3]) == {UNKNOWN}
    assert all(row in {table.find(name), UNKNOWN} for name, row in zip(names, rows, strict=True))


@on_each_kernel
@pytest.mark.parametrize("number", [200, 300, 3000])
def test_names_that_come_back_under_other_rows_are_found_again(kernel: Kernel, number: int) -> None:
    names = [b"host%d.load" % n for n in range(number)]
    table = kernel.table_of(names)
    kernel.look_up(table, buffer_of(names))
    for name in names:
        table.remove(name)
    Random(1).shuffle(names)
    for name in names:
        table.insert(name, ROOT)
    assert_right(kernel, table, names, found=0.95)


@on_each_kernel
def test_a_large_table_is_right_while_it_grows_shrinks_and_grows_again(kernel: Kernel) -> None:
    random = Random(7)
    names = [b"app%d.host%d.metric.%d" % (n % 7, n % 97, n) for n in range(60_000)]
    random.shuffle(names)
    table, held = kernel.table_of(), dict[bytes, int]()
    for start in range(0, len(names), 10_000):
        for name in names[start : start + 10_000]:
            held[name] = table.insert(name, ROOT)
        for name in random.sample(sorted(held), 2_000):
            assert table.remove(name) == held.pop(name)
        assert len(set(held.values())) == len(held) == len(table)
        assert_right(kernel, table, names, found=0.97 * len(held) / len(names))
    assert dict(zip(table.names_at(table.rows()), table.rows().tolist(), strict=True)) == held
    assert table.size < len(names)


@on_each_kernel
def test_rows_are_given_again_however_often_names_come_and_go(kernel: Kernel) -> None:
    table = kernel.table_of()
    for turn in range(50):
        names = [b"pod-%d.%d" % (turn, number) for number in range(100)]
        for name in names:
            table.insert(name, ROOT)
        for name in names:
            table.remove(name)
    assert table.size <= 200


def snapshot_of(copy: Copy) -> dict[bytes, int]:
    """Names and rows of a copy; no name may be there twice."""
    names = list(copy.names())
    assert len(set(names)) == len(names) == len(copy.rows)
    return dict(zip(names, copy.rows.tolist(), strict=True))


@on_each_kernel
def test_a_copy_stays_as_it_is_while_the_table_goes_on_changing(kernel: Kernel) -> None:
    namespaces = kernel.new_names()
    namespaces.insert(b"", ROOT)
    table, held = kernel.new_series(namespaces), dict[bytes, int]()
    for number in range(1, 40):
        namespaces.insert(b"space%d" % number, number)
        for leaf in (b"short", b"long" * 20, b"gone"):
            name = b"space%d.%b" % (number, leaf)
            held[name] = table.insert(name, number)
    del held[b"space7.gone"]
    table.remove(b"space7.gone")
    copies = [table.copy() for _ in range(2)]
    for turn in range(3):
        for name in table.names_at(table.rows()):
            table.remove(name)
        for number in range(1, 40):
            namespaces.remove(number)
            namespaces.insert(b"other%d.%d" % (turn, number), number)
            for count in range(100):
                table.insert(b"other%d.%d.%b" % (turn, number, b"leaf%d" % count * 9), number)
        assert [snapshot_of(copy) for copy in copies] == [held, held]
    del copies[0]
    assert snapshot_of(copies[0]) == held


@on_each_kernel
def test_a_copy_that_went_lets_rows_be_given_again(kernel: Kernel) -> None:
    table = kernel.table_of()
    for turn in range(8):
        names = [b"pod-%d.%d" % (turn, number) for number in range(100)]
        for name in names:
            table.insert(name, ROOT)
        # Garbage that holds a copy and itself, as the traceback of a failed save does.
        garbage = [table.copy()]
        garbage.append(garbage)  # type: ignore[arg-type]
        del garbage
        gc.collect(1)
        for name in names:
            table.remove(name)
    assert table.size <= 300


@on_each_kernel
def test_a_copy_outlives_its_table(kernel: Kernel) -> None:
    table = kernel.table_of([b"a", b"long" * 20])
    copy = table.copy()
    del table
    gc.collect()
    assert snapshot_of(copy) == {b"a": 0, b"long" * 20: 1}


def test_names_that_come_and_go_leave_no_memory_behind_in_the_plain_kernel() -> None:
    def turn(number: int) -> None:
        names = [b"pod-%d.container.cpu.usage.%d" % (number, n) for n in range(250)]
        for name in names:
            table.insert(name, ROOT)
        PLAIN.look_up(table, buffer_of(names))
        for name in names:
            table.remove(name)

    table = PLAIN.table_of()
    tracemalloc.start()
    try:
        held = []
        for number in range(60):
            turn(number)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held[45:]) < 1.5 * max(held[10:25])
