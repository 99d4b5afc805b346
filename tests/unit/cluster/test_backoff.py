"""When a store that was away is tried again."""

from __future__ import annotations

import pytest

from carbonquota.cluster.backoff import Backoff


def pauses(backoff: Backoff, count: int) -> list[float]:
    """The pauses after so many failures, each as soon as it may be tried again."""
    found, now = [], 1_000.0
    for _ in range(count):
        backoff.fail(now)
        pause = next(tenths / 10 for tenths in range(1, 1_000) if backoff.is_due(now + tenths / 10 + 1e-6))
        found.append(pause)
        now += pause
    return found


def test_pauses_double_up_to_a_bound_and_begin_short_again_after_a_success() -> None:
    backoff = Backoff(lambda: 0.5)
    assert backoff.is_due(0.0)
    assert pauses(backoff, 7) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    backoff.succeed()
    assert pauses(backoff, 2) == [0.2, 0.4]


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, [0.1, 0.2, 0.4]), (1.0, [0.3, 0.6, 1.2])])
def test_nodes_do_not_try_at_once(jitter: float, expected: list[float]) -> None:
    assert pauses(Backoff(lambda: jitter), 3) == expected
