"""Slices mode, the node's side: how much of each limit to take ahead of need, and what to hand back.

Theory of operation. The store holds what is left of each limit in each interval. A node may accept no more than it
took, its *allowance*. It takes what it expects to need in the rest of the interval, early enough that no point waits
for the store. The store gives less as the limit comes near (a part of what is left, at least one point), so the last
points still go to whoever asks. What a node will hardly need any more it hands back, for nodes that go on asking. What
a node took and cannot hand back is lost, never given twice.

Columns go by limit: float64 rates in points a second, int64 amounts. This file must not know the store, threads or the
engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Amounts = NDArray[np.int64]
Rates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds: an allowance that lasts less than `horizon` is added to; a rate is remembered for `memory`.

    `margin` is how many times the need is taken, and twice that is kept before any is handed back. Points that came
    within `burst` are no rate, however short the time between two looks.
    """

    horizon: float = 0.25
    memory: float = 1.0
    margin: float = 1.2
    burst: float = 0.05


def smoothed(rates: Rates, demanded: Amounts, seconds: float, pace: Pace) -> Rates:
    """Rates brought up to date with what was offered, accepted or not, in the last `seconds`."""
    if seconds <= 0:
        return rates
    weight = 1.0 - np.exp(-seconds / pace.memory)
    latest = demanded / max(seconds, pace.burst)
    # A rise is followed at once, as points over the allowance are lost; a fall slowly, as slices can be handed back.
    return np.where(latest > rates, latest, rates + weight * (latest - rates))


def needed(rates: Rates, seconds: float, pace: Pace) -> Amounts:
    """What these rates come to in so many seconds, with a margin; at most 2^53."""
    amounts: Amounts = np.minimum(np.ceil(rates * max(seconds, 0.0) * pace.margin), 2.0**53).astype(np.int64)
    return amounts


def wanted(limits: Amounts, allowed: Amounts, accepted: Amounts, rates: Rates, left: float, pace: Pace) -> Amounts:
    """What to ask the store for, with `left` seconds of the interval to come: 0 where the allowance lasts.

    Enough for the rest of the interval, never more than the limit leaves beyond the allowance.
    """
    remaining = allowed - accepted
    is_short = remaining < needed(rates, min(pace.horizon, left), pace)
    most = np.maximum(limits - allowed, 0)
    asked: Amounts = np.where(is_short, np.clip(needed(rates, left, pace) - remaining, 0, most), 0)
    return asked


def spare(allowed: Amounts, accepted: Amounts, rates: Rates, left: float, pace: Pace) -> Amounts:
    """What to hand back: what is left beyond twice the need of the rest of the interval."""
    # Rounded, so that a rate that has all but faded keeps nothing back.
    kept = np.minimum(np.rint(2 * pace.margin * max(left, 0.0) * rates), 2.0**53).astype(np.int64)
    back: Amounts = np.maximum(allowed - accepted - kept, 0)
    return back
