"""What is asked of the engine and the store for claims, and how they are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from carbonquota.cluster.claim_store import Claimed, Metrics, StoredRun, Usages
from carbonquota.controls.capacity_limits import NamespaceLimits, RefusedMetric
from carbonquota.model import Size
from carbonquota.rules import RuleSet
from carbonquota.trie import Holdings


class DeclaringEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""

    def holdings(self) -> Holdings:
        """All that it holds."""

    def limits_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of namespaces and of all above them."""

    def sizes_of(self, metrics: Sequence[str]) -> list[Size]:
        """What new metrics would hold."""

    def has_each(self, metrics: Iterable[str]) -> list[bool]:
        """Whether it holds each of these."""

    def take_unclaimed(self) -> tuple[list[str], list[str]]:
        """What was loaded and what went, since it was last asked."""


class Claims(Protocol):
    """What is asked of the store; see `ClaimStore`."""

    def begin(self, known: Iterable[str], *, has_more: bool = False) -> StoredRun:
        """Begin a run."""

    def declared(self, run: StoredRun) -> bool:
        """All was declared."""

    def claim(
        self, run: StoredRun, metrics: Metrics, limits: Sequence[NamespaceLimits], *, asks: bool = True
    ) -> Claimed:
        """Claim or declare."""

    def begin_claim(self, run: StoredRun, metrics: Metrics, limits: Sequence[NamespaceLimits]) -> Callable[[], Claimed]:
        """Claim, and do not wait for it; what waits is given. All calls are answered in order."""

    def release(self, run: StoredRun, names: Sequence[str]) -> bool:
        """Release."""

    def recall(self, run: StoredRun, usages: Usages) -> bool:
        """Tell what namespaces held."""

    def usages(self, run: StoredRun, cursor: str) -> tuple[str, Usages] | None:
        """Some of what namespaces hold."""

    def prune(self, most: int = ...) -> bool:
        """Let go of what nobody holds."""


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """What the store said of metrics that wait: these may come, those may not. `on-outage` decides on the `unasked`."""

    granted: Sequence[str] = ()
    refused: Mapping[str, RefusedMetric] = field(default_factory=dict)
    unasked: Sequence[str] = ()
