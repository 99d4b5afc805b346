"""Quotas for Graphite metrics: limits on namespaces, metrics, sizes and throughput, decided exactly on ingest."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from carbonquota.engine import QuotaEngine
    from carbonquota.errors import ConfigError, InputError, MetricNameError, QuotaError
    from carbonquota.model import Limits, Rule, Size, Usage, Verdict
    from carbonquota.rules import RuleSet
    from carbonquota.trie import Change, Holdings

__all__ = [
    "Change",
    "ConfigError",
    "Holdings",
    "InputError",
    "Limits",
    "MetricNameError",
    "QuotaEngine",
    "QuotaError",
    "Rule",
    "RuleSet",
    "Size",
    "Usage",
    "Verdict",
]

_HOMES: Final = {
    "QuotaEngine": "engine",
    "RuleSet": "rules",
    **dict.fromkeys(("ConfigError", "InputError", "MetricNameError", "QuotaError"), "errors"),
    **dict.fromkeys(("Change", "Holdings"), "trie"),
    **dict.fromkeys(("Limits", "Rule", "Size", "Usage", "Verdict"), "model"),
}
"""The module of each public name. It is imported when the name is first used, so that a look at `--help` or at one
error class does not wait for numpy."""


def __getattr__(name: str) -> object:
    """A public name, from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
