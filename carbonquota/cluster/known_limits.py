"""The limits above namespaces, kept while the rules are the same: new metrics come to the same ones again and again.

Not safe to use from two threads at once; each has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from carbonquota.cluster.namespaces import above
from carbonquota.controls.capacity_limits import NamespaceLimits
from carbonquota.rules import RuleSet

_MOST: Final = 100_000
"""Namespaces that are kept, some 300 bytes each."""


class LimitsEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""

    def limits_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of namespaces and of all above them."""


class KnownLimits:
    """Asks the engine about each namespace once."""

    def __init__(self, engine: LimitsEngine) -> None:
        """Nothing was asked yet."""
        self._engine = engine
        self._rules: RuleSet | None = None
        self._known: dict[str, NamespaceLimits] = {}

    def of(self, namespaces: Iterable[str]) -> Mapping[str, NamespaceLimits]:
        """The limits of these namespaces and of more; to be looked at before the next call."""
        wanted = dict.fromkeys(namespaces)
        rules = self._engine.rules
        if rules is not self._rules or len(self._known) > _MOST:
            self._rules, self._known = rules, {}
        missing = [namespace for namespace in wanted if namespace not in self._known]
        if missing:
            self._known.update((one.namespace, one) for one in self._engine.limits_above(missing))
        return self._known

    def with_all_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of these namespaces and of all above them, each once, after the one above it."""
        wanted = dict.fromkeys(namespaces)
        known = self.of(wanted)
        found: dict[str, NamespaceLimits] = {}
        for namespace in wanted:
            way_up = []
            place = namespace
            while place and place not in found:
                way_up.append(place)
                place = above(place)
            found.update((name, known[name]) for name in reversed(way_up))
        return list(found.values())
