"""The recorded answers of go-carbon, as values."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.support.model import MAXIMUM, SizeTuple, SlowRule

VECTORS = Path(__file__).parents[1] / "conformance" / "go-carbon-vectors.json.gz"


def vectors() -> dict[str, list[dict[str, Any]]]:
    """The whole file: `scenarios` and `globs`."""
    loaded: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(VECTORS.read_bytes()))
    return loaded


def slow_rules(scenario: dict[str, Any]) -> list[SlowRule]:
    """The rules of a scenario, for the model."""
    return [_slow_rule(rule["pattern"], rule["controls"]) for rule in scenario["rules"]]


def quotas_conf(scenario: dict[str, Any]) -> str:
    """The rules of a scenario as a `storage-quotas.conf`, values spelled as they were recorded."""
    return "\n".join(
        f"[{rule['pattern']}]\n" + "".join(f"{key} = {value}\n" for key, value in rule["controls"].items())
        for rule in scenario["rules"]
    )


def _slow_rule(pattern: str, controls: dict[str, str]) -> SlowRule:
    limits = dict(controls)
    policy = limits.pop("dropping-policy", "new")
    prefix = limits.pop("stat-metric-prefix", "")
    return SlowRule(pattern, {key: _number(text) for key, text in limits.items()}, policy == "new", prefix)


def _number(text: str) -> int:
    return MAXIMUM if text in ("max", "maximum") else int(text)


def size_tuple(step: dict[str, Any]) -> SizeTuple:
    """The size of a step's metric: logical, physical, data points."""
    logical, physical, data_points = step["size"]
    return logical, physical, data_points
