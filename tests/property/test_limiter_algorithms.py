"""The laws of the limiter's algorithms, against slow models that keep every hit."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from carbonquota.limiter.algorithms import Algorithm, Policy, State, ask, expiry, policy_of, scaled, take
from tests.support.limits import EPOCH, POLICIES, WAITS

MOMENTS = st.lists(st.tuples(st.integers(0, 700_000), st.integers(1, 3)), min_size=1, max_size=60)
"""Microseconds since the moment before, and hits."""


def admitted(policy: Policy, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The hits that pass, each request with its time."""
    now, state, passed = EPOCH, None, []
    for wait, hits in moments:
        now += wait
        if ask(policy, state, now, hits).fits:
            state = take(policy, state, now, hits)
            passed.append((now, hits))
    return passed


def within(passed: list[tuple[int, int]], start: int, length: int) -> int:
    """The hits from `start` until before `start + length`."""
    return sum(hits for when, hits in passed if start <= when < start + length)


@given(MOMENTS, st.integers(1, 9), st.integers(1, 12))
def test_a_bucket_lets_burst_and_rate_times_time_pass_and_no_more(
    moments: list[tuple[int, int]], requests: int, burst: int
) -> None:
    passed = admitted(policy_of(Algorithm.TOKEN_BUCKET, requests, 1.0, burst), moments)
    for first, (start, _) in enumerate(passed):
        total = 0
        for when, hits in passed[first:]:
            total += hits
            assert total <= burst + Fraction(requests * (when - start), 1_000_000)


@given(MOMENTS, st.integers(1, 9), st.integers(1, 12))
def test_a_bucket_refuses_only_what_does_not_fit(moments: list[tuple[int, int]], requests: int, burst: int) -> None:
    policy = policy_of(Algorithm.TOKEN_BUCKET, requests, 1.0, burst)
    now, state, tokens, then = EPOCH, None, Fraction(burst), EPOCH
    for wait, hits in moments:
        now += wait
        tokens = min(Fraction(burst), tokens + Fraction(requests * (now - then), 1_000_000))
        then = now
        outcome = ask(policy, state, now, hits)
        assert outcome.fits == (hits <= tokens)
        assert outcome.remaining == int(tokens - hits if outcome.fits else tokens)
        if outcome.fits:
            tokens -= hits
            state = take(policy, state, now, hits)


@given(MOMENTS, st.integers(1, 9))
def test_a_fixed_window_lets_its_limit_pass_in_each_window(moments: list[tuple[int, int]], requests: int) -> None:
    policy = policy_of(Algorithm.FIXED_WINDOW, requests, 1.0)
    now, state, used = EPOCH, None, dict[int, int]()
    for wait, hits in moments:
        now += wait
        window = now // 1_000_000
        outcome = ask(policy, state, now, hits)
        assert outcome.fits == (used.get(window, 0) + hits <= requests)
        if outcome.fits:
            used[window] = used.get(window, 0) + hits
            state = take(policy, state, now, hits)


@given(MOMENTS, st.integers(1, 9))
def test_a_sliding_window_lets_no_more_than_its_limit_pass_in_any_window(
    moments: list[tuple[int, int]], requests: int
) -> None:
    policy = policy_of(Algorithm.SLIDING_WINDOW, requests, 1.0)
    passed = admitted(policy, moments)
    assert all(within(passed, when, 1_000_000) <= requests for when, _ in passed)
    # And it refuses nothing that would fit into a window that is a sixth longer, and a little for rounding.
    now, state = EPOCH, None
    for wait, hits in moments:
        now += wait
        fits = ask(policy, state, now, hits).fits
        earlier = [one for one in passed if one[0] < now]
        assert (
            fits
            or hits > requests
            or within(earlier, now - 1_166_670, 1_166_670) + hits > requests
            or any(when == now for when, _ in passed)
        )
        if fits:
            state = take(policy, state, now, hits)


@given(MOMENTS, st.integers(1, 5), st.integers(50_000, 900_000))
def test_no_more_are_in_flight_than_may_be(moments: list[tuple[int, int]], requests: int, lease: int) -> None:
    policy = policy_of(Algorithm.CONCURRENCY, requests, lease / 1e6)
    passed = admitted(policy, moments)
    for when, _ in passed:
        assert sum(hits for start, hits in passed if start <= when < start + lease) <= requests


@given(MOMENTS, st.sampled_from(POLICIES))
def test_who_waits_as_long_as_told_passes_and_who_waits_less_does_not(
    moments: list[tuple[int, int]], policy: Policy
) -> None:
    now, state = EPOCH, None
    for wait, hits in moments:
        now += wait
        outcome = ask(policy, state, now, hits)
        if outcome.fits:
            state = take(policy, state, now, hits)
        elif outcome.retry > 0:
            assert ask(policy, state, now + outcome.retry, hits).fits
            assert not ask(policy, state, now + outcome.retry - 1, hits).fits


@given(MOMENTS, st.sampled_from(POLICIES))
def test_a_state_is_as_good_as_none_once_it_expired(moments: list[tuple[int, int]], policy: Policy) -> None:
    now, state = EPOCH, None
    for wait, hits in moments:
        now += wait
        if ask(policy, state, now, hits).fits:
            state = take(policy, state, now, hits)
            after = expiry(policy, state)
            assert ask(policy, state, after, policy.most) == ask(policy, None, after, policy.most)


@given(st.lists(st.tuples(WAITS, st.integers(1, 3)), max_size=60), st.sampled_from(POLICIES))
def test_a_clock_that_is_set_back_grants_nothing(moments: list[tuple[int, int]], policy: Policy) -> None:
    now: int = EPOCH
    state: State | None = None
    for wait, hits in moments:
        before = ask(policy, state, now, 0).remaining
        now += wait
        if wait <= 0:
            assert ask(policy, state, now, 0).remaining <= before
        if ask(policy, state, now, hits).fits:
            state = take(policy, state, now, hits)
        elif state is not None:
            # Whoever is asked often enough dates the state anew; see that this grants nothing either.
            state = take(policy, state, now, 0)


@given(st.sampled_from(POLICIES), st.fractions(Fraction(1, 50), 3))
def test_a_scaled_policy_grants_so_many_times_as_much_and_not_more(policy: Policy, factor: Fraction) -> None:
    assert scaled(policy, factor).most <= policy.most * factor
    assert scaled(policy, factor).most >= int(policy.most * factor) - 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 365 * 86_400), st.integers(0, 2**32 - 1))
def test_no_policy_of_a_bucket_is_too_large_to_be_held_exactly(requests: int, seconds: int, burst: int) -> None:
    policy = policy_of(Algorithm.TOKEN_BUCKET, requests, seconds, burst)
    assert policy.capacity + policy.per_hit <= 2**53
    assert policy.most == (burst if requests else 0)
    assert Fraction(policy.rate, policy.per_hit) <= Fraction(requests, seconds * 1_000_000) or policy.rate == 1
