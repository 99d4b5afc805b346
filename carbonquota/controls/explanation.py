"""How the quotas above a metric stand: the answer to "why was this dropped?"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonquota.model import Limits, Rule, Size, Usage, Verdict


@dataclass(frozen=True, slots=True)
class ControlState:
    """One limit and what an offer would do to it.

    `asked` tells whether the limit has a say in the offer: stocks have none where the metric is known.
    """

    control: str
    limit: int
    usage: int
    needed: int
    asked: bool

    @property
    def headroom(self) -> int:
        """What the limit still leaves; below 0 where usage is above it."""
        return self.limit - self.usage

    @property
    def over(self) -> bool:
        """Whether the offer would pass the limit."""
        return self.asked and self.needed > self.headroom


@dataclass(frozen=True, slots=True)
class NamespaceExplanation:
    """One namespace above a metric: the rule that holds it, those that matched and lost, and its limited controls.

    `exists` tells whether a metric lies at or below it yet.
    """

    namespace: str
    exists: bool
    rule: Rule | None
    lost: tuple[Rule, ...]
    controls: tuple[ControlState, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that decides about one offer now: `verdict` is the answer it would get; nothing is charged.

    `namespaces` go from the root to the metric's own. `size` is what the metric holds, or would hold if new.
    """

    metric: str
    known: bool
    points: int
    size: Size
    verdict: Verdict
    namespaces: tuple[NamespaceExplanation, ...]


@dataclass(frozen=True, slots=True)
class NamespaceQuota:
    """One namespace under a rule: its limits in force, its usage, and the points counted since the last report.

    `throttle` are points over quota, enforced or not; `dropped` those really dropped, by control as in the file.
    """

    namespace: str
    rule: Rule
    limits: Limits
    usage: Usage
    throttle: int
    dropped: Mapping[str, int]
