"""Counters in a Valkey that several limiters share, with fast answers from memory, and a plan for when it is away."""

from __future__ import annotations

from carbonquota.limiter.stores.counters import StoreCounters, StoreSettings
from carbonquota.limiter.stores.switches import SharedSwitches

__all__ = ["SharedSwitches", "StoreCounters", "StoreSettings"]
