"""Rules of rate limits: envoyproxy/ratelimit's YAML, and our own keys beside it."""

from __future__ import annotations

from carbonquota.limiter.rules.files import load_rules
from carbonquota.limiter.rules.lint import lint
from carbonquota.limiter.rules.model import Domain, Grant, Match, Node, OnOutage, Rule, RuleSet

__all__ = ["Domain", "Grant", "Match", "Node", "OnOutage", "Rule", "RuleSet", "lint", "load_rules"]
