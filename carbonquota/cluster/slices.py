"""Slices mode, the node's side: how much of each limit to take ahead of need, and what to hand back.

Theory of operation. The store holds what is left of each limit in each interval. A node may accept no more than it
took, its *allowance*. So that no point waits for the store, a node takes what it expects to need within a *horizon*, a
few round trips. The store gives less as the limit comes near (its share of what is left, at least one point), so the
last points still go to whoever asks. Shortly before the interval ends a node hands back what it will not need any more,
for nodes that go on asking. What a node took and cannot hand back is lost, never given twice.

All columns go by limit: float64 rates in points a second, int64 amounts. This file must not know the store, threads or
the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Amounts = NDArray[np.int64]
Rates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds: `horizon` is taken ahead of need, `memory` is how long a rate is remembered.

    `hand_back` before the end of an interval a node begins to hand back.
    """

    horizon: float = 0.2
    memory: float = 0.5
    hand_back: float = 0.5


def smoothed(rates: Rates, demanded: Amounts, seconds: float, pace: Pace) -> Rates:
    """Rates brought up to date with what was demanded, accepted or not, in the last `seconds`."""
    if seconds <= 0:
        return rates
    weight = 1.0 - np.exp(-seconds / pace.memory)
    latest = demanded / seconds
    # A rise is followed at once, as points over the allowance are lost; a fall slowly, as slices can be handed back.
    return np.where(latest > rates, latest, rates + weight * (latest - rates))


def wanted(limits: Amounts, allowances: Amounts, used: Amounts, rates: Rates, pace: Pace) -> Amounts:
    """What to ask the store for: enough for the horizon, once less than half of that is left; else 0.

    Never more than the limit leaves beyond the allowance.
    """
    needed = np.ceil(rates * pace.horizon).astype(np.int64)
    remaining = allowances - used
    short = remaining * 2 < needed
    asked: Amounts = np.where(short, np.clip(needed - remaining, 0, np.maximum(limits - allowances, 0)), 0)
    return asked


def surplus(allowances: Amounts, used: Amounts, rates: Rates, seconds_left: float, pace: Pace) -> Amounts:
    """What to hand back: what will hardly be needed in the rest of the interval, once that is short; else 0."""
    remaining = allowances - used
    if seconds_left > pace.hand_back:
        return np.zeros_like(remaining)
    kept = np.ceil(rates * max(seconds_left, 0.0) * 1.5).astype(np.int64)
    spare: Amounts = np.maximum(remaining - kept, 0)
    return spare


def share(limits: Amounts, nodes: int) -> Amounts:
    """What a node may accept on its own while the store is away: an equal part, rounded down."""
    return limits // max(nodes, 1)
