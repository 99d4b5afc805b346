"""YAML -> rules."""

from __future__ import annotations

import re
from typing import Any

import yaml

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.model import Limit, Unit
from carbonquota.limiter.rules.model import Domain, Grant, Node, Rule, RuleSet


def read_text(text: str, source: str) -> RuleSet:
    """The rules of one text."""
    document = yaml.safe_load(text)
    domain = Domain(document["domain"])
    _fill(domain.root, document.get("descriptors") or (), domain.name, source)
    return RuleSet({domain.name: domain})


def _fill(parent: Node, descriptors: Any, name: str, source: str) -> None:  # noqa: ANN401 - as YAML gives it
    for one in descriptors:
        key, value = str(one["key"]), str(one.get("value", ""))
        node = Node()
        rule_name = f"{name}.{key}_{value}" if value else f"{name}.{key}"
        if not value:
            parent.keys[key] = node
        elif "*" in value:
            parent.globs.append((key, re.compile(".*".join(map(re.escape, value.split("*")))), node))
        else:
            parent.exact[key, value] = node
        limit = one.get("rate_limit")
        if limit is not None:
            node.rule = _rule(rule_name, one, limit, source)
        _fill(node, one.get("descriptors") or (), rule_name, source)


def _rule(name: str, one: dict[str, Any], limit: dict[str, Any], source: str) -> Rule:
    shadow = bool(one.get("shadow_mode"))
    if limit.get("unlimited"):
        return Rule(name, unlimited=True, shadow=shadow, source=source)
    unit, requests = Unit(limit["unit"].lower()), int(limit["requests_per_unit"])
    algorithm = Algorithm[limit.get("algorithm", "fixed_window").upper()]
    policy = policy_of(algorithm, requests, unit.seconds, limit.get("burst"))
    return Rule(name, (Grant(Limit(requests, unit, limit.get("name", "")), policy),), shadow=shadow, source=source)
