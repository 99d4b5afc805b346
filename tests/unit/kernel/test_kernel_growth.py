"""Tables so large that they grow where they lie: nothing gets lost, also for those who read meanwhile."""

from __future__ import annotations

from random import Random
from threading import Event, Thread

import numpy as np
import pytest

from carbonquota import QuotaEngine, RuleSet
from carbonquota.kernel import KERNEL, UNKNOWN, JoinedNames
from tests.support.kernels import COMPILED, if_built

STEP = 20_000
LARGE = 460_000
"""Series with which a table has grown twice where it lies."""


@if_built
def test_a_large_table_has_all_its_names_whatever_came_and_went() -> None:
    assert COMPILED is not None
    table = COMPILED.table_of()
    names = [b"m%d" % number for number in range(LARGE)]
    held: dict[bytes, int] = {}
    random = Random(3)
    for start in range(0, LARGE, STEP):
        step = names[start : start + STEP]
        rows = table.insert_many(JoinedNames.of(step), np.zeros(len(step), np.int64))
        held |= zip(step, rows.tolist(), strict=True)
        for name in random.sample(step, STEP // 10):
            table.remove(name)
            del held[name]
    assert len(table) == len(held)
    assert [table.find(name) for name in names] == [held.get(name, UNKNOWN) for name in names]


@pytest.mark.skipif(KERNEL != "compiled", reason="the plain kernel has no tables that grow")
def test_who_reads_while_a_table_grows_takes_no_known_metric_for_a_new_one() -> None:
    engine = QuotaEngine(RuleSet.from_text("[*]\nmetrics = max\n"))
    known = b"".join(b"known%d.m 1 60\n" % number for number in range(1_000))
    assert engine.admit(known).points == 1_000
    over = Event()

    def read() -> None:
        while not over.is_set():
            engine.admit(known)

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for start in range(0, LARGE, STEP):
            engine.admit(b"".join(b"new%d.m 1 60\n" % number for number in range(start, start + STEP)))
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert len(engine) == engine.usage().metrics == engine.namespace_count() == 1_000 + LARGE
