"""Genuine tokens are remembered until they end; others never are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carbonquota.limiter.identity.tokens import TokenVerifier
from carbonquota.testing import ManualClock


def test_a_genuine_token_is_looked_at_once_until_it_ends_or_some_minutes_have_passed() -> None:
    clock = ManualClock(1_000.0)
    looked: list[str] = []
    genuine: dict[str, Mapping[str, Any]] = {"short": {"exp": 1_100.0}, "long": {"exp": 9_999.0}, "endless": {}}

    def verify(token: str) -> Mapping[str, Any] | None:
        looked.append(token)
        return genuine.get(token)

    verifier = TokenVerifier(verify, clock)
    for _ in range(3):
        assert [verifier.verify(token) for token in ("short", "long", "forged")] == [{"exp": 1100}, {"exp": 9999}, None]
    assert looked == ["short", "long", "forged", "forged", "forged"]
    clock.advance(100.0)
    del genuine["short"]
    assert verifier.verify("short") is None
    clock.advance(201.0)
    del genuine["long"]
    assert verifier.verify("long") is None
    assert verifier.verify("endless") == verifier.verify("endless") == {}
    assert looked[-2:] == ["endless", "endless"]


def test_a_token_that_is_far_too_long_is_not_looked_at() -> None:
    verifier = TokenVerifier(lambda _: {"exp": 9e9}, ManualClock(0.0))
    assert verifier.verify("x" * 10_000) is None
