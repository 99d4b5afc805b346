"""Rules of rate limits: envoyproxy/ratelimit's YAML, and our own keys beside it."""

from __future__ import annotations

from carbonquota.limiter.rules.files import load_rules
from carbonquota.limiter.rules.lint import lint
from carbonquota.limiter.rules.model import (
    CompiledLimit,
    DescriptorNode,
    DescriptorRule,
    Domain,
    DomainRules,
    Match,
    OnOutage,
)

__all__ = [
    "CompiledLimit",
    "DescriptorNode",
    "DescriptorRule",
    "Domain",
    "DomainRules",
    "Match",
    "OnOutage",
    "lint",
    "load_rules",
]
