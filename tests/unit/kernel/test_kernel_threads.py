"""Buffers are read without a lock while another thread changes the tables: no row that is given is another's."""

from __future__ import annotations

import time
from random import Random
from threading import Event, Lock, Thread

import numpy as np

from carbonquota.kernel import UNKNOWN
from tests.support.kernels import PLAIN, Copy, Kernel, on_each_kernel

SECONDS = 0.8
"""How long readers and writer are at it."""

ROOT = 0
SPACES = range(1, 40)
STAYING = 2000
READERS = 2


class Churn:
    """A table whose namespaces come and go with their series, beside a dict; `lock` guards both."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lock = Lock()
        self.over = Event()
        self.errors: list[str] = []
        self.reads = self.changes = 0
        self.names = kernel.new_names()
        self.names.insert(b"", ROOT)
        self.table = kernel.new_series(self.names)
        self.staying = [b"staying%d" % number for number in range(STAYING)]
        self.held = {name: self.table.insert(name, ROOT) for name in self.staying}
        self.spaces: dict[int, list[bytes]] = {}

    def change(self, random: Random) -> None:
        """Remove a namespace with all its series, and put another into its row; some leaves are long."""
        row = random.choice(SPACES)
        with self.lock:
            for name in self.spaces.pop(row, []):
                self.table.remove(name)
                del self.held[name]
            if self.names.name(row):
                self.names.remove(row)
            space = b"space%d" % random.randrange(200)
            if self.names.find(space) != UNKNOWN:
                return
            self.names.insert(space, row)
            self.spaces[row] = [b"%b.%d%b" % (space, n, b"-" * random.choice([0, 60])) for n in range(60)]
            self.held |= {name: self.table.insert(name, row) for name in self.spaces[row]}
            self.changes += 1

    def write(self) -> None:
        """Change until it is over."""
        random = Random(5)
        while not self.over.is_set():
            self.change(random)

    def read(self, seed: int) -> None:
        """Read buffers of names that are or were in the table until it is over, and check the rows."""
        random = Random(seed)
        while not self.over.is_set() and not self.errors:
            coming = [b"space%d.%d%b" % (n, random.randrange(60), b"-" * random.choice([0, 60])) for n in range(200)]
            names = random.sample([*self.staying, *coming * 5], 3000)
            lines = self.table.read(b"".join(name + b" 1 1\n" for name in names))
            with self.lock:
                rows = self.kernel.rows_of(self.table, lines)
                self.errors += [error for pair in zip(names, rows, strict=True) if (error := self.error(*pair))]
                self.reads += 1

    def error(self, name: bytes, row: int) -> str:
        """What is wrong with a row given for a name, empty where nothing is; what came meanwhile may be missed."""
        own = self.held.get(name, UNKNOWN)
        missed = row == UNKNOWN and (self.kernel is PLAIN or not name.startswith(b"staying"))
        return "" if row == own or missed else f"{name!r} is at {own}, not {row}"

    def copies(self) -> None:
        """Copy the table until it is over, and look at each copy without the lock."""
        while not self.over.is_set() and not self.errors:
            with self.lock:
                copy, held = self.table.copy(), dict(self.held)
            if snapshot_of(copy) != held:
                self.errors.append("a copy is not what was there")


def snapshot_of(copy: Copy) -> dict[bytes, int]:
    """Names and rows of a copy."""
    return dict(zip(copy.names(), copy.rows.tolist(), strict=True))


@on_each_kernel
def test_what_is_read_while_the_table_changes_is_given_its_own_row_or_none(kernel: Kernel) -> None:
    churn = Churn(kernel)
    threads = [Thread(target=churn.write), Thread(target=churn.copies)]
    threads += [Thread(target=churn.read, args=(seed,)) for seed in range(READERS)]
    for thread in threads:
        thread.start()
    churn.over.wait(SECONDS)
    churn.over.set()
    for thread in threads:
        thread.join()
    assert churn.errors == []
    assert churn.reads > READERS
    assert churn.changes > len(SPACES)
    rows = churn.table.rows()
    assert dict(zip(churn.table.names_at(rows), rows.tolist(), strict=True)) == churn.held
    assert churn.table.size < 50 * STAYING


@on_each_kernel
def test_a_table_that_grows_meanwhile_keeps_what_it_has(kernel: Kernel) -> None:
    """Slots are replaced by larger ones under the readers' eyes; what was there is found all the time."""
    table = kernel.table_of(names := [b"staying%d" % number for number in range(3000)])
    buffer = b"".join(name + b" 1 1\n" for name in names)
    over, lock, wrong = Event(), Lock(), list[int]()

    def read() -> None:
        while not over.is_set():
            lines = table.read(buffer)
            with lock:
                rows = np.array(kernel.rows_of(table, lines))
            expected = np.arange(len(names))
            if kernel is PLAIN:
                expected[rows == UNKNOWN] = UNKNOWN
            wrong.extend(rows[rows != expected].tolist())

    readers = [Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + SECONDS
    grown = 0
    while time.monotonic() < end:
        with lock:
            for _ in range(100):
                table.insert(b"grown%d" % grown, ROOT)
                grown += 1
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(table) == len(names) + grown > 2 * len(names)
