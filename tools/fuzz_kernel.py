"""Feeds hostile buffers to the compiled kernel and compares it with the plain one: `make fuzz`.

Cuts some seeds at every place and mutates them, until the time is over. Cases run in forked children, so that one
which ends its process, or never ends, is caught as well as one with a wrong answer. Such a case is made as small as it
will go and printed as a literal; the exit code is then 1. Meant to run in a sanitized build, by `sanitized.py`, but
does without.
"""

from __future__ import annotations

import argparse
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random, SystemRandom

from kernel_answers import Package

LARGEST = 1 << 22
BATCH = 200
"""Cases a child."""
IN_FULL = 4
"""One of so many cases is tried on whole engines, the others on the scan alone, which is far quicker."""
PATIENCE = 60
"""Seconds that one case may take."""
WRONG = 3
"""The exit code of a child that found the kernels to differ."""
LONGEST_SEARCH = 90
"""Seconds that are spent on making a failing case smaller."""

DEEP = b".".join([b"d"] * 255)
SEEDS = [
    b"servers.web1.cpu.idle 97.5 1700000000\nservers.web1.cpu.user -1 1700000000\r\ncpu;host=a;dc=b .5 1700000060\n",
    b"a.b 1e3 1700000000\na.b\t1\t1\n  a.b  1  1  \n\n \r\nx nan 1\nx 1 inf\nx 1_0 1\nx 1 1 1\nx 1\nx\n \x00 \x00\n",
    b"a 1 1\n" * 70 + b"a.b 2 2\n" * 70 + b"team.a.x%d 3 3\n" * 4,
    DEEP + b" 1 1\n" + DEEP + b".d 1 1\n" + b"a..b 1 1\n.a 1 1\na. 1 1\n" + b"l" * 256 + b" 1 1\n",
    b"gr\xc3\xb6\xc3\x9fe 1 1\n\xff\xfe 1 1\n\xc3 1 1\n\xed\xa0\x80 1 1\n" + b"1" * 41 + b" " + b"1" * 41 + b" 1\n",
    bytes(range(256)),
    b"app.cpu 1 1\napp..cpu 1 1\n.app.cpu. 1 1\nm;host=h;dc=a 1 1\nm;dc=a;host=h 1 1\nm;a=1;a=2 1 1\nm..n;a=1 1 1\n",
    b"".join(b"d%d..e%d.f;t=%d;s=1 1 1\n" % (number % 5, number % 3, number % 7) for number in range(90)),
]
PIECES = [
    b"\n", b"\r\n", b"\r", b" ", b"  ", b"\t", b"\x0b", b"\x00", b"\xff", b".", b"..", b"-", b"+", b"_", b"e", b"1",
    b"0", b"1700000000", b"1e400", b"nan", b"inf", b"-infinity", b"1.5", b".5", b"5.", b"a 1 1\n", b"a.b 1 1\n", b";a=",
    b";a=1;b=2", b";b=2;a=1", b"=", b";", b"~",
    b"0" * 16, b"a" * 27, b"a" * 28, b"a" * 64, b"a" * 255, b"a" * 256, b"\xc3\xa9" * 128, b"a." * 255, b"1" * 310,
]  # fmt: skip


def main() -> None:
    """Try until the time is over, or a case fails."""
    seconds, seed = asked_for()
    print(f"Comparing the compiled kernel with the plain one for {seconds:g} s: --seed {seed}", flush=True)
    trials = Trials(Package("compiled"), Package("python"))
    cases, end = all_cases(Random(seed)), time.monotonic() + seconds
    while time.monotonic() < end:
        if not trials.pass_all(islice(cases, BATCH)):
            trials.tell_smallest(trials.current())
            sys.exit(1)
    print(f"{trials.count:,} buffers, {trials.bytes:,} bytes: no difference, no crash")


