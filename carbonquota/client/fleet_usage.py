"""What a daemon tells the quota service of itself: its name, and what its namespaces hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

from carbonquota.engine import QuotaEngine
from carbonquota.model import ROOT

_MOST: Final = 20_000
"""Namespaces, those near the root first: what rules are written for is seldom deep."""
_UNSAFE: Final = re.compile(r"[^!-~]")
_LONGEST: Final = 200


def node_name(text: str) -> str:
    """A name that the service takes."""
    return _UNSAFE.sub("_", text)[-_LONGEST:]


def usages_of(engine: QuotaEngine) -> list[dict[str, Any]]:
    """The namespaces with their amounts, level by level. Each is asked for by itself, and holds nobody up."""
    return [{"namespace": name} | asdict(engine.usage(name)) for name in islice(_by_level(engine), _MOST)]


def _by_level(engine: QuotaEngine) -> Iterator[str]:
    level = [ROOT]
    while level:
        yield from level
        level = [child for name in level for child in engine.children(name)][:_MOST]
