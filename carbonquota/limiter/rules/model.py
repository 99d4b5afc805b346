"""Rules as they are in force, and which of them holds a descriptor.

A descriptor is matched entry by entry, down the nested lists: at each level, key and value come first, then globs of
values in the order of the file, then the key alone. A rule holds descriptors of exactly its own depth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from carbonquota.limiter.algorithms import Policy
from carbonquota.limiter.model import Descriptor, Entry, Limit

SEPARATOR: Final = "\x1f"
"""Between the parts of a counter's key; no name on the wire holds it."""


class OnOutage(Enum):
    """What a rule does while the store is away: let all pass, nothing, or this process's share."""

    OPEN = "fail-open"
    CLOSED = "fail-closed"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Grant:
    """One limit of a rule, ready to be decided by; a hit costs `cost`. `name` tells it from others of its rule."""

    limit: Limit
    policy: Policy
    cost: int = 1
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What holds the descriptors of one place in the rules.

    `name` is how counters and answers call it, `domain.key_value.key`. `tiers` have grants of their own. `replaces`
    names limits that do not count where this rule matches. `source` and `line` tell where it stands.
    """

    name: str
    grants: tuple[Grant, ...] = ()
    tiers: Mapping[str, tuple[Grant, ...]] = field(default_factory=dict)
    unlimited: bool = False
    shadow: bool = False
    replaces: frozenset[str] = frozenset()
    detailed: bool = False
    quota_mode: bool = False
    charge_denied: bool = False
    challenge: bool = False
    on_outage: OnOutage = OnOutage.SHARE
    guarantees: Mapping[str, Grant] = field(default_factory=dict)
    is_shared: bool = False
    source: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """Where it stands: `file:line`."""
        return f"{self.source}:{self.line}"

    def grants_of(self, tier: str) -> tuple[Grant, ...]:
        """The limits of a tier."""
        return self.tiers.get(tier, self.grants) if tier else self.grants


@dataclass(slots=True, eq=False)
class Node:
    """One place in the nested lists: its rule, and the places below it by entry, by glob, and by key."""

    rule: Rule | None = None
    exact: dict[Entry, Node] = field(default_factory=dict)
    globs: list[tuple[str, re.Pattern[str], Node]] = field(default_factory=list)
    keys: dict[str, Node] = field(default_factory=dict)

    def below(self, entry: Entry) -> Node | None:
        """The place that an entry leads to."""
        found = self.exact.get(entry)
        if found is None and self.globs:
            key, value = entry
            found = next((node for name, glob, node in self.globs if name == key and glob.fullmatch(value)), None)
        return found if found is not None else self.keys.get(entry[0])


@dataclass(frozen=True, slots=True)
class Match:
    """The rule that holds a descriptor, and the key of its counters."""

    rule: Rule
    key: str


@dataclass(slots=True, eq=False)
class Domain:
    """The rules of one domain."""

    name: str
    root: Node = field(default_factory=Node)

    def match(self, descriptor: Descriptor) -> Match | None:
        """The rule that holds a descriptor; None where none does."""
        node: Node | None = self.root
        for entry in descriptor.entries:
            node = node.below(entry) if node is not None else None
        if node is None or node.rule is None:
            return None
        return Match(node.rule, counter_key(self.name, descriptor.entries))


def counter_key(domain: str, entries: Sequence[Entry]) -> str:
    """The key of a descriptor's counters."""
    return SEPARATOR.join((domain, *(part for entry in entries for part in entry)))


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules in force, by domain."""

    domains: Mapping[str, Domain] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str, source: str = "<text>") -> RuleSet:
        """The rules that a text of YAML says; ConfigError with all that is wrong with it."""
        from carbonquota.limiter.rules.reading import read_text  # noqa: PLC0415 - it makes what stands here

        return read_text(text, source)
