"""Random names, rules and streams, drawn from so few components that they collide all the time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

from tests.support.model import MAXIMUM, SlowRule

# Most are a, b and c; the others are there for their lengths, around the eight bytes of a machine word.
COMPONENTS = ("a", "b", "c", "a", "b", "c", "ab", "é", "a" * 7, "a" * 8, "a" * 7 + "b")
PATTERNS = (
    "/", "*", "a", "b", "?", "[^a]", "{a,c}",
    "*.*", "a.*", "a.b", "?.[a-b]", "{a,b{c,}}.c", "*b.a", "é.*",
    "*.*.*", "a.b.c", "a.*.[b-c]", "a.b.*.*",
)  # fmt: skip
LIMITS = {
    "metrics": st.integers(1, 25) | st.integers(1, 400),
    "logical-size": st.integers(16, 900) | st.integers(16, 9000),
    "physical-size": (st.integers(1, 20) | st.integers(1, 300)).map(lambda blocks: blocks * 4096),
    "data-points": st.integers(1, 60) | st.integers(1, 1000),
    "namespaces": st.integers(1, 6) | st.integers(1, 30),
    "throughput": st.integers(1, 12) | st.integers(20, 250),
}
MALFORMED_LINES = (
    b"\n", b"\r\n", b"a.b 1\n", b"a.b 1 x\n", b"a.b x 1\n", b"a.b nan 1\n", b"a.b 1 inf\n", b"a.b 1_0 1\n",
    b"a.b 1 2 3\n", b"... 1 1\n", b"\xff.a 1 1\n", b"a.b;x 1 1\n", b"a.b;x= 1 1\n", b"a.b;=y 1 1\n",
    b"a.b;x=~y 1 1\n", b"a.b;!x=y 1 1\n", b"a\x00b 1 1\n", b"a.\xc2\x85 1 1\n", b"a.b\n", b"a.b 0x1 1\n",
)  # fmt: skip
ODD_LINES = (
    b"a.b inf 1\n", b"a.b -1e400 1e9\n", b"a.b 1 -1\n", b".a..b. 1 1\n", b"a.b 1 1\r\n", b"a.b .5 1.\n",
    b"a.b;y=1;x=2 1 1\n", b"a.b;x=2;y=1 1 1\n", b"a.b;x=1;x=2;y=1 1 1\n",
)  # fmt: skip

plain_names = st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=4).map(".".join)
endings = st.sampled_from([*[""] * 6, ";x=1", ";x=2;y=1", ";y=1;x=2", ";host=a.b", "." + "a" * 600])
names = st.builds(str.__add__, plain_names, endings)
pools = st.lists(names, min_size=1, max_size=50, unique=True)


@st.composite
def rules(draw: st.DrawFn, *, patterns: tuple[str, ...] = PATTERNS, enforcing: bool = False) -> SlowRule:
    """One rule with up to three limits."""
    controls = draw(st.lists(st.sampled_from(sorted(LIMITS)), unique=True, max_size=3))
    limits = {control: draw(LIMITS[control] | st.just(MAXIMUM)) for control in controls}
    prefix = draw(st.sampled_from(["", "", "p.", ".q."]))
    return SlowRule(draw(st.sampled_from(patterns)), limits, enforcing or draw(st.integers(0, 3)) > 0, prefix)


rule_files = st.lists(rules(), max_size=6)
enforcing_rule_files = st.lists(rules(enforcing=True), min_size=1, max_size=5)


@dataclass(frozen=True)
class Batch:
    """Some lines, chosen by a seed so that long batches stay cheap to draw and to shrink."""

    pool: tuple[str, ...]
    length: int
    seed: int
    dirt: bool
    spread: int = 0

    def lines(self) -> list[bytes]:
        """The lines with their ends; with `dirt`, some are malformed, blank or oddly spelled.

        With a `spread`, each name ends in one of so many numbers: so many more are new, in the same namespaces.
        """
        random = Random(self.seed)
        hot = random.choices(self.pool, k=self.length)
        if self.spread:
            hot = [f"{name}{random.randrange(self.spread)}" for name in hot]
        clean = [name.encode() + b" %d %d\n" % (random.randrange(100), random.randrange(2**31)) for name in hot]
        if not self.dirt:
            return clean
        return [random.choice(MALFORMED_LINES + ODD_LINES) if random.random() < 0.2 else text for text in clean]


lengths = st.integers(0, 5) | st.integers(1, 80) | st.integers(60, 400) | st.integers(60, 400) | st.just(1500)


def batches(pool: list[str], *, dirt: bool = True) -> st.SearchStrategy[Batch]:
    """Batches of the pool's names, from empty to long."""
    flags = st.booleans() if dirt else st.just(value=False)
    spreads = st.sampled_from([0, 0, 0, 3, 500])
    return st.builds(Batch, st.just(tuple(pool)), lengths, st.integers(0, 2**16), flags, spreads)


def cut(lines: list[bytes], seed: int) -> list[bytes]:
    """The lines joined into batches of random lengths, among them long and empty ones."""
    random, buffers, start = Random(seed), [], 0
    while start < len(lines):
        length = random.choice((0, 1, 2, 7, 64, 200, 400))
        buffers.append(b"".join(lines[start : start + length]))
        start += length
    return buffers
