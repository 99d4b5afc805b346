"""Texts of YAML -> rules: read by tables of keys, checked, and put into nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any, NamedTuple

import yaml

from carbonquota.errors import ConfigError, Problem
from carbonquota.limiter.algorithms import Algorithm
from carbonquota.limiter.rules.fields import ROOT
from carbonquota.limiter.rules.grants import Defaults, grants_of, guarantees_of
from carbonquota.limiter.rules.lists import Clients, Network, glob
from carbonquota.limiter.rules.model import DescriptorNode, DescriptorRule, Domain, DomainRules, OnOutage
from carbonquota.limiter.rules.yaml_nodes import NodeValue, Reader
from carbonquota.rules.emptied import is_empty_on_purpose

Fields = Mapping[str, NodeValue]


def read_texts(texts: Sequence[tuple[str, str]]) -> DomainRules:
    """The rules of texts, (source, text) each; ConfigError with the problems of all."""
    domains: dict[str, Domain] = {}
    problems: list[Problem] = []
    for source, text in texts:
        reading = _DomainReading(Reader(text, source), domains)
        reading.read()
        problems += sorted(reading.reader.problems, key=lambda problem: (problem.line, problem.column))
    if problems:
        raise ConfigError(problems)
    return DomainRules(domains)


class Level(NamedTuple):
    """One level of nested descriptors: its part of names, whether requests' values may differ there, and are told."""

    part: str
    is_open: bool
    is_told: bool


@dataclass(slots=True)
class _DomainReading:
    """One text on its way into the domains."""

    reader: Reader
    domains: dict[str, Domain]
    defaults: Defaults = field(default_factory=Defaults)

    def read(self) -> None:
        """Read it all."""
        root = self.reader.root()
        if root is None:
            if not self.reader.problems and not is_empty_on_purpose(self.reader.text):
                self.reader.problems.append(_empty(self.reader.source))
            return
        fields = self.reader.mapping(root, ROOT, "the file")
        if fields is None:
            return
        if "domain" not in fields:
            self.reader.note(root, 'there is no "domain"', 'write a line "domain: NAME"')
        self.defaults = Defaults(
            _value(fields, "algorithm", Algorithm.FIXED_WINDOW), _value(fields, "on_outage", OnOutage.SHARE)
        )
        name = _value(fields, "domain", "")
        domain = self.domains.setdefault(name, Domain(name))
        self._fill(domain.root, _value(fields, "descriptors", ()), name, ())
        domain.ban = _value(fields, "ban", domain.ban)
        domain.allow = _joined(domain.allow, self._clients(_value(fields, "allow", ())))
        domain.deny = _joined(domain.deny, self._clients(_value(fields, "deny", ())))

    def _fill(
        self, parent: DescriptorNode, descriptors: Sequence[NodeValue], above: str, levels: tuple[Level, ...]
    ) -> None:
        """Put descriptors below a node; `above` is the name of what they stand in, which has these levels."""
        for fields, node in ((one.value, one.node) for one in descriptors):
            if "key" not in fields:
                self.reader.note(node, 'a descriptor without "key"')
                continue
            key, value = fields["key"].value, _value(fields, "value", "")
            part = f"{key}_{value}" if value else key
            name = f"{above}.{part}"
            place = DescriptorNode(shared=self._shared(fields, value))
            if not _put(parent, key, value, place):
                there = fields.get("value", fields["key"]).node
                self.reader.note(there, f'"{name}" stands twice', "merge the two descriptors, or remove one")
                continue
            is_open = place.shared is None and ("*" in value or not value)
            level = Level(part, is_open, is_told=is_open and _value(fields, "value_to_metric", default=False))
            place.rule = self._rule(name, fields, node, (*levels, level))
            self._fill(place, _value(fields, "descriptors", ()), name, (*levels, level))

    def _shared(self, fields: Fields, value: str) -> str | None:
        """What stands for the value in counters' keys: a total is one for all."""
        if "guarantee" in fields:
            return "*"
        if _value(fields, "share_threshold", default=False):
            if "*" in value:
                return value
            self.reader.note(fields["share_threshold"].node, '"share_threshold" needs a value with a *')
        return None

    def _rule(
        self, name: str, fields: Fields, node: yaml.Node, levels: tuple[Level, ...]
    ) -> DescriptorRule | None:  # fmt: skip
        """The rule of a descriptor; None where it limits nothing."""
        if "rate_limit" not in fields and "tiers" not in fields:
            for key in ("guarantee", "charge_denied", "challenge", "on_outage", "quota_mode"):
                if key in fields:
                    self.reader.note(fields[key].node, f'"{key}" without "rate_limit"', "there is nothing to limit")
            return None
        limits: list[NodeValue] = _value(fields, "rate_limit", [])
        grants = grants_of(self.reader, limits, self.defaults)
        tiers = {
            tier: grants_of(self.reader, _inherited(one.value, limits), self.defaults)
            for tier, one in _value(fields, "tiers", {}).items()
        }
        replaces = [one for limit in limits for one in _value(limit.value, "replaces", ())]
        rule = DescriptorRule(
            name,
            grants,
            tiers,
            shadow=_value(fields, "shadow_mode", default=False),
            replaces=frozenset(one.value for one in replaces),
            levels=_told(levels, all_open=_value(fields, "detailed_metric", default=False)),
            quota_mode=_value(fields, "quota_mode", default=False),
            charge_denied=_value(fields, "charge_denied", default=False),
            challenge=_value(fields, "challenge", default=False),
            on_outage=_value(fields, "on_outage", self.defaults.on_outage),
            guarantees=guarantees_of(self.reader, fields, grants),
            source=self.reader.source,
            line=node.start_mark.line + 1,
            text=self.reader.line(node),
        )
        self._check_quota(rule, fields)
        for one in replaces:
            if one.value in rule.limit_names:
                self.reader.note(one.node, f'"{one.value}" cannot replace itself', "name the limit of another rule")
        return rule

    def _check_quota(self, rule: DescriptorRule, fields: Fields) -> None:
        every = [*rule.grants, *(grant for grants in rule.tiers.values() for grant in grants)]
        if rule.quota_mode and any(grant.policy.algorithm is Algorithm.CONCURRENCY for grant in every):
            message = '"quota_mode" has no meaning for requests in flight'
            self.reader.note(fields["quota_mode"].node, message, "a quota is so many requests in some time")

    def _clients(self, listed: Sequence[NodeValue]) -> Clients:
        """A list of clients."""
        networks: list[Network] = []
        entries: list[tuple[str, str]] = []
        for one in listed:
            key, value = one.value
            network = _network(value) if not key or "/" in value else None
            if network is not None:
                networks.append(network)
            elif key:
                entries.append(one.value)
            else:
                self.reader.note(one.node, f'"{value}" is no network', "a client by name is written as key: value")
        return Clients.of(networks, entries)


