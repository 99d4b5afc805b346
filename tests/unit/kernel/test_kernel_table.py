"""The series table: a dict by name, and a batch look-up that never gives a wrong row and soon finds nearly all."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest

from carbonquota.kernel import UNKNOWN, SeriesTable, scan


def buffer_of(names: list[bytes]) -> bytes:
    """A line for each name."""
    return b"".join(name + b" 1 1700000000\n" for name in names)


def table_of(names: list[bytes]) -> SeriesTable:
    """A table that holds these names."""
    table = SeriesTable()
    for name in names:
        table.insert(name)
    return table


def looked_up(table: SeriesTable, names: list[bytes]) -> list[int]:
    """The rows of a batch, looked up often enough that the table has noticed what it misses."""
    lines = scan(buffer_of(names))
    for _ in range(200 // max(len(names), 1) + 1):
        table.find_lines(lines)
    return list(table.find_lines(lines))


def assert_right(table: SeriesTable, names: list[bytes], *, found: float) -> None:
    """No wrong row, and at least this part of the names found."""
    rows = looked_up(table, names)
    assert all(row in {table.find(name), UNKNOWN} for name, row in zip(names, rows, strict=True))
    assert sum(row != UNKNOWN for row in rows) >= found * len(names)


def test_an_empty_table_finds_nothing() -> None:
    table = SeriesTable()
    assert (len(table), table.size, list(table)) == (0, 0, [])
    assert table.find(b"a") == UNKNOWN
    assert table.get(b"a") is None
    assert table.find_lines(scan(b"a 1 1\nb 1 1\n")).tolist() == [UNKNOWN, UNKNOWN]
    assert table.find_lines(scan(b"")).tolist() == []


def test_rows_are_given_in_order_and_given_again_after_removal() -> None:
    table = table_of([b"a", b"b", b"c"])
    assert dict(table) == {b"a": 0, b"b": 1, b"c": 2}
    assert table.remove(b"b") == 1
    assert (table.find(b"b"), table.get(b"b"), len(table), table.size) == (UNKNOWN, None, 2, 3)
    assert table.insert(b"d") == 1
    assert (table.find(b"d"), table.get(b"d"), len(table), table.size) == (1, 1, 3, 3)


def test_removing_what_is_not_there_is_an_error() -> None:
    table = table_of([b"a"])
    with pytest.raises(KeyError):
        table.remove(b"b")
    assert table.find(b"a") == 0


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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_finds_nearly_all_known_names_and_no_wrong_one(family: str) -> None:
    names = FAMILIES[family]
    assert_right(table_of(names), names, found=0.95)
    known, others = names[::2], names[1::2]
    table = table_of(known)
    assert_right(table, names, found=0.45)
    assert set(looked_up(table, others)) == {UNKNOWN}


def test_a_batch_finds_its_shortest_name_whatever_its_length() -> None:
    names = [(b"abcdefgh" * 5)[:length] for length in range(1, 41)]
    table = table_of(names)
    looked_up(table, names)
    for shortest in range(40):
        batch = names[shortest:]
        assert table.find_lines(scan(buffer_of(batch))).tolist() == [table.find(name) for name in batch]


def test_names_too_long_for_a_batch_are_left_to_the_single_look_up() -> None:
    long, short = b"z" * 257, b"z" * 256
    table = table_of([long, short])
    assert looked_up(table, [long, short, long])[::2] == [UNKNOWN, UNKNOWN]
    assert (table.find(long), table.find(short)) == (0, 1)


def test_lines_that_need_a_closer_look_are_unknown() -> None:
    table = table_of([b"a.b", b"c.d"])
    looked_up(table, [b"a.b", b"c.d"] * 50)
    lines = scan(b"a.b 1 1\na.b\t1\t1\n\nc.d x 1\n a.b 1 1\nc.d 1 1\r\n")
    assert table.find_lines(lines).tolist() == [0, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 1]


def test_a_removed_name_is_not_found_though_another_has_its_row() -> None:
    names = [b"name.%d" % n for n in range(300)]
    table = table_of(names)
    looked_up(table, names)
    for name in names[::3]:
        table.remove(name)
    fresh = [b"fresh.%d" % n for n in range(100)]
    for name in fresh:
        table.insert(name)
    assert table.size == 300
    assert set(looked_up(table, names[::3])) == {UNKNOWN}
    assert_right(table, [*names[1::3], *names[2::3], *fresh], found=0.95)


@pytest.mark.parametrize("number", [200, 300, 3000])
def test_names_that_come_back_under_other_rows_are_found_again(number: int) -> None:
    names = [b"host%d.load" % n for n in range(number)]
    table = table_of(names)
    looked_up(table, names)
    for name in names:
        table.remove(name)
    Random(1).shuffle(names)
    for name in names:
        table.insert(name)
    assert_right(table, names, found=0.95)


def test_a_large_table_is_right_while_it_grows_shrinks_and_grows_again() -> None:
    random = Random(7)
    names = [b"app%d.host%d.metric.%d" % (n % 7, n % 97, n) for n in range(60_000)]
    random.shuffle(names)
    table, held = SeriesTable(), dict[bytes, int]()
    for start in range(0, len(names), 10_000):
        for name in names[start : start + 10_000]:
            held[name] = table.insert(name)
        for name in random.sample(sorted(held), 2_000):
            assert table.remove(name) == held.pop(name)
        assert len(set(held.values())) == len(held) == len(table)
        assert_right(table, names, found=0.97 * len(held) / len(names))
    assert dict(table) == held
    assert table.size < len(names)


def test_names_that_come_and_go_leave_no_memory_behind() -> None:
    def turn(number: int) -> None:
        names = [b"pod-%d.container.cpu.usage.%d" % (number, n) for n in range(250)]
        for name in names:
            table.insert(name)
        looked_up(table, names)
        for name in names:
            table.remove(name)

    table = SeriesTable()
    tracemalloc.start()
    try:
        held = []
        for number in range(100):
            turn(number)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held[70:]) < 1.5 * max(held[15:35])
