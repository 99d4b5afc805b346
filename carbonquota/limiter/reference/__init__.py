"""Counters in plain Python: the definition of what the compiled ones and the store's functions do."""

from __future__ import annotations

from carbonquota.limiter.reference.counters import PlainCounters
from carbonquota.limiter.reference.decide import decide
from carbonquota.limiter.reference.keyed import PlainLimit

__all__ = ["PlainCounters", "PlainLimit", "decide"]
