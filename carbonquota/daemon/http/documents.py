"""The documents that only the HTTP interface has; the others are in `service`.

The docstrings are part of the interface: OpenAPI and `/docs` show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from carbonquota.service.health import HEALTH, HealthSample, summed

Answers = dict[int | str, dict[str, Any]]
"""What OpenAPI is told of an operation's answers, by status."""

Stats = dict[str, float | dict[str, float]]
"""The values of the health table by name, those with a label by its value."""


@dataclass(frozen=True, slots=True)
class ReloadState:
    """The last reload: whether it succeeded, when it was tried in seconds since the epoch, and its problems in full."""

    ok: bool
    time: float
    error: str


@dataclass(frozen=True, slots=True)
class HealthDocument:
    """How the daemon is: `ok`, `degraded` (it works, but not all is well) or `failing` (restart it), and why.

    `detail` is all reasons in one text; `stats` are the daemon's own values, those with a label by its value.
    """

    status: str
    detail: str
    reasons: tuple[str, ...]
    ready: bool
    reload: ReloadState
    kernel: str
    version: str
    uptime: float
    stats: Stats


@dataclass(frozen=True, slots=True)
class ReadyDocument:
    """That the daemon takes data points."""

    ready: bool


@dataclass(frozen=True, slots=True)
class ReloadDocument:
    """What a reload did."""

    ok: bool
    text: str


def stats_document(samples: Iterable[HealthSample]) -> Stats:
    """The values by name; what is no finite number is left out, as JSON has none."""
    stats: Stats = {}
    for (name, label), value in summed(samples).items():
        if not math.isfinite(value):
            continue
        if HEALTH[name].label:
            labelled = stats.setdefault(name, {})
            if isinstance(labelled, dict):
                labelled[label] = value
        else:
            stats[name] = value
    return stats
