"""The keys of a rules file, each with its reader: envoyproxy/ratelimit's, and our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from carbonquota.limiter.algorithms import Algorithm
from carbonquota.limiter.model import UNLIMITED, Unit
from carbonquota.limiter.rules.model import BanPolicy, OnOutage
from carbonquota.limiter.rules.yaml_nodes import (
    NodeValue,
    Reader,
    ReadValue,
    anything,
    boolean,
    choice,
    text,
    whole,
    word,
)

UNITS: Final = {unit.value: unit for unit in Unit}
ALGORITHMS: Final = {algorithm.name.lower(): algorithm for algorithm in Algorithm}
ON_OUTAGE: Final = {on_outage.value: on_outage for on_outage in OnOutage}

_LONGEST: Final = 365 * 86_400
_requests: Final = whole(0, UNLIMITED)


def _replaces(reader: Reader, node: yaml.Node) -> list[NodeValue] | None:
    """Names of limits: `- name: one`."""
    found = (reader.mapping(one, {"name": word}, '"replaces"') for one in reader.items(node, '"replaces"'))
    return [one["name"] for one in found if one and "name" in one]


_LIMIT: Final[Mapping[str, ReadValue]] = {
    "unit": choice(UNITS, "unit"),
    "unit_multiplier": whole(1, UNLIMITED),
    "requests_per_unit": _requests,
    "unlimited": boolean,
    "name": text,
    "replaces": _replaces,
    "algorithm": choice(ALGORITHMS, "algorithm"),
    "burst": whole(0, UNLIMITED),
    "cost": whole(1, UNLIMITED),
}


def limit(reader: Reader, node: yaml.Node) -> dict[str, NodeValue] | None:
    """One limit."""
    return reader.mapping(node, _LIMIT, '"rate_limit"')


def limits(reader: Reader, node: yaml.Node) -> list[NodeValue] | None:
    """One limit, or a list of several, each with its node."""
    nodes = reader.items(node, '"rate_limit"') if isinstance(node, yaml.SequenceNode) else [node]
    read = [(limit(reader, one), one) for one in nodes]
    return [NodeValue(fields, one) for fields, one in read if fields is not None]


def _tiers(reader: Reader, node: yaml.Node) -> dict[str, NodeValue] | None:
    """Limits by tier."""
    found = ((key.value, limits(reader, value), value) for key, value in reader.pairs(node, '"tiers"'))
    return {name: NodeValue(read, value) for name, read, value in found if read is not None}


def _guarantee(reader: Reader, node: yaml.Node) -> dict[str, NodeValue] | None:
    """Requests by the client that they are kept for."""
    found = ((key.value, _requests(reader, value), value) for key, value in reader.pairs(node, '"guarantee"'))
    return {name: NodeValue(read, value) for name, read, value in found if read is not None}


def _descriptors(reader: Reader, node: yaml.Node) -> list[NodeValue] | None:
    """Descriptors, each with its node."""
    read = [(reader.mapping(one, DESCRIPTOR, "a descriptor"), one) for one in reader.items(node, '"descriptors"')]
    return [NodeValue(fields, one) for fields, one in read if fields is not None]


def _listed(reader: Reader, node: yaml.Node) -> list[NodeValue] | None:
    """Networks, or `key: value` of descriptors."""
    found: list[NodeValue] = []
    for one in reader.items(node, "this"):
        if isinstance(one, yaml.MappingNode):
            for key, value in reader.pairs(one, "this"):
                read: Any = text(reader, value)
                found += [] if read is None else [NodeValue((key.value, read), value)]
        elif (network := word(reader, one)) is not None:
            found.append(NodeValue(("", network), one))
    return found


_BAN: Final[dict[str, ReadValue]] = {
    "blocked": whole(1, UNLIMITED),
    "within": whole(1, _LONGEST, "it is in seconds"),
    "for": whole(1, _LONGEST, "it is in seconds"),
}


def _ban(reader: Reader, node: yaml.Node) -> BanPolicy | None:
    """When a client is denied for a while."""
    found = reader.mapping(node, _BAN, '"ban"')
    if found is None:
        return None
    for key in _BAN:
        if key not in found:
            reader.note(node, f'"ban" without "{key}"', "it takes blocked, within and for, the latter two in seconds")
            return None
    return BanPolicy(*(found[key].value for key in _BAN))


DESCRIPTOR: Final[dict[str, ReadValue]] = {
    "key": word,
    "value": text,
    "rate_limit": limits,
    "descriptors": _descriptors,
    "shadow_mode": boolean,
    "detailed_metric": boolean,
    "value_to_metric": boolean,
    "share_threshold": boolean,
    "quota_mode": boolean,
    "metadata": anything,
    "tiers": _tiers,
    "guarantee": _guarantee,
    "charge_denied": boolean,
    "challenge": boolean,
    "on_outage": choice(ON_OUTAGE, "on_outage"),
}

ROOT: Final[dict[str, ReadValue]] = {
    "domain": word,
    "descriptors": _descriptors,
    "algorithm": choice(ALGORITHMS, "algorithm"),
    "on_outage": choice(ON_OUTAGE, "on_outage"),
    "ban": _ban,
    "allow": _listed,
    "deny": _listed,
}
