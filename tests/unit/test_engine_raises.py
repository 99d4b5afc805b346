"""What goes wrong in the middle of a batch leaves the engine as the lines before it did."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, QuotaError, RuleSet, Size
from carbonquota.model import MAXIMUM
from carbonquota.testing import ManualClock

LINES = b"".join(b"team.app%d.load 1 1\n" % number for number in range(40))
TAGGED = b"team.huge.load;dc=a 1 1\n"


def size_of(metric: str) -> Size:
    return Size(MAXIMUM if "huge" in metric else 100, 50, 10)


def engine() -> QuotaEngine:
    return QuotaEngine(
        RuleSet.from_text("[*.*]\nmetrics = 9\n"), size_of=size_of, clock=ManualClock(), record_changes=True
    )


@pytest.mark.parametrize("huge", [b"team.huge.load 1 1\n", TAGGED])
@pytest.mark.parametrize("few", [0, 30])
def test_a_size_that_the_sums_cannot_take_ends_a_batch_and_harms_nothing(huge: bytes, few: int) -> None:
    engine_ = engine()
    lines = LINES.splitlines(keepends=True)[few:]
    with pytest.raises(QuotaError, match="would pass"):
        engine_.admit(b"".join([*lines, huge, b"team.late.load 1 1\n"]))
    held = {change.name for change in engine_.take_changes()}
    assert held == set(engine_.holdings().names)
    assert engine_.usage("team").metrics == engine_.usage().metrics == len(held) == len(engine_)
    assert engine_.usage("team").logical_size == 100 * len(held)
    assert engine_.admit(LINES).points == 40
    for name in list(engine_.holdings().names):
        engine_.forget(name)
    assert (len(engine_), engine_.usage("team").metrics, engine_.usage().logical_size) == (0, 0, 0)
    engine_.report()
    assert engine_.namespaces() == []
    assert engine_.quotas() == []


def test_what_size_of_raises_comes_through_and_the_engine_goes_on() -> None:
    def raising(metric: str) -> Size:
        if "bad" in metric:
            raise LookupError(metric)
        return Size(1, 1, 1)

    engine_ = QuotaEngine(RuleSet.from_text("[*]\nmetrics = 100\n"), size_of=raising)
    for buffer in (LINES + b"team.bad 1 1\n", b"team.bad;a=b 1 1\n" + LINES):
        with pytest.raises(LookupError):
            engine_.admit(buffer)
    assert engine_.usage("team").metrics == len(engine_) == len(engine_.holdings().names)
    assert engine_.admit(LINES).points == 40
    assert engine_.offer("team.one")
