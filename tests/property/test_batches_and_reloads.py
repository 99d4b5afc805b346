"""A batch equals its lines one by one, whatever reloads, reports, deletes and clock moves come between batches."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock
from tests.support.example_counts import examples

PATTERNS = ["/", "a", "*", "a.*", "*.*", "b.c", "a.b", "*.*.*", "{a,b}.b.c"]
CONTROLS = ["namespaces", "metrics", "data-points", "throughput"]


def rule_file(random: Random) -> str:
    """Some rules with low limits and high ones."""
    sections = []
    for pattern in random.sample(PATTERNS, random.randint(1, 6)):
        section = [f"[{pattern}]"]
        chosen = [control for control in CONTROLS if random.random() < 0.4]
        section += [f"{control} = {random.choice([1, 2, 3, 5, 20, 100, 1000])}" for control in chosen]
        section += ["dropping-policy = none"] * (random.random() < 0.3)
        sections.append("\n".join(section))
    return "\n".join(sections)


def metric(random: Random) -> str:
    """A name out of few."""
    parts = [random.choice("abc") for _ in range(random.randint(0, 3))]
    return ".".join([*parts, f"m{random.randint(0, random.choice([5, 40]))}"])


class Pair:
    """One engine that is offered batches, and one that is offered their lines."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.clock = ManualClock(0.0)
        rules, unit = RuleSet.from_text(rule_file(random)), random.choice([1, 1, 30])

        def size_of(name: str) -> Size:
            return Size(data_points=1 + len(name) % 4 * unit)

        self.batched, self.single = (QuotaEngine(rules, size_of=size_of, clock=self.clock) for _ in range(2))
        self.steps = [self.admit, self.admit, self.admit, self.apply, self.report, self.wait, self.forget]

    def admit(self) -> None:
        lines = [f"{metric(self.random)} 1 1700000000\n".encode() for _ in range(self.random.randint(60, 140))]
        batch, answers = self.batched.admit(b"".join(lines)), [self.single.admit(line) for line in lines]
        assert batch.accepted == b"".join(answer.accepted for answer in answers)
        drops: dict[tuple[str, str], int] = {}
        for answer in answers:
            for who, drop in answer.drops.items():
                drops[who] = drops.get(who, 0) + drop.points
        assert {who: drop.points for who, drop in batch.drops.items()} == drops

    def apply(self) -> None:
        rules = RuleSet.from_text(rule_file(self.random))
        self.batched.apply(rules)
        self.single.apply(rules)

    def report(self) -> None:
        assert self.batched.report() == self.single.report()

    def wait(self) -> None:
        self.clock.advance(self.random.choice([10, 61]))

    def forget(self) -> None:
        for _ in range(self.random.choice([3, 200])):
            name = metric(self.random)
            assert self.batched.forget(name) == self.single.forget(name)

    def check(self) -> None:
        assert self.batched.quotas() == self.single.quotas()
        names = self.batched.namespaces()
        assert names == self.single.namespaces()
        assert [self.batched.usage(name) for name in names] == [self.single.usage(name) for name in names]


@settings(max_examples=examples(120))
@given(st.randoms(use_true_random=True), st.integers(3, 20))
def test_batches_equal_their_lines_across_reloads(random: Random, steps: int) -> None:
    pair = Pair(random)
    for _ in range(steps):
        random.choice(pair.steps)()
        pair.check()
