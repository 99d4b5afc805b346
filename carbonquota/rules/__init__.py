"""Configuration read: `storage-quotas.conf` to a `RuleSet`, `storage-schemas.conf` to `Schemas`.

`storage-aggregation.conf` is read to `Aggregations`.
"""

from __future__ import annotations

from carbonquota.rules.aggregation import Aggregation, AggregationRule, Aggregations
from carbonquota.rules.diff import FieldChange, RuleChange, RuleMove, RuleSetDiff, diff
from carbonquota.rules.lint import Finding, Severity, lint
from carbonquota.rules.matcher import DEAD, NO_RULE, Matcher
from carbonquota.rules.retentions import Retention
from carbonquota.rules.ruleset import RuleSet
from carbonquota.rules.schema_fields import Schema
from carbonquota.rules.schemas import Schemas

__all__ = [
    "DEAD",
    "NO_RULE",
    "Aggregation",
    "AggregationRule",
    "Aggregations",
    "FieldChange",
    "Finding",
    "Matcher",
    "Retention",
    "RuleChange",
    "RuleMove",
    "RuleSet",
    "RuleSetDiff",
    "Schema",
    "Schemas",
    "Severity",
    "diff",
    "lint",
]
