"""The compiled counters decide as the plain ones, whatever comes."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge
from carbonquota.testing import ManualClock
from tests.support.example_counts import examples
from tests.support.limit_counters import native, needs_native, plain
from tests.support.limits import EPOCH, STEPS, WAITS, Step

pytestmark = needs_native


@given(STEPS)
def test_both_decide_the_same_on_the_same_histories(steps: list[Step]) -> None:
    clock = ManualClock(EPOCH / 1e6)
    ours, theirs = plain(clock), native(clock)
    now = EPOCH
    for step in steps:
        now += step.wait
        clock.set(now / 1e6)
        expected, decided = ours.decide(step.charges), theirs.decide(step.charges)
        assert (expected.passes, list(expected.outcomes)) == (decided.passes, list(decided.outcomes))


RATES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 86_400), st.integers(0, 2**32 - 1))


@example([(1, 9_416, 1), (1, 1, 979_542_485)], [(0, 0), (0, 979_542_485), (0, 0)])
@settings(max_examples=examples(40))
@given(st.lists(RATES, min_size=1, max_size=3), st.lists(st.tuples(WAITS, st.integers(0, 2**33)), max_size=20))
def test_a_rule_that_changes_goes_on_with_what_is_used(
    rates: list[tuple[int, int, int]], moments: list[tuple[int, int]]
) -> None:
    policies = [policy_of(Algorithm.TOKEN_BUCKET, *rate) for rate in rates]
    clock = ManualClock(EPOCH / 1e6)
    ours, theirs = plain(clock), native(clock)
    now = EPOCH
    for at, (wait, hits) in enumerate(moments):
        now += wait
        clock.set(now / 1e6)
        charges = [Charge("d\x1fk", policies[at % len(policies)], hits)]
        expected, decided = ours.decide(charges), theirs.decide(charges)
        assert (expected.passes, list(expected.outcomes)) == (decided.passes, list(decided.outcomes))
