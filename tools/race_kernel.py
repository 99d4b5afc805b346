"""Has threads use one engine at once, on a kernel that tells of unguarded memory: `make tsan`.

Some admit batches and names, one forgets metrics, one asks for reports and names, one changes the rules. What they do
is bounded by the number of batches, not by time. At the end the usage must be a recount of the names. Meant to run in a
build with ThreadSanitizer, by `sanitized.py --threads`, where a race makes the exit code 66; it runs in any other, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from threading import Event

from carbonquota import QuotaEngine, RuleSet
from carbonquota.kernel import COMPILED

RULES = "[/]\nthroughput = max\n[*]\nmetrics = 3000\nthroughput = 2000\n[*.*]\nmetrics = {}\n"
LINES = 200
BATCHES = 60
"""That each of the admitting threads has decided."""


def lines(random: Random, count: int) -> bytes:
    """Points of metrics that come and go, some in other spellings, some malformed."""
    forms = (
        b"t%d.n%d.m%d 1 1700000000\n",
        b"t%d..n%d.m%d 1 1700000000\n",
        b"t%d;n=%d;m=%d 1 1700000000\n",
        b"t%d %d %d\n",
    )
    weights = (20, 2, 2, 1)
    return b"".join(
        random.choices(forms, weights)[0] % (random.randrange(5), random.randrange(200), random.randrange(40))
        for _ in range(count)
    )


class Race:
    """An engine, and what threads do with it."""

    def __init__(self) -> None:
        """Start under rules that reject some."""
        self.engine = QuotaEngine(
            RuleSet.from_text(RULES.format(50)), keep_seen=True, record_changes=True, interval=1.0
        )
        self.over = Event()

    def admit(self, seed: int) -> None:
        """Decide on batches of lines, and on names."""
        random = Random(seed)
        for _ in range(BATCHES):
            admission = self.engine.admit(lines(random, LINES))
            if admission.points + admission.dropped + admission.malformed != LINES:
                raise ArithmeticError("points of a batch are counted nowhere")
            self.engine.admit_names([b"t1.n%d.x" % random.randrange(300) for _ in range(50)])

    def forget(self) -> None:
        """Forget some of what came."""
        while not self.over.wait(0.001):
            for change in self.engine.take_changes()[:300]:
                self.engine.forget(change.name)

    def look(self) -> None:
        """Ask for all that may be asked for at any time."""
        while not self.over.wait(0.001):
            self.engine.report()
            self.engine.holdings()
            self.engine.names_at(self.engine.children_by("t1"))
            self.engine.offer("t1.n1.m1")

    def change_rules(self) -> None:
        """Put other rules in force."""
        for limit in range(5):
            self.engine.apply(RuleSet.from_text(RULES.format(50 + limit)))
            self.over.wait(0.05)

    def run(self) -> None:
        """Do all of it at once, and compare what is left with a recount."""
        admitting: list[Callable[[], None]] = [partial(self.admit, seed) for seed in range(3)]
        with ThreadPoolExecutor(len(admitting) + 3) as threads:
            others = [threads.submit(task) for task in (self.forget, self.look, self.change_rules)]
            tasks = [threads.submit(task) for task in admitting]
            try:
                for task in tasks:
                    task.result()
            finally:
                self.over.set()
            for task in others:
                task.result()
        if self.engine.usage().metrics != len(self.engine):
            raise ArithmeticError(f"usage tells of {self.engine.usage().metrics} metrics, there are {len(self.engine)}")


if __name__ == "__main__":
    if not COMPILED:
        sys.exit("race_kernel.py: there is no compiled kernel here")
    race = Race()
    race.run()
    print(f"race_kernel.py: {3 * BATCHES} batches by three threads, {len(race.engine)} metrics, nothing lost")
