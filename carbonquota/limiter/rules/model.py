"""Rules as they are in force, and which of them holds a descriptor.

A descriptor is matched entry by entry, down the nested lists: at each level, key and value come first, then globs of
values in the order of the file, then the key alone. A rule holds descriptors of exactly its own depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from carbonquota.limiter.algorithms import Policy
from carbonquota.limiter.charge import ChargeKind
from carbonquota.limiter.model import Entry, Limit
from carbonquota.limiter.rules.lists import Clients

SEPARATOR: Final = "\x1f"
"""Between the parts of a counter's key."""


def escaped(value: str) -> str:
    """A value as a part of a key: whoever sends a separator must not get at the counter of another."""
    if SEPARATOR not in value and "\x1e" not in value:
        return value
    return value.replace("\x1e", "\x1e0").replace(SEPARATOR, "\x1e1")


class OnOutage(Enum):
    """What a rule does while the store is away: let all pass, nothing, or this process's share."""

    OPEN = "fail-open"
    CLOSED = "fail-closed"
    SHARE = "share"


_OUTAGE_KINDS: Final = {
    OnOutage.OPEN: ChargeKind.FAIL_OPEN,
    OnOutage.CLOSED: ChargeKind.FAIL_CLOSED,
    OnOutage.SHARE: ChargeKind.PLAIN,
}


@dataclass(frozen=True, slots=True)
class CompiledLimit:
    """One limit of a rule, ready to be decided by; a hit costs `cost`. `suffix` tells its counter from others there."""

    limit: Limit
    policy: Policy
    cost: int = 1
    suffix: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class DescriptorRule:
    """What holds the descriptors of one place in the rules.

    `name` is how counters and answers call it, `domain.key_value.key`. No grants are no limit. `tiers` have grants of
    their own. `replaces` names limits that do not count where this rule matches. Where a level's value is to be told in
    counts, `levels` has each level's part of the name, and whether a request's value takes its place. `guarantees` are
    clients' own shares of a total, by the value of the last entry. `kind` is what its charges are for, `limit_names`
    what its limits are called. `source` and `line` tell where it stands, and `text` is that line.
    """

    name: str
    grants: tuple[CompiledLimit, ...] = ()
    tiers: Mapping[str, tuple[CompiledLimit, ...]] = field(default_factory=dict)
    shadow: bool = False
    replaces: frozenset[str] = frozenset()
    levels: tuple[tuple[str, bool], ...] = ()
    quota_mode: bool = False
    charge_denied: bool = False
    challenge: bool = False
    on_outage: OnOutage = OnOutage.SHARE
    guarantees: Mapping[str, CompiledLimit] = field(default_factory=dict)
    source: str = ""
    line: int = 0
    text: str = ""
    kind: int = field(init=False, default=0)
    limit_names: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        """Find once what its charges are for, and what its limits are called."""
        # A quota that is only watched refuses nothing, whatever its others do.
        kind = ChargeKind.SHADOW if self.shadow else ChargeKind.QUOTA if self.quota_mode else ChargeKind.PLAIN
        kind |= ChargeKind.CHARGE_DENIED if self.charge_denied else 0
        object.__setattr__(self, "kind", int(kind | _OUTAGE_KINDS[self.on_outage]))
        grants = (self.grants, *self.tiers.values())
        names = frozenset(grant.limit.name for some in grants for grant in some if grant.limit.name)
        object.__setattr__(self, "limit_names", names)

    def name_for(self, entries: tuple[Entry, ...]) -> str:
        """What a request with these entries is counted under."""
        if not self.levels:
            return self.name
        # The domain may have dots of its own.
        domain = self.name.removesuffix("." + ".".join(part for part, _ in self.levels))
        told = (
            f"{key}_{value}" if told else part
            for (part, told), (key, value) in zip(self.levels, entries, strict=True)
        )  # fmt: skip
        return ".".join((domain, *told))

    @property
    def place(self) -> str:
        """Where it stands: `file:line`."""
        return f"{self.source}:{self.line}"

    def grants_of(self, tier: str) -> tuple[CompiledLimit, ...]:
        """The limits of a tier."""
        return self.tiers.get(tier, self.grants) if tier else self.grants


@dataclass(slots=True, eq=False)
class DescriptorNode:
    """One place in the nested lists: its rule, and the places below it by entry, by glob, and by key.

    `shared` takes the place of the value in counters' keys, so that all values have one counter.
    """

    rule: DescriptorRule | None = None
    shared: str | None = None
    exact: dict[Entry, DescriptorNode] = field(default_factory=dict)
    globs: list[tuple[str, re.Pattern[str], DescriptorNode]] = field(default_factory=list)
    keys: dict[str, DescriptorNode] = field(default_factory=dict)

    def below(self, entry: Entry) -> DescriptorNode | None:
        """The place that an entry leads to."""
        found = self.exact.get(entry)
        if found is None and self.globs:
            key, value = entry
            found = next((node for name, pattern, node in self.globs if name == key and pattern.fullmatch(value)), None)
        return found if found is not None else self.keys.get(entry[0])

    def rules(self) -> Iterator[DescriptorRule]:
        """The rules here and below, in the order of the file."""
        if self.rule is not None:
            yield self.rule
        for node in (*self.exact.values(), *(node for _, _, node in self.globs), *self.keys.values()):
            yield from node.rules()


class Match(NamedTuple):
    """The rule that holds a descriptor, the key of its counters, and the value of the last entry."""

    rule: DescriptorRule
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class BanPolicy:
    """Who is blocked more than `blocked` times within so many seconds is denied for `length` seconds."""

    blocked: int
    within: int
    length: int


@dataclass(slots=True, eq=False)
class Domain:
    """The rules of one domain, who always passes in it, or never does, and who does not for a while."""

    name: str
    root: DescriptorNode = field(default_factory=DescriptorNode)
    allow: Clients = field(default_factory=Clients)
    deny: Clients = field(default_factory=Clients)
    ban: BanPolicy | None = None

    def match(self, entries: tuple[Entry, ...]) -> Match | None:
        """The rule that holds a descriptor; None where none does."""
        node: DescriptorNode | None = self.root
        key = self.name
        for entry in entries:
            node = node.below(entry)  # type: ignore[union-attr]
            if node is None:
                return None
            value = entry[1] if node.shared is None else node.shared
            key = f"{key}{SEPARATOR}{entry[0]}{SEPARATOR}{escaped(value)}"
        return None if node.rule is None else Match(node.rule, key, entries[-1][1])  # type: ignore[union-attr]

    def rules(self) -> Iterator[DescriptorRule]:
        """All of its rules, in the order of the file."""
        return iter(sorted(self.root.rules(), key=lambda rule: (rule.source, rule.line)))


@dataclass(frozen=True, slots=True)
class DomainRules:
    """All rules in force, by domain."""

    domains: Mapping[str, Domain] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str, source: str = "<text>") -> DomainRules:
        """The rules that a text of YAML says; ConfigError with all that is wrong with it."""
        return cls.from_texts([(source, text)])

    @classmethod
    def from_texts(cls, texts: list[tuple[str, str]]) -> DomainRules:
        """The rules of several texts, (source, text) each, which may share domains; ConfigError as well."""
        from carbonquota.limiter.rules.reading import read_texts  # noqa: PLC0415 - it makes what stands here

        return read_texts(texts)

    def rules(self) -> list[DescriptorRule]:
        """All rules."""
        return [rule for domain in self.domains.values() for rule in domain.rules()]
