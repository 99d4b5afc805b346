"""How accepted lines go on: as they came, or as the next one down the line stores them in one file."""

from __future__ import annotations

import pytest

from carbonquota.engine import QuotaEngine
from carbonquota.rules import RuleSet

UNCHANGED = [
    b"a.b 1 1700000000\n", b"a.b 1 1700000000\r\n", b"a.b 1e3 1700000000\n", b"a.b -1.5 1700000000.25\n", b"\n",
    b" \r\n",
    b"a/b 1 1\n", b"/a..b 1 1\n", b"a;y=1;x=2 1 1\n", b"a;x=1;x=2 1 1\n", b"a;path=/var 1 1\n", b"a; 1 1\n",
    b"a;x= 1 1\n", b"a~b 1 1\n", b"a{b} 1 1\n", b"a.b 1 1", b"a.b 1 -1\n", "größe 1 1\n".encode(),
]  # fmt: skip
CHANGED = {
    b"a.b\t1\t1700000000\n": b"a.b 1 1700000000\n",
    b"a.b  1 1700000000\n": b"a.b 1 1700000000\n",
    b"a.b 1  1700000000\r\n": b"a.b 1 1700000000\r\n",
    b"  a.b 1 1700000000\n": b"a.b 1 1700000000\n",
    b"a.b 1 1700000000 \n": b"a.b 1 1700000000\n",
    b"a.b 1 1700000000\t\r\n": b"a.b 1 1700000000\r\n",
    b"a.b\x0b1\x0c1700000000\n": b"a.b 1 1700000000\n",
    b"a/b\t1 1": b"a/b 1 1",
    b"a.b. 1 1\n": b"a.b 1 1\n",
    b"a/b/ 1 1\n": b"a.b 1 1\n",
    b"~a.b 1 1\n": b"a.b 1 1\n",
    b".~a.b 1 1\n": b"a.b 1 1\n",
    b"a..b;x=1 1 1\n": b"a.b;x=1 1 1\n",
    b"a/b;x=1 1 1\n": b"a.b;x=1 1 1\n",
    b"a/b; 1 1\n": b"a.b; 1 1\n",
    b"a;y=1;name=b;x=2 1 1\n": b"a;x=2;y=1 1 1\n",
    b"a;name=b 1 1\n": b"a 1 1\n",
    b'a{y="1",x="2"} 1 1\n': b"a;x=2;y=1 1 1\n",
}


@pytest.mark.parametrize("line", UNCHANGED)
def test_a_line_goes_on_as_it_came(line: bytes) -> None:
    engine = QuotaEngine(RuleSet.from_text(""))
    for _ in range(2):
        assert engine.admit(line).accepted is line


@pytest.mark.parametrize(("line", "passed"), CHANGED.items())
def test_a_line_goes_on_as_the_next_one_can_take_it(line: bytes, passed: bytes) -> None:
    engine = QuotaEngine(RuleSet.from_text(""))
    for _ in range(2):
        result = engine.admit(line)
        assert (result.accepted, result.points, len(engine)) == (passed, 1, 1)


def test_lines_go_on_in_their_order_whatever_is_dropped_between_them() -> None:
    engine = QuotaEngine(RuleSet.from_text("[full]\nmetrics = 1\n"))
    engine.load("full.a")
    lines = [line if line.endswith(b"\n") else line + b"\n" for line in [*UNCHANGED, *CHANGED]]
    passed = [line if line.endswith(b"\n") else line + b"\n" for line in [*UNCHANGED, *CHANGED.values()]]
    between = b"full.b\t1 1\nfull.b 1 1\nbad\nb\xff  1 1\n"
    for _ in range(2):
        assert engine.admit(between.join([*lines, b""])).accepted == b"".join(passed)
        assert engine.admit(b"".join(lines)).accepted == b"".join(passed)