def asked_for() -> tuple[float, int]:
    """For how many seconds to try, and from which seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long to try (60)")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32), help="repeat a run")
    asked = parser.parse_args()
    return asked.seconds, asked.seed


def all_cases(random: Random) -> Iterator[bytes]:
    """The seeds, cut at every place as long as there are such, and in between and afterwards mutations without end."""
    yield from SEEDS
    cuts = [part for seed in SEEDS for at in range(len(seed)) for part in (seed[:at], seed[at:])]
    random.shuffle(cuts)
    while True:
        if cuts:
            yield cuts.pop()
        case = random.choice(SEEDS)
        for _ in range(random.randint(1, 8)):
            case = random.choice(MUTATIONS)(random, case)[:LARGEST]
        yield case


def insert_piece(random: Random, case: bytes) -> bytes:
    """Something that matters to the scan, anywhere."""
    at = random.randint(0, len(case))
    return case[:at] + random.choice(PIECES) + case[at:]


def delete_stretch(random: Random, case: bytes) -> bytes:
    """Some bytes fewer."""
    begin, stop = stretch(random, case)
    return case[:begin] + case[stop:]


def double_stretch(random: Random, case: bytes) -> bytes:
    """Some bytes twice."""
    begin, stop = stretch(random, case)
    return case[:stop] + case[begin:]


def repeat_stretch(random: Random, case: bytes) -> bytes:
    """Some bytes very often: long lines, deep names, many lines; now and then a line of a megabyte."""
    begin, stop = stretch(random, case)
    repeated = case[begin:stop]
    size = 1 << (20 if random.random() < 0.02 and b"\n" not in repeated else random.randint(1, 12))
    return case[:stop] + repeated * (size // max(1, len(repeated))) + case[stop:]


def change_byte(random: Random, case: bytes) -> bytes:
    """One byte another."""
    at = random.randrange(max(1, len(case)))
    return case[:at] + random.randbytes(1) + case[at + 1 :]


def splice_seed(random: Random, case: bytes) -> bytes:
    """A beginning of this with an end of that."""
    other = random.choice(SEEDS)
    return case[: random.randint(0, len(case))] + other[random.randint(0, len(other)) :]


def stretch(random: Random, case: bytes) -> tuple[int, int]:
    """Where some bytes begin and stop; mostly few."""
    begin = random.randint(0, len(case))
    return begin, min(len(case), begin + random.choice([1, 1, 2, 4, 8, 16, 64, 256, 4096]))


MUTATIONS: list[Callable[[Random, bytes], bytes]] = [
    insert_piece, insert_piece, delete_stretch, double_stretch, repeat_stretch, change_byte, splice_seed
]  # fmt: skip


class Trials:
    """Runs cases in children, and knows which one was tried last."""

    def __init__(self, compiled: Package, plain: Package) -> None:
        """Share some memory with the children, who put there what they are about to try."""
        self._shared = mmap.mmap(-1, LARGEST + 8)
        self._compiled = compiled
        self._plain = plain
        self._status = 0
        self.count = 0
        self.bytes = 0

    def current(self) -> bytes:
        """The case tried last."""
        (size,) = struct.unpack_from("q", self._shared)
        return self._shared[8 : 8 + size]

    def pass_all(self, cases: Iterator[bytes], *, quietly: bool = False) -> bool:
        """Whether the kernels agree on all of these, and nothing worse happens; stops at the first one that fails."""
        tried = list(cases)
        self.count += len(tried)
        self.bytes += sum(map(len, tried))
        child = os.fork()
        if child == 0:
            self._be_child(tried, quietly=quietly)
        _, self._status = os.waitpid(child, 0)
        return self._status == 0

    def tell_smallest(self, case: bytes) -> None:
        """Print a failing case, as small as it will go, and what it does."""
        print(f"A buffer of {len(case):,} bytes {self._end}; looking for the smallest ...", flush=True)
        case = self._shrink(case)
        print(f"buffer = {case!r}", flush=True)
        print(f"It {'does not fail every time' if self.pass_all(iter([case])) else self._end}.", flush=True)

    @property
    def _end(self) -> str:
        """How the last child ended."""
        if os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
            return f"takes over {PATIENCE} s" if number == signal.SIGALRM else f"ends in {signal.Signals(number).name}"
        return "is told apart" if os.WEXITSTATUS(self._status) == WRONG else "is stopped by a sanitizer"

    def _be_child(self, cases: list[bytes], *, quietly: bool) -> None:
        """Try the cases, and end with 0 if all is well."""
        if quietly:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number, case in enumerate(cases):
            self._shared[8 : 8 + len(case)] = case
            struct.pack_into("q", self._shared, 0, len(case))
            signal.alarm(PATIENCE)
            difference = self._compare(case, None if number % IN_FULL == 0 else 1)
            if difference:
                os.write(sys.stderr.fileno(), difference.encode())
                os._exit(WRONG)
        os._exit(0)

    def _compare(self, case: bytes, most: int | None) -> str:
        """In what the kernels differ over a buffer, in their first answers or all; empty if in nothing."""
        try:
            pairs = zip(self._compiled.answers(case), self._plain.answers(case), strict=True)
            for (what, compiled), (_, plain) in islice(pairs, most):
                if compiled != plain:
                    return f"{what}: compiled {compiled!r:.2000}\n{what}: plain    {plain!r:.2000}\n"
        except Exception:  # noqa: BLE001 - whatever a kernel raises here is a finding
            return traceback.format_exc()
        return ""

    def _shrink(self, case: bytes) -> bytes:
        """A part of a failing case that fails and of which no half, quarter ... can be left out."""
        size, end = max(1, len(case) // 2), time.monotonic() + LONGEST_SEARCH
        while time.monotonic() < end:
            at, shrunk = 0, False
            while at < len(case) and time.monotonic() < end:
                less = case[:at] + case[at + size :]
                if self.pass_all(iter([less]), quietly=True):
                    at += size
                else:
                    case, shrunk = less, True
            if size == 1 and not shrunk:
                break
            size = max(1, size // 2)
        return case


if __name__ == "__main__":
    main()
