"""What a daemon tells the quota service of itself: its name, what its namespaces hold, and what it drops."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from heapq import nlargest
from itertools import islice
from typing import Any, Final

from carbonquota.engine import QuotaEngine
from carbonquota.model import ROOT
from carbonquota.service.totals import OverQuota

_MOST: Final = 20_000
"""Namespaces, those near the root first: what rules are written for is seldom deep."""
_MOST_DROPS: Final = 100
_UNSAFE: Final = re.compile(r"[^!-~]")
_LONGEST: Final = 200


def node_name(text: str) -> str:
    """A name that the service takes."""
    return _UNSAFE.sub("_", text)[-_LONGEST:]


def usages_of(engine: QuotaEngine) -> list[dict[str, Any]]:
    """The namespaces with their amounts, level by level. Each is asked for by itself, and holds nobody up."""
    return [{"namespace": name} | asdict(engine.usage(name)) for name in islice(_by_level(engine), _MOST)]


class DropsSince:
    """What was dropped since it was told last."""

    def __init__(self, tallies: Callable[[], Mapping[str, OverQuota]]) -> None:
        """`tallies` gives what was dropped since the start, by namespace."""
        self._tallies = tallies
        self._told: dict[tuple[str, str], int] = {}

    def take(self) -> list[dict[str, Any]]:
        """The namespaces and controls with the most points dropped since the last call."""
        now = {
            (namespace, control): points
            for namespace, tally in self._tallies().items()
            for control, points in tally.dropped.items()
        }
        # What is counted anew was forgotten between.
        more = {
            key: points - told if points >= (told := self._told.get(key, 0)) else points for key, points in now.items()
        }
        self._told = now
        most = nlargest(_MOST_DROPS, (key for key, points in more.items() if points), key=more.__getitem__)
        return [{"namespace": key[0], "control": key[1], "points": more[key]} for key in most]


def _by_level(engine: QuotaEngine) -> Iterator[str]:
    level = [ROOT]
    while level:
        yield from level
        level = [child for name in level for child in engine.children(name)][:_MOST]
