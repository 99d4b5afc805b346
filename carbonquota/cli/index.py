"""An index filled from sources, asking no quota: what exists already, as far as a command is told."""

from __future__ import annotations

from collections.abc import Sequence

from carbonquota.cli.intake import SourceIntake, read_sources
from carbonquota.cli.output import Output
from carbonquota.engine import QuotaEngine
from carbonquota.model import Size, SizeOf
from carbonquota.rules import RuleSet, Schemas

NO_RULES = RuleSet("no rules")
"""Under these everything is accepted and no point is counted."""


def size_of_schemas(path: str | None) -> SizeOf:
    """What a metric holds by a storage-schemas.conf; without one, every metric has the default retention."""
    return Schemas.from_file(path) if path is not None else Schemas.from_text("")


class LoadTarget:
    """A target that takes every metric into an engine without asking any quota."""

    def __init__(self, engine: QuotaEngine) -> None:
        """Fill `engine`, which must have no rules yet."""
        self._engine = engine

    def take_lines(self, plaintext: bytes) -> tuple[int, int]:
        """Take the metrics of plaintext lines; without rules, to admit is to load, in bulk."""
        result = self._engine.admit(plaintext)
        return result.points, result.malformed

    def take_metric(self, metric: str, size: Size) -> None:
        """Take a metric of a known size."""
        self._engine.load(metric, size)


def fill(engine: QuotaEngine, sources: Sequence[str], output: Output) -> SourceIntake:
    """Read the sources into an engine without rules."""
    return read_sources(sources, LoadTarget(engine), output)
