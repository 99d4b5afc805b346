"""Counters in C: a table of a fixed size, 59 bytes a key, that forgets what matters least."""

from __future__ import annotations

from carbonquota.limiter.native._cy import KeyedLimit, RuleDecider, Table, Tally
from carbonquota.limiter.native.counters import NativeCounters

__all__ = ["KeyedLimit", "NativeCounters", "RuleDecider", "Table", "Tally"]
