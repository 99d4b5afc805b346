"""Sixteen threads on exact limits: none is passed by even one, and what is counted equals a recount."""

from __future__ import annotations

import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from carbonquota import QuotaEngine, RuleSet
from tests.soak.lengths import length

THREADS = 16
LIMITS = {"a": 97, "b": 1, "c": 250}
RULES = "".join(f"[{name}]\nmetrics = {limit}\n" for name, limit in LIMITS.items())


def test_sixteen_threads_pass_no_limit() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for turn in range(length("THREAD_TURNS", 300)):
            one_turn(turn)
    finally:
        sys.setswitchinterval(before)


def one_turn(seed: int) -> None:
    """Everybody offers, batches and single points, forgets and asks, at once."""
    engine = QuotaEngine(RuleSet.from_text(RULES))

    def work(number: int) -> set[str]:
        chance = random.Random(seed * THREADS + number)
        seen: set[str] = set()
        for _ in range(60):
            names = [f"{chance.choice('abc')}.m{chance.randrange(400)}" for _ in range(20)]
            batch = engine.admit("".join(f"{name} 1 1\n" for name in names).encode())
            seen.update(line.split(b" ")[0].decode() for line in batch.accepted.splitlines())
            single = f"{chance.choice('abc')}.m{chance.randrange(400)}"
            if engine.offer(single):
                seen.add(single)
            for name, limit in LIMITS.items():
                assert engine.usage(name).metrics <= limit
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        accepted = set().union(*pool.map(work, range(THREADS)))
    held = Counter(name.partition(".")[0] for name in accepted)
    assert held == {name: engine.usage(name).metrics for name in held}
    assert held == LIMITS
