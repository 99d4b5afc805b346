"""Rules for the fleet: versions of a rule set, their releases to daemons, and what a version would do. Pure.

Theory of operation. A version is a text that is never changed again. A release puts a version in force for all
daemons, or for those of one group, as `shadow` (it counts and drops nothing) or `enforced`. Of the approved releases
that reach a group, the newest is in force there: one to a group goes before, and one to all takes the place of both. A
rollback is a release of what was in force before, so that what happened stays on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from carbonquota.errors import ConfigError
from carbonquota.model import CONTROL_FIELDS, Rule, Usage
from carbonquota.rules import Finding, RuleSet, lint
from carbonquota.rules.emptied import emptied

EVERY_GROUP = ""
"""In the place of a group's name: all daemons."""
SOURCE = "storage-quotas.conf"
"""What the text is called in errors."""


class RuleKind(StrEnum):
    """What rules are about, quotas of daemons or limits of rate limiters. Each has releases of its own."""

    QUOTAS = "quotas"
    LIMITS = "limits"


class Mode(StrEnum):
    """Whether rules in force drop what is over them."""

    SHADOW = "shadow"
    ENFORCED = "enforced"


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """A text of rules: its number, its SHA-256, and who sent it, when (seconds since the epoch) and why."""

    number: int
    text: str = field(repr=False)
    checksum: str
    time: float
    actor: str
    why: str = ""
    kind: RuleKind = RuleKind.QUOTAS


@dataclass(frozen=True, slots=True)
class Release:
    """A version put in force for a group, or waiting for a second administrator: then `approved` is empty."""

    number: int
    version: int
    mode: Mode
    group: str
    time: float
    actor: str
    approved: str = ""
    why: str = ""
    kind: RuleKind = RuleKind.QUOTAS


@dataclass(frozen=True, slots=True)
class FleetDaemon:
    """A daemon as it last told of itself; `running` is the number of the release in force there, 0 for none."""

    name: str
    group: str
    running: int
    seen: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One limit of one namespace on one daemon, as it is and as it would be; a limit that is none is null."""

    daemon: str
    namespace: str
    control: str
    usage: int
    before: int | None
    after: int | None

    @property
    def is_over(self) -> bool:
        """Whether it would be over the limit."""
        return self.after is not None and self.usage > self.after

    @property
    def was_over(self) -> bool:
        """Whether it is now."""
        return self.before is not None and self.usage > self.before


@dataclass(frozen=True, slots=True)
class RulesTrial:
    """What rules would do to what is used now, against what is in force: how many limits, and the most pressing ones.

    `over` are limits of what is held; `throttled` those of points an interval. New ones are over that were not.
    """

    namespaces: int
    over: int
    newly_over: int
    throttled: int
    newly_throttled: int
    relieved: int
    standings: tuple[LimitStatus, ...]


def checksum_of(text: str) -> str:
    """What a daemon compares, to know that it has the text as it was sent."""
    return sha256(text.encode()).hexdigest()


def checked_quotas(text: str, before: str | None) -> int:
    """How many rules a text has; ConfigError with all of its errors, also where all rules of `before` are lost."""
    return len(checked_rules(text, None if before is None else RuleSet.from_text(before)).rules)


def checked_rules(text: str, before: RuleSet | None = None) -> RuleSet:
    """The rules of a text; ConfigError with every error and its place, also where all rules of `before` are lost."""
    rules = RuleSet.from_text(text, SOURCE)
    if before is not None and before.rules and not rules.rules:
        problems = tuple(emptied(SOURCE, text, len(before.rules)))
        if problems:
            raise ConfigError(problems)
    return rules


def findings_of(rules: RuleSet) -> list[Finding]:
    """What is allowed and looks wrong, as `carbonquota check` tells it."""
    return list(lint(rules))


def in_force(releases: Iterable[Release], group: str) -> Release | None:
    """The newest approved release that reaches a group."""
    reaching = (one for one in releases if one.approved and one.group in {EVERY_GROUP, group})
    return max(reaching, key=lambda one: one.number, default=None)


def before_that(releases: Iterable[Release], group: str) -> Release | None:
    """What was in force where a group's newest release came; None where there was nothing else."""
    reaching = sorted(
        (one for one in releases if one.approved and one.group in {EVERY_GROUP, group}), key=lambda one: one.number
    )
    if not reaching:
        return None
    now = reaching[-1]
    earlier = (one for one in reversed(reaching[:-1]) if (one.version, one.mode) != (now.version, now.mode))
    return next(earlier, None)


def try_rules(
    usages: Mapping[str, Iterable[tuple[str, Usage]]], before: RuleSet, after: RuleSet, most: int
) -> RulesTrial:
    """What `after` would do to the usage by daemon, namespace by namespace; `most` of the standings are told."""
    counts = dict.fromkeys(("namespaces", "over", "newly_over", "throttled", "newly_throttled", "relieved"), 0)
    told: list[LimitStatus] = []
    for daemon, lines in usages.items():
        for namespace, usage in lines:
            counts["namespaces"] += 1
            for standing in _standings(daemon, namespace, usage, before, after):
                _count(counts, standing)
                told.append(standing)
    told.sort(key=lambda one: (not one.is_over, one.was_over, -_pressure(one), one.daemon, one.namespace))
    return RulesTrial(**counts, standings=tuple(told[:most]))


def _standings(daemon: str, namespace: str, usage: Usage, before: RuleSet, after: RuleSet) -> Iterator[LimitStatus]:
    """The limits that it is over, or was."""
    old, new = before.match(namespace), after.match(namespace)
    for control in CONTROL_FIELDS:
        standing = LimitStatus(
            daemon, namespace, control.replace("_", "-"), getattr(usage, control), _limit(old, control),
            _limit(new, control),
        )  # fmt: skip
        if standing.is_over or standing.was_over:
            yield standing


def _limit(rule: Rule | None, control: str) -> int | None:
    limit: int | None = None if rule is None else getattr(rule.limits, control)
    return limit


def _count(counts: dict[str, int], standing: LimitStatus) -> None:
    kind = "throttled" if standing.control == "throughput" else "over"
    counts[kind] += standing.is_over
    counts[f"newly_{kind}"] += standing.is_over and not standing.was_over
    counts["relieved"] += standing.was_over and not standing.is_over


def _pressure(standing: LimitStatus) -> float:
    return standing.usage / max(standing.after or 0, 1)