def _value(fields: Fields, key: str, default: Any) -> Any:  # noqa: ANN401 - as the key has it
    """The value of a key, or what holds where it is missing."""
    found = fields.get(key)
    return default if found is None else found.value


def _told(levels: Sequence[Level], *, all_open: bool) -> tuple[tuple[str, bool], ...]:
    """The levels with whether their values are told in counts; none where no value is."""
    told = tuple((one.part, one.is_told or (all_open and one.is_open)) for one in levels)
    return told if any(is_told for _, is_told in told) else ()


def _put(parent: DescriptorNode, key: str, value: str, node: DescriptorNode) -> bool:
    """Put a node into its place; False where there is one already."""
    if not value:
        return parent.keys.setdefault(key, node) is node
    if "*" in value:
        pattern = glob(value)
        if any(name == key and known.pattern == pattern.pattern for name, known, _ in parent.globs):
            return False
        parent.globs.append((key, pattern, node))
        return True
    return parent.exact.setdefault((key, value), node) is node


def _inherited(own: list[NodeValue], base: list[NodeValue]) -> list[NodeValue]:
    """A tier's limits: where there is one, with all that it does not say itself as the rule says it."""
    if len(own) != 1 or len(base) != 1 or "unlimited" in own[0].value:
        return own
    kept = {key: one for key, one in base[0].value.items() if key not in {"unlimited", "replaces", "burst"}}
    return [replace(own[0], value={**kept, **own[0].value})]


def _network(text: str) -> Network | None:
    """The network that a text is; None where it is none."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _joined(one: Clients, other: Clients) -> Clients:
    """Two lists as one."""
    if not one or not other:
        return one or other
    lengths, none = {**one.networks, **other.networks}, frozenset[int]()
    networks = {length: one.networks.get(length, none) | other.networks.get(length, none) for length in lengths}
    return Clients(networks, one.entries | other.entries, one.globs + other.globs)


def _empty(source: str) -> Problem:
    return Problem(source, 0, 0, 0, "", "this file is empty", 'it takes a line "domain: NAME" at least')
