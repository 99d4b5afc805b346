"""What `make bench-cluster` counts: a batch belongs to the interval in which it was decided."""

from __future__ import annotations

import time

import pytest
from bench_cluster import LENGTH, OfferClock

from carbonquota import QuotaEngine, RuleSet


def test_a_batch_that_is_made_before_an_interval_ends_and_decided_after_it_counts_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [LENGTH - 0.01]
    monkeypatch.setattr(time, "time", lambda: now[0])
    clock = OfferClock()
    engine = QuotaEngine(RuleSet.from_text("[a]\nthroughput = 3\n"), clock=clock, interval=LENGTH)
    accepted = []
    for passes in (0.0, 0.02, 0.0):
        made = time.time() // LENGTH
        now[0] += passes
        points = engine.admit(b"a.x 1 1\n" * 5).points
        accepted.append((made, clock.last // LENGTH, points))
    assert accepted == [(0, 0, 3), (0, 1, 3), (1, 1, 0)]
