"""What is reported, and how."""

from __future__ import annotations

from carbonquota.stats.plaintext import plaintext_lines
from carbonquota.stats.report import Standings, named_values, take_standings

__all__ = ["Standings", "named_values", "plaintext_lines", "take_standings"]
