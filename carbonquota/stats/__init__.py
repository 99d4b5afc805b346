"""What is reported, and how."""

from __future__ import annotations

from carbonquota.stats.report import Standings, named_values, take_standings

__all__ = ["Standings", "named_values", "take_standings"]
