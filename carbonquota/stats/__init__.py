"""What is reported, and how."""

from __future__ import annotations

from carbonquota.stats.plaintext import plaintext_lines
from carbonquota.stats.report import StandingColumns, Standings, named_values, take_columns

__all__ = ["StandingColumns", "Standings", "named_values", "plaintext_lines", "take_columns"]
