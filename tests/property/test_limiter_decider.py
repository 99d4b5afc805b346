"""What is decided by rules in one step is what is decided in several, whatever the rules and the requests."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.testing import ManualClock
from tests.support.example_counts import examples
from tests.support.limit_counters import native, needs_native, plain
from tests.support.limit_histories import Dice, paths
from tests.support.limits import EPOCH

pytestmark = needs_native

WAITS = (0, 0, 1_000, 300_000, 900_000, 1_000_000, 61_000_000, -50_000)


@settings(max_examples=examples(400), deadline=None)
@given(st.integers(0, 2**32))
def test_one_step_decides_as_several(seed: int) -> None:
    dice = Dice(seed)
    file = dice.file()
    rules, known = DomainRules.from_text(json.dumps(file)), list(paths(file["descriptors"]))
    clock, now = ManualClock(EPOCH / 1e6), EPOCH
    ours = Limiter(rules, counters=native(clock), clock=clock)
    theirs = Limiter(rules, counters=plain(clock), clock=clock)
    for _ in range(25):
        now += dice.pick(WAITS)
        clock.set(now / 1e6)
        request, what = dice.request(known), dice.pick([*[""] * 20, "ban", "brownout", "reload"])
        for one in (ours, theirs):
            change(one, what)
        assert ours.check(request) == theirs.check(request)
        if len(request.descriptors) == 1:
            asked = (request.domain, request.descriptors[0].entries, request.hits)
            assert ours.allows(*asked) == theirs.allows(*asked)
            assert ours.check_one(*asked) == theirs.check_one(*asked)
    assert ours.counts.rows() == theirs.counts.rows()
    assert ours.offenders.top() == theirs.offenders.top()
    assert ours.bans.listed() == theirs.bans.listed()


def change(limiter: Limiter, what: str) -> None:
    """What an operator does now and then."""
    if what == "ban":
        limiter.bans.add("mallory", 3.0, "", "ops")
    elif what == "brownout":
        limiter.brownout.set("pro", 0.5, 5.0)
    elif what == "reload":
        limiter.apply(limiter.rules)
