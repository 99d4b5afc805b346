"""Limits as pages show them: which one presses most, in which tone, and the bar with the limit marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from carbonquota.service.documents import RuleDocument
from carbonquota.service.usage_documents import LimitState, QuotaRow

NEAR: Final = 80.0
"""From so many percent on, a limit is near."""
FULL: Final = 100.0

SCALE: Final = 125.0
"""The percentage at the right end of a bar; the limit is marked at 100."""
MARK: Final = 100 * FULL / SCALE
"""Where that is, in percent of the bar."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """A control, how much of its limit is used in percent, and the tone that this is shown in."""

    control: str
    percent: float | None
    tone: str


def tone_of(percent: float | None, limit: int | None = None) -> str:
    """`over`, `near` or `ok`; a limit of 0 has no percentage, and is always reached."""
    if percent is None:
        return "over" if limit == 0 else "ok"
    return "over" if percent >= FULL else "near" if percent >= NEAR else "ok"


def filled(percent: float | None) -> float:
    """How much of a bar is filled, in percent of the bar; with no percentage, up to the limit."""
    return MARK if percent is None else round(min(max(percent, 0.0), SCALE) / SCALE * 100, 2)


def most_pressing(states: Iterable[LimitState]) -> Pressure | None:
    """The limit that is used most; None where there is none."""
    state = max(states, key=_urgency, default=None)
    return None if state is None else Pressure(state.control, state.percent, tone_of(state.percent, state.limit))


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit of one namespace in a table: `dropped` in this interval, `before` in the last."""

    namespace: str
    state: LimitState
    rule: RuleDocument
    dropped: int
    before: int
    over: int

    @property
    def tone(self) -> str:
        """How pressing it is."""
        return tone_of(self.state.percent, self.state.limit)


def most_pressing_rows(quotas: Iterable[QuotaRow]) -> Iterator[LimitRow]:
    """A row for each namespace, with the limit that presses most."""
    for quota in quotas:
        if quota.controls:
            state = max(quota.controls, key=_urgency)
            dropped = sum(quota.dropped.values())
            yield LimitRow(quota.namespace, state, quota.rule, dropped, 0, quota.throttle)


def dropping_rows(quotas: Iterable[QuotaRow], before: dict[tuple[str, str], int]) -> Iterator[LimitRow]:
    """A row for each limit that drops points or is passed, those with the most points first within a namespace.

    One that is not enforced drops nothing, and is shown by the limit that is passed most.
    """
    for quota in quotas:
        states = {state.control: state for state in quota.controls}
        points = {key: (quota.dropped.get(key, 0), before.get((quota.namespace, key), 0)) for key in states}
        dropping = sorted((key for key in states if any(points[key])), key=lambda key: points[key], reverse=True)
        if not dropping and states:
            dropping = [max(states.values(), key=_urgency).control]
        for key in dropping:
            yield LimitRow(quota.namespace, states[key], quota.rule, *points[key], quota.throttle)


def _urgency(state: LimitState) -> float:
    return float("inf") if state.percent is None else state.percent
